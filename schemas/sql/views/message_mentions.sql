-- Whom each message mentions as it now reads: an account, a role, or everyone by the id of the server.
CREATE TABLE {table} (
    channel_id uuid NOT NULL,
    target_id uuid NOT NULL,
    message_id bigint NOT NULL,
    author_id uuid,
    PRIMARY KEY (channel_id, target_id, message_id)
);
