-- How many react to a message with each emoji.
CREATE TABLE {table} (
    message_id bigint NOT NULL,
    emoji text NOT NULL,
    count bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (message_id, emoji)
);
