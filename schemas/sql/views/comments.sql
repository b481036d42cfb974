-- What a comment says and where it stands in its thread. Its votes are in scores.
CREATE TABLE {table} (
    comment_id uuid PRIMARY KEY,
    post_id uuid,
    community_id uuid,
    author_id uuid,
    parent_id uuid,
    orphan boolean NOT NULL,            -- its archive parent is not known yet: it stands directly below the post
    path bytea NOT NULL,                -- byte order of paths is the thread, depth first, oldest sibling first
    depth bigint NOT NULL,              -- 1 directly below the post
    body text NOT NULL,
    submitted_at timestamptz,           -- null until the comment's own first event is folded
    edited_at timestamptz,
    deleted boolean NOT NULL,
    replies bigint NOT NULL,            -- direct ones, deleted ones included
    source_id text,
    position bigint NOT NULL            -- of the event that submitted it
);
-- The whole thread of a post in order; what is directly below a post, and below a comment.
CREATE INDEX ON {table} (post_id, path);
CREATE INDEX ON {table} (post_id, submitted_at, comment_id) WHERE depth = 1;
CREATE INDEX ON {table} (parent_id, submitted_at, comment_id) WHERE NOT orphan;
-- What is new below a post since a position; what an author wrote, newest first.
CREATE INDEX ON {table} (post_id, position);
CREATE INDEX ON {table} (author_id, submitted_at, comment_id) WHERE NOT deleted;
