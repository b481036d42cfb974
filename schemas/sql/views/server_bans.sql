-- Who is banned from each chat server. A row exists until the ban is taken back.
CREATE TABLE {table} (
    server_id uuid NOT NULL,
    account_id uuid NOT NULL,
    moderator_id uuid,
    reason text NOT NULL,
    until timestamptz,                  -- null: no end
    banned_at timestamptz,
    position bigint NOT NULL,
    PRIMARY KEY (server_id, account_id)
);
CREATE INDEX ON {table} (server_id, position);
