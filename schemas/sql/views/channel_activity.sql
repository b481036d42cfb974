-- The last message of each channel and conversation.
CREATE TABLE {table} (
    channel_id uuid PRIMARY KEY,
    server_id uuid,                     -- null in a conversation
    last_message_id bigint NOT NULL,
    position bigint NOT NULL
);
-- Since when nothing was said in a server.
CREATE INDEX ON {table} (server_id, position);
