-- The channels of each chat server. One row a channel, also when it is deleted.
CREATE TABLE {table} (
    channel_id uuid PRIMARY KEY,
    server_id uuid,
    kind text NOT NULL,                 -- text or announcement
    name text NOT NULL,
    topic text NOT NULL,
    slow_mode_seconds bigint NOT NULL,
    place bigint NOT NULL,
    created_at timestamptz,
    deleted boolean NOT NULL,
    position bigint NOT NULL
);
CREATE INDEX ON {table} (server_id, place) WHERE NOT deleted;
