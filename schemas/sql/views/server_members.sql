-- Who is in each chat server. A row exists while somebody is in it.
CREATE TABLE {table} (
    server_id uuid NOT NULL,
    account_id uuid NOT NULL,
    roles bytea NOT NULL,               -- the ids of the roles held, sixteen bytes each
    joined_at timestamptz,
    membership bigint NOT NULL,         -- 1 for the first
    position bigint NOT NULL,           -- of the joining
    PRIMARY KEY (server_id, account_id)
);
CREATE INDEX ON {table} (server_id, position);
CREATE INDEX ON {table} (account_id, position);
