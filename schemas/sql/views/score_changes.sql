-- Every single change of a score, so that a ranking can be told as of any past position. One row a vote event.
CREATE TABLE {table} (
    position bigint PRIMARY KEY,
    target_id uuid NOT NULL,
    post_id uuid NOT NULL,
    community_id uuid NOT NULL,
    occurred_at timestamptz,
    up integer NOT NULL,                -- change of the up votes: -1, 0 or 1
    down integer NOT NULL
);
CREATE INDEX ON {table} (post_id, position);
CREATE INDEX ON {table} (community_id, position);
CREATE INDEX ON {table} (occurred_at);
