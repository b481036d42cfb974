-- The views, how far each has come, and what it could not take. The tables of the views themselves are in
-- ../views: each is created when its projection first runs and replaced by a rebuild.
CREATE SCHEMA IF NOT EXISTS views;

CREATE TABLE views.checkpoints (
    projection text NOT NULL,
    partition integer NOT NULL DEFAULT 0,   -- of the log; the embedded log has one
    position bigint NOT NULL,               -- the last event folded into the view
    version integer NOT NULL,               -- of the declaration that the view was built by
    previous_version integer,               -- of the table kept as views.<projection>_previous, if there is one
    previous_position bigint,               -- how far that one had come when it was replaced
    built_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, partition)
) WITH (fillfactor = 20);                   -- rewritten by every batch: leave room to do so in place

-- Events that a fold could not take, and those that wait behind them. The events themselves stay in the log.
CREATE TABLE views.dead_letters (
    projection text NOT NULL,
    partition integer NOT NULL DEFAULT 0,
    key text NOT NULL,                      -- of the row, as JSON; or "stream:<id>"
    position bigint NOT NULL,
    error text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, key, position)
);
