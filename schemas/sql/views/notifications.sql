-- Who was replied to, by which comment.
CREATE TABLE {table} (
    account_id uuid NOT NULL,
    position bigint NOT NULL,
    actor_id uuid,
    comment_id uuid,
    post_id uuid,
    occurred_at timestamptz,
    PRIMARY KEY (account_id, position)
);
