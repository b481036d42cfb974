-- The invites of each chat server.
CREATE TABLE {table} (
    invite_id uuid PRIMARY KEY,
    server_id uuid,
    creator_id uuid,
    created_at timestamptz,
    expires_at timestamptz,             -- null: no end
    uses_max bigint,                    -- null: no limit
    uses bigint NOT NULL,
    revoked boolean NOT NULL,
    position bigint NOT NULL
);
CREATE INDEX ON {table} (server_id, position);
CREATE INDEX ON {table} (server_id, creator_id, position);
