-- What an account has saved. A row exists while it is saved.
CREATE TABLE {table} (
    account_id uuid NOT NULL,
    target_id uuid NOT NULL,
    target text NOT NULL,               -- post or comment
    saved_at timestamptz,
    position bigint NOT NULL,
    PRIMARY KEY (account_id, target_id)
);
CREATE INDEX ON {table} (account_id, position);
