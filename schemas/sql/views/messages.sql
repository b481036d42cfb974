-- The messages of every channel and conversation. One row a message, also when it is deleted: it is empty then.
CREATE TABLE {table} (
    channel_id uuid NOT NULL,
    month bigint NOT NULL,              -- of the id: 12 times the year, and 0 to 11
    message_id bigint NOT NULL,         -- a Snowflake: the order of the channel
    author_id uuid,
    body text NOT NULL,
    attachments text NOT NULL,          -- JSON, or empty
    mentions bytea NOT NULL,            -- ids of accounts and roles, 16 bytes each
    reply_to_id bigint,
    sent_at timestamptz,
    edited_at timestamptz,
    deleted_at timestamptz,
    position bigint NOT NULL,           -- of the last event in it
    PRIMARY KEY (channel_id, month, message_id)
);
