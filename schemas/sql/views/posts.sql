-- What a post says. Its votes are in feed and scores, so that a vote never rewrites a text.
CREATE TABLE {table} (
    post_id uuid PRIMARY KEY,
    community_id uuid,
    author_id uuid,                     -- null: an archive's unknown author. Never show it where anonymous is true
    anonymous boolean NOT NULL,
    kind text NOT NULL,                 -- text or link
    title text NOT NULL,
    body text NOT NULL,
    url text,
    submitted_at timestamptz,
    edited_at timestamptz,
    deleted boolean NOT NULL,           -- by author or moderator, or gone from the archive: title and body are empty
    locked boolean NOT NULL,
    sticky boolean NOT NULL,
    source_id text,
    position bigint NOT NULL            -- of the event that submitted it
);
-- By time, newest first: of a community, of all, of an author.
CREATE INDEX ON {table} (community_id, submitted_at, post_id) WHERE NOT deleted;
CREATE INDEX ON {table} (submitted_at, post_id) WHERE NOT deleted;
CREATE INDEX ON {table} (author_id, submitted_at, post_id) WHERE NOT deleted;
-- What is new in a community since a position.
CREATE INDEX ON {table} (community_id, position);
