-- What a chat server says of itself, and how many are in it. One row a server, also when it is deleted.
CREATE TABLE {table} (
    server_id uuid PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL,
    owner_id uuid,
    created_at timestamptz,             -- null until the server's own first event is folded
    deleted boolean NOT NULL,
    members bigint NOT NULL,
    position bigint NOT NULL
);
