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
-- What happened to the posts of a community since a position, and in the last hour: there, and everywhere.
CREATE INDEX ON {table} (community_id, position) WHERE target_id = post_id;
CREATE INDEX ON {table} (community_id, occurred_at) WHERE target_id = post_id;
CREATE INDEX ON {table} (occurred_at) WHERE target_id = post_id;
-- What happened to the comments of a post since a position.
CREATE INDEX ON {table} (post_id, position) WHERE target_id <> post_id;
