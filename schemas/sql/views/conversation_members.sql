-- Who is in each conversation. A row exists while somebody is in it.
CREATE TABLE {table} (
    conversation_id uuid NOT NULL,
    account_id uuid NOT NULL,
    adder_id uuid,
    joined_at timestamptz,
    position bigint NOT NULL,           -- of the joining
    PRIMARY KEY (conversation_id, account_id)
);
CREATE INDEX ON {table} (account_id, position);
