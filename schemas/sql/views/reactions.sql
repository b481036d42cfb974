-- Who reacts to which message with what.
CREATE TABLE {table} (
    message_id bigint NOT NULL,
    emoji text NOT NULL,
    account_id uuid NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (message_id, emoji, account_id)
);
CREATE INDEX ON {table} (message_id, account_id);
