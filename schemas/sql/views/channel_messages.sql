-- Which messages each channel has, and when each last changed.
CREATE TABLE {table} (
    channel_id uuid NOT NULL,
    message_id bigint NOT NULL,
    author_id uuid,
    deleted boolean NOT NULL,
    position bigint NOT NULL,           -- of its being sent
    changed bigint NOT NULL,            -- position of the last event about it, its reactions included
    said bigint NOT NULL,               -- position of the last event of the message itself
    PRIMARY KEY (channel_id, message_id)
);
-- What changed in a channel since a position; what one wrote in it, which is not unread to him.
CREATE INDEX ON {table} (channel_id, changed);
CREATE INDEX ON {table} (channel_id, author_id, message_id) WHERE NOT deleted;
