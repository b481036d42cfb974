-- How far each account has read in each channel.
CREATE TABLE {table} (
    account_id uuid NOT NULL,
    channel_id uuid NOT NULL,
    message_id bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (account_id, channel_id)
);
-- When somebody moved a marker last.
CREATE INDEX ON {table} (account_id, position);
