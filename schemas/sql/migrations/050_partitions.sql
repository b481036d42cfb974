-- Views that are kept up to date from several partitions of the log, as a fleet does.
--
-- A checkpoint of partition 0 is that of the embedded log: everything up to it is in the view, and nothing after it.
-- Every other is of one partition of a topic (schemas/topics.py), and says the same of that partition's events alone.
ALTER TABLE views.checkpoints ADD COLUMN "offset" bigint;   -- in the topic: read from here on; null: not known

-- What the relay has sent. The row of partition -1 is the frontier: everything up to its position is in the topics.
-- Every other row says which position was the last that went to that partition.
CREATE TABLE log.relayed (
    partition integer PRIMARY KEY,
    position bigint NOT NULL
) WITH (fillfactor = 20);

-- How far each view has come, with one checkpoint or many. `position`: every event up to it is in the view. `front`:
-- no event after it is. A view whose front is not beyond its position stands at one position of the log.
--
-- A partition that holds everything that was sent to it holds everything up to the frontier: what comes between its
-- last event and the frontier went elsewhere.
CREATE VIEW views.progress AS
    SELECT c.projection,
        min(CASE WHEN c.partition = 0 OR c.position < r.position THEN c.position
            ELSE greatest(c.position, f.position) END) AS position,
        max(c.position) AS front,
        min(c.version) AS version
    FROM views.checkpoints c
        LEFT JOIN log.relayed r ON r.partition = c.partition
        LEFT JOIN log.relayed f ON f.partition = -1
    GROUP BY c.projection;

-- The position up to which every event is in all of those views; 0 where one of them never ran. Stable, so that it
-- is told from the same snapshot as the rows of the statement that asks.
CREATE FUNCTION views.reached(projections text[]) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN count(*) = cardinality(projections) THEN min(p.position) ELSE 0 END
    FROM views.progress p WHERE p.projection = ANY (projections)
$$;
