-- The roles of each chat server; that of everyone has the server's id and rank 0.
CREATE TABLE {table} (
    server_id uuid NOT NULL,
    role_id uuid NOT NULL,
    name text NOT NULL,
    permissions bigint NOT NULL,        -- numbers of domain.permissions, added up
    rank bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (server_id, role_id)
);
CREATE INDEX ON {table} (role_id);
