-- Who was put out of each chat server. The row of a ban exists until it is taken back, that of a kick until they are back.
CREATE TABLE {table} (
    server_id uuid NOT NULL,
    account_id uuid NOT NULL,
    kicked boolean NOT NULL,            -- else banned
    moderator_id uuid,
    reason text NOT NULL,
    until timestamptz,                  -- of a ban; null: no end
    since timestamptz,
    position bigint NOT NULL,
    PRIMARY KEY (server_id, account_id)
);
CREATE INDEX ON {table} (server_id, kicked, position);
