-- Who somebody is. One row an account.
CREATE TABLE {table} (
    account_id uuid PRIMARY KEY,
    name text NOT NULL,
    display_name text NOT NULL,
    imported boolean NOT NULL,
    created_at timestamptz,             -- null until the account's own first event is folded
    followers bigint NOT NULL,
    following bigint NOT NULL,
    position bigint NOT NULL            -- of the last event folded into this row
);
CREATE INDEX ON {table} (lower(name));
