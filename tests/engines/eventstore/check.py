"""Checks the double of EventStoreDB with the official Python client: check.py <connection string>.

Invariant: only what a real server does, too, is asked of the double; run it on one to see.
"""

import json
import sys
from uuid import uuid4

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import NotFoundError, WrongCurrentVersionError

DEADLINE_SECONDS = 60

client = KurrentDBClient(uri=sys.argv[1])


def event(n):
    return NewEvent(id=uuid4(), type="checked", data=json.dumps({"n": n}).encode(), metadata=b'{"by": "python"}')


def fresh():
    return f"check-{uuid4()}"


def numbers(events):
    return [json.loads(event.data)["n"] for event in events]


def raises(error, act):
    try:
        act()
    except error:
        return
    raise AssertionError(f"{error.__name__} expected")


def appends_expect_revisions():
    stream = fresh()
    first = client.append_to_stream(stream, events=event(0), current_version=StreamState.NO_STREAM)
    # A list goes as a batch, a single event does not.
    second = client.append_to_stream(stream, events=[event(1), event(2)], current_version=0)
    assert second > first, (first, second)
    client.append_to_stream(stream, events=[event(3)], current_version=StreamState.ANY)
    client.append_to_stream(stream, events=event(4), current_version=StreamState.EXISTS)
    for wrong in (StreamState.NO_STREAM, 0, 99):
        for events in (event(9), [event(9)]):
            raises(
                WrongCurrentVersionError,
                lambda: client.append_to_stream(stream, events=events, current_version=wrong),
            )
    assert numbers(client.get_stream(stream)) == [0, 1, 2, 3, 4]


def repeats_are_recognised():
    for expected in (StreamState.NO_STREAM, StreamState.ANY):
        stream, events = fresh(), [event(0), event(1)]
        first = client.append_to_stream(stream, events=events, current_version=expected)
        again = client.append_to_stream(stream, events=events, current_version=expected)
        assert first == again, (first, again)
        assert len(client.get_stream(stream)) == 2


def streams_are_read_both_ways():
    stream, sent = fresh(), [event(n) for n in range(5)]
    client.append_to_stream(stream, events=sent, current_version=StreamState.NO_STREAM)
    assert numbers(client.get_stream(stream)) == [0, 1, 2, 3, 4]
    assert numbers(client.get_stream(stream, stream_position=3)) == [3, 4]
    assert numbers(client.get_stream(stream, limit=2)) == [0, 1]
    assert numbers(client.get_stream(stream, backwards=True)) == [4, 3, 2, 1, 0]
    assert numbers(client.get_stream(stream, stream_position=2, backwards=True, limit=2)) == [2, 1]
    first = client.get_stream(stream, limit=1)[0]
    assert (first.id, first.type, first.stream_position) == (sent[0].id, "checked", 0)
    assert json.loads(first.metadata) == {"by": "python"}
    raises(NotFoundError, lambda: client.get_stream(fresh()))


def all_is_read_with_filters():
    stream, other = fresh(), fresh()
    client.append_to_stream(stream, events=[event(0), event(1)], current_version=StreamState.NO_STREAM)
    client.append_to_stream(other, events=event(2), current_version=StreamState.NO_STREAM)
    everything = list(client.read_all())
    assert all(not event.type.startswith("$") for event in everything)
    own = [event for event in everything if event.stream_name == stream]
    assert numbers(own) == [0, 1]
    last = list(client.read_all(backwards=True, limit=1))
    assert numbers(last) == [2], "the last event of all"


def subscriptions_get_history_and_news():
    stream = fresh()
    client.append_to_stream(stream, events=[event(0), event(1)], current_version=StreamState.NO_STREAM)
    first = client.get_stream(stream, limit=1)[0]

    def follow(subscription, expected):
        seen = []
        with subscription:
            for recorded in subscription:
                if recorded.stream_name != stream:
                    continue
                seen.append(recorded)
                if len(seen) == len(expected) - 1:
                    client.append_to_stream(stream, events=event(expected[-1]), current_version=StreamState.ANY)
                if len(seen) == len(expected):
                    break
        assert numbers(seen) == expected, numbers(seen)

    follow(client.subscribe_to_all(timeout=DEADLINE_SECONDS), [0, 1, 2])
    after = client.subscribe_to_all(commit_position=first.commit_position, timeout=DEADLINE_SECONDS)
    follow(after, [1, 2, 3])
    follow(client.subscribe_to_stream(stream, stream_position=1, timeout=DEADLINE_SECONDS), [2, 3, 4])


for check in (
    appends_expect_revisions,
    repeats_are_recognised,
    streams_are_read_both_ways,
    all_is_read_with_filters,
    subscriptions_get_history_and_news,
):
    check()
    print(f"python: {check.__name__} ok")
client.close()
