-- What ranks a post. One lean row a post, rewritten by each vote and comment; the texts are in posts.
CREATE TABLE {table} (
    post_id uuid PRIMARY KEY,
    community_id uuid,
    author_id uuid,                     -- null where anonymous or unknown
    submitted_at timestamptz,           -- null until the post's own first event is folded
    up bigint NOT NULL,
    down bigint NOT NULL,
    comments bigint NOT NULL,           -- not counting deleted ones
    sticky boolean NOT NULL,
    deleted boolean NOT NULL,
    position bigint NOT NULL            -- of the event that submitted it
);
