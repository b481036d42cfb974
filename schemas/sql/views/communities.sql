-- What a community says of itself, and its totals. One row a community.
CREATE TABLE {table} (
    community_id uuid PRIMARY KEY,
    name text NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    visibility text NOT NULL,           -- public, restricted or private
    anonymous_allowed boolean NOT NULL,
    imported boolean NOT NULL,
    creator_id uuid,
    created_at timestamptz,             -- null until the community's own first event is folded
    members bigint NOT NULL,
    posts bigint NOT NULL,              -- not counting deleted ones
    position bigint NOT NULL
);
CREATE INDEX ON {table} (lower(name));
CREATE INDEX ON {table} (members DESC, community_id);
-- The few that not everybody sees.
CREATE INDEX ON {table} (community_id) WHERE visibility = 'private';
