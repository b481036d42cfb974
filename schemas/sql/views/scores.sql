-- Up and down votes of every post and comment that has any, imported totals included.
CREATE TABLE {table} (
    target_id uuid PRIMARY KEY,
    up bigint NOT NULL,
    down bigint NOT NULL,
    position bigint NOT NULL            -- of the last event that changed the score
);
