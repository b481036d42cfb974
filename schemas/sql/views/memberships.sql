-- One account's standing in one community.
CREATE TABLE {table} (
    community_id uuid NOT NULL,
    account_id uuid NOT NULL,
    invited boolean NOT NULL,
    joined boolean NOT NULL,
    moderator boolean NOT NULL,
    joined_at timestamptz,
    position bigint NOT NULL,           -- of the event by which it last joined; 0 before
    PRIMARY KEY (community_id, account_id)
);
CREATE INDEX ON {table} (account_id, position);
CREATE INDEX ON {table} (community_id, position) WHERE joined;
