// Checks the double of EventStoreDB with the official Node client: node check.mjs <connection string>.
//
// Invariant: only what a real server does, too, is asked of the double; run it on one to see.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import {
  ANY,
  BACKWARDS,
  END,
  FORWARDS,
  KurrentDBClient,
  NO_STREAM,
  START,
  STREAM_EXISTS,
  StreamNotFoundError,
  WrongExpectedVersionError,
  excludeSystemEvents,
  jsonEvent,
  streamNameFilter,
} from "@kurrent/kurrentdb-client";

const client = KurrentDBClient.connectionString(process.argv[2]);
const event = (n) => jsonEvent({ id: randomUUID(), type: "checked", data: { n }, metadata: { by: "node" } });
const collect = async (read) => {
  const events = [];
  for await (const { event } of read) events.push(event);
  return events;
};
const fresh = () => `check-${randomUUID()}`;

async function appendsExpectRevisions() {
  const stream = fresh();
  const first = await client.appendToStream(stream, [event(0), event(1)], { streamState: NO_STREAM });
  assert.equal(first.nextExpectedRevision, 1n);
  const second = await client.appendToStream(stream, event(2), { streamState: 1n });
  assert.equal(second.nextExpectedRevision, 2n);
  assert.ok(second.position.commit > first.position.commit);
  await client.appendToStream(stream, event(3), { streamState: ANY });
  await client.appendToStream(stream, event(4), { streamState: STREAM_EXISTS });
  for (const streamState of [NO_STREAM, 0n, 99n]) {
    await assert.rejects(client.appendToStream(stream, event(9), { streamState }), (error) => {
      assert.ok(error instanceof WrongExpectedVersionError, `${error}`);
      assert.equal(error.actualState, 4n);
      return true;
    });
  }
  await assert.rejects(
    client.appendToStream(fresh(), event(9), { streamState: STREAM_EXISTS }),
    WrongExpectedVersionError,
  );
}

async function repeatsAreRecognised() {
  for (const streamState of [NO_STREAM, ANY]) {
    const stream = fresh();
    const events = [event(0), event(1)];
    const first = await client.appendToStream(stream, events, { streamState });
    const again = await client.appendToStream(stream, events, { streamState });
    assert.deepEqual(again.nextExpectedRevision, first.nextExpectedRevision);
    assert.equal((await collect(client.readStream(stream))).length, 2);
  }
}

async function streamsAreReadBothWays() {
  const stream = fresh();
  const sent = [0, 1, 2, 3, 4].map(event);
  await client.appendToStream(stream, sent, { streamState: NO_STREAM });
  const numbers = async (options) => (await collect(client.readStream(stream, options))).map((e) => e.data.n);
  assert.deepEqual(await numbers({ direction: FORWARDS, fromRevision: START }), [0, 1, 2, 3, 4]);
  assert.deepEqual(await numbers({ direction: FORWARDS, fromRevision: 3n }), [3, 4]);
  assert.deepEqual(await numbers({ direction: FORWARDS, fromRevision: START, maxCount: 2 }), [0, 1]);
  assert.deepEqual(await numbers({ direction: BACKWARDS, fromRevision: END }), [4, 3, 2, 1, 0]);
  assert.deepEqual(await numbers({ direction: BACKWARDS, fromRevision: 2n, maxCount: 2 }), [2, 1]);
  const [first] = await collect(client.readStream(stream, { maxCount: 1 }));
  assert.equal(first.id, sent[0].id);
  assert.equal(first.type, "checked");
  assert.deepEqual(first.metadata, { by: "node" });
  assert.equal(first.revision, 0n);
  assert.ok(first.created instanceof Date && first.created.getTime() > Date.UTC(2020));
  await assert.rejects(collect(client.readStream(fresh())), StreamNotFoundError);
}

async function allIsReadWithFilters() {
  const [stream, other] = [fresh(), fresh()];
  await client.appendToStream(stream, [event(0), event(1)], { streamState: NO_STREAM });
  await client.appendToStream(other, event(2), { streamState: NO_STREAM });
  const filter = streamNameFilter({ prefixes: [stream] });
  const own = await collect(client.readAll({ filter }));
  assert.deepEqual(own.map((e) => e.data.n), [0, 1]);
  const from = await collect(client.readAll({ filter, fromPosition: own[1].position }));
  assert.deepEqual(from.map((e) => e.data.n), [1], "a read begins with the event at its position");
  const backwards = await collect(client.readAll({ filter, direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
  assert.deepEqual(backwards.map((e) => e.data.n), [1]);
  const ours = await collect(client.readAll({ filter: excludeSystemEvents() }));
  assert.ok(ours.length >= 3 && ours.every((e) => !e.type.startsWith("$")));
}

async function subscriptionsGetHistoryAndNews() {
  const stream = fresh();
  await client.appendToStream(stream, [event(0), event(1)], { streamState: NO_STREAM });
  const filter = streamNameFilter({ prefixes: [stream] });
  const [{ position }] = await collect(client.readAll({ filter, maxCount: 1 }));
  const follow = async (subscription, expected) => {
    const numbers = [];
    let caughtUp = false;
    subscription.on("caughtUp", () => (caughtUp = true));
    for await (const { event: seen } of subscription) {
      numbers.push(seen.data.n);
      if (numbers.length === expected.length - 1) {
        await client.appendToStream(stream, event(expected.at(-1)), { streamState: ANY });
      }
      if (numbers.length === expected.length) break;
    }
    assert.deepEqual(numbers, expected);
    return caughtUp;
  };
  await follow(client.subscribeToAll({ fromPosition: START, filter }), [0, 1, 2]);
  await follow(client.subscribeToAll({ fromPosition: position, filter }), [1, 2, 3]);
  await follow(client.subscribeToStream(stream, { fromRevision: 1n }), [2, 3, 4]);
}

const checks = [
  appendsExpectRevisions,
  repeatsAreRecognised,
  streamsAreReadBothWays,
  allIsReadWithFilters,
  subscriptionsGetHistoryAndNews,
];
const deadline = setTimeout(() => {
  console.error("the checks did not end in time");
  process.exit(1);
}, 60_000);
for (const check of checks) {
  await check();
  console.log(`node: ${check.name} ok`);
}
clearTimeout(deadline);
await client.dispose();
