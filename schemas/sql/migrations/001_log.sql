-- The log: every event ever recorded, in one total order, and the keys of the people in it.
CREATE SCHEMA log;

CREATE TABLE log.stored_events (
    originator_id uuid NOT NULL,        -- the stream
    originator_version bigint NOT NULL, -- from 1, without gaps in each stream
    topic text NOT NULL,                -- the wire name, name@version
    state bytea NOT NULL,               -- the envelope {"data": ..., "meta": ...}
    notification_id bigint NOT NULL,    -- the position: from 1, without gaps, in the order of commits
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    -- Nothing is ever updated or deleted: vacuum only for the visibility map and the statistics.
    autovacuum_vacuum_insert_scale_factor = 0.5,
    autovacuum_analyze_scale_factor = 0.05
);

CREATE UNIQUE INDEX stored_events_notification_id_idx ON log.stored_events (notification_id);

CREATE TABLE log.author_keys (
    author_id uuid PRIMARY KEY,
    wrapped bytea,                      -- the author's key, encrypted with the master key; NULL once destroyed
    created_at timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz,           -- the fence: a row that says destroyed is never given a key again
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

-- Appends what several commands want to record, in one go: all of a command or nothing of it.
--
-- streams, expected and stream_commands go together, one for each stream that a command appends to: the stream must
-- stand at the expected version, else its command is refused. ids, versions, topics, states and commands go
-- together, one for each event, in the order in which they get their positions. No stream may be named twice.
--
-- Gives the position before, and the streams at fault with the numbers of their commands. The lock makes positions
-- grow in the order of commits and the check of versions exact: nobody else writes between it and the commit.
CREATE FUNCTION log.append_events(
    streams uuid[], expected bigint[], stream_commands bigint[],
    ids uuid[], versions bigint[], topics text[], states bytea[], commands bigint[],
    OUT head bigint, OUT refused_commands bigint[], OUT refused_streams uuid[]
) LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE log.stored_events IN EXCLUSIVE MODE;
    SELECT coalesce(max(notification_id), 0) INTO head FROM log.stored_events;
    SELECT array_agg(wanted.command), array_agg(wanted.stream)
        INTO refused_commands, refused_streams
        FROM unnest(streams, expected, stream_commands) AS wanted(stream, version, command)
        WHERE wanted.version <> coalesce(
            (SELECT stored.originator_version FROM log.stored_events AS stored
             WHERE stored.originator_id = wanted.stream
             ORDER BY stored.originator_version DESC LIMIT 1), 0);
    IF refused_commands IS NULL THEN
        INSERT INTO log.stored_events (originator_id, originator_version, topic, state, notification_id)
            SELECT fresh.id, fresh.version, fresh.topic, fresh.state, head + fresh.number
            FROM unnest(ids, versions, topics, states) WITH ORDINALITY
                AS fresh(id, version, topic, state, number);
    ELSE
        INSERT INTO log.stored_events (originator_id, originator_version, topic, state, notification_id)
            SELECT fresh.id, fresh.version, fresh.topic, fresh.state,
                   head + row_number() OVER (ORDER BY fresh.number)
            FROM unnest(ids, versions, topics, states, commands) WITH ORDINALITY
                AS fresh(id, version, topic, state, command, number)
            WHERE fresh.command <> ALL (refused_commands);
    END IF;
    IF FOUND THEN
        PERFORM pg_notify('stored_events', '');
    END IF;
END
$$;
