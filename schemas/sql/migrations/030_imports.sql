-- How far each archive has been imported, so that an import that was interrupted goes on where it was.
CREATE TABLE log.imports (
    fingerprint text PRIMARY KEY,       -- of the file's size and beginning
    path text NOT NULL,                 -- where it was read from last
    lines bigint NOT NULL,              -- all up to this one are in the log
    finished boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
