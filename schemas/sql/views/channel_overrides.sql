-- Whom each channel treats otherwise than its server does.
CREATE TABLE {table} (
    channel_id uuid NOT NULL,
    target_id uuid NOT NULL,            -- a role or an account
    allow bigint NOT NULL,              -- numbers of domain.permissions, added up
    deny bigint NOT NULL,
    membership bigint NOT NULL,         -- of an account, for which something is allowed; 0 for a role
    position bigint NOT NULL,
    PRIMARY KEY (channel_id, target_id)
);
