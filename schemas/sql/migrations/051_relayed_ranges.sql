-- What the relay sent to each partition, in the portions in which it sent it, so that `views.progress` never goes back.
--
-- With the last position of a partition alone, a view that had all of it and then is sent one event more would fall back
-- to the event before, which may be hours and a million positions of other partitions ago.

ALTER TABLE log.relayed ADD COLUMN previous bigint;     -- of the frontier: where it was before it came here

-- Each portion lies after `beyond` and ends with `upto`; nothing that was sent to the partition lies between the portion
-- before it and `beyond`. Null: not known. What all views have is forgotten.
CREATE TABLE log.relayed_ranges (
    partition integer NOT NULL,
    upto bigint NOT NULL,
    beyond bigint,
    PRIMARY KEY (partition, upto)
);

CREATE FUNCTION log.keep_previous_frontier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.previous := OLD.position;
    RETURN NEW;
END
$$;

CREATE TRIGGER keep_previous BEFORE UPDATE ON log.relayed FOR EACH ROW
    WHEN (NEW.partition = -1 AND NEW.position > OLD.position) EXECUTE FUNCTION log.keep_previous_frontier();

-- The relay moves the frontier and the partitions in one statement, and what it sends comes after the frontier as it was.
CREATE FUNCTION log.add_relayed_ranges() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    frontier log.relayed%ROWTYPE;
BEGIN
    SELECT * INTO frontier FROM log.relayed WHERE partition = -1;
    INSERT INTO log.relayed_ranges (partition, upto, beyond)
        SELECT changed.partition, changed.position, frontier.previous FROM changed WHERE changed.partition <> -1
        ON CONFLICT DO NOTHING;
    IF frontier.position / 100000 > frontier.previous / 100000 THEN
        PERFORM log.forget_relayed_ranges(frontier.position - 5000000);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER add_ranges_inserted AFTER INSERT ON log.relayed REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION log.add_relayed_ranges();
CREATE TRIGGER add_ranges_updated AFTER UPDATE ON log.relayed REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION log.add_relayed_ranges();

-- Forgets what every view has, and whatever ends before `oldest`. The last portion that is forgotten stays as one of
-- which nothing is known but where it ends.
CREATE FUNCTION log.forget_relayed_ranges(oldest bigint) RETURNS void LANGUAGE sql AS $$
    WITH ends AS (
        SELECT g.partition, max(g.upto) AS upto FROM log.relayed_ranges g
        WHERE g.upto <= greatest(oldest,
            (SELECT min(c.position) FROM views.checkpoints c WHERE c.partition = g.partition))
        GROUP BY g.partition
    ), unknown AS (
        UPDATE log.relayed_ranges g SET beyond = NULL FROM ends e WHERE g.partition = e.partition AND g.upto = e.upto
    )
    DELETE FROM log.relayed_ranges g USING ends e WHERE g.partition = e.partition AND g.upto < e.upto
$$;

CREATE FUNCTION log.forget_relayed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM log.relayed_ranges g USING gone WHERE g.partition = gone.partition;
    RETURN NULL;
END
$$;

CREATE TRIGGER forget AFTER DELETE ON log.relayed REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION log.forget_relayed();

-- As before, but a view that has not all of a partition has what lies before the first portion that it lacks.
CREATE OR REPLACE VIEW views.progress AS
    SELECT c.projection,
        min(CASE WHEN c.partition = 0 THEN c.position
            WHEN c.position < r.position THEN greatest(c.position, (
                SELECT g.beyond FROM log.relayed_ranges g WHERE g.partition = c.partition AND g.upto > c.position
                ORDER BY g.upto LIMIT 1))
            ELSE greatest(c.position, f.position) END) AS position,
        max(c.position) AS front,
        min(c.version) AS version
    FROM views.checkpoints c
        LEFT JOIN log.relayed r ON r.partition = c.partition
        LEFT JOIN log.relayed f ON f.partition = -1
    GROUP BY c.projection;
