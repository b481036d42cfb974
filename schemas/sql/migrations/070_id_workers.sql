-- Who may make ids that grow with time (infra/snowflakes.py): under a number, and in milliseconds that nobody else has there.
CREATE TABLE log.id_workers (
    worker integer PRIMARY KEY CHECK (worker BETWEEN 0 AND 1023),
    until_ms bigint NOT NULL            -- the last millisecond since 2025 in which its holder may make any
);

INSERT INTO log.id_workers SELECT n, 0 FROM generate_series(0, 1023) n;

-- Milliseconds since 2025. The one clock of all who make ids: theirs are never asked.
CREATE FUNCTION log.id_clock_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1735689600000
$$;
