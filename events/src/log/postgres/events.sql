-- The event log. Rows say everything themselves, so that a person with psql can read them.
-- category: 1 account, 2 intake, 3 contact, 4 profile, 5 link, 6 conversation (for ever).
-- recorded_at: microseconds since 1970-01-01 UTC; never less than at a lower position.
-- digest: null for events imported from a log that did not tell it.
CREATE TABLE events (
    position    bigint PRIMARY KEY CHECK (position > 0),
    recorded_at bigint NOT NULL,
    revision    bigint NOT NULL CHECK (revision >= 0),
    stream_id   uuid NOT NULL,
    event_id    uuid NOT NULL,
    category    smallint NOT NULL,
    version     integer NOT NULL,
    tenant      text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    digest      bytea,
    metadata    text COLLATE "C" NOT NULL,
    payload     bytea NOT NULL
);
CREATE UNIQUE INDEX events_by_stream ON events (stream_id, tenant, category, revision);
CREATE UNIQUE INDEX events_by_id ON events (event_id);
-- Payloads are mostly ciphertext: trying to compress them costs and gives nothing.
ALTER TABLE events ALTER COLUMN payload SET STORAGE EXTERNAL;

-- The turn to append: held until the transaction has become visible, so that positions do in their order.
-- 1279611983 is LETO in ASCII; the rest of the key is the table, so that logs in other schemas have their own turns.
CREATE FUNCTION events_take_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock((1279611983::bigint << 32) | TG_RELID::bigint);
    RETURN NULL;
END
$$;
CREATE TRIGGER events_one_after_the_other BEFORE INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_take_turn();

CREATE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only';
END
$$;
CREATE TRIGGER events_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change();
