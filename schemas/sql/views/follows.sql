-- Who follows whom. A row exists while the following lasts.
CREATE TABLE {table} (
    follower_id uuid NOT NULL,
    followed_id uuid NOT NULL,
    since timestamptz,
    position bigint NOT NULL,
    PRIMARY KEY (follower_id, followed_id)
);
CREATE INDEX ON {table} (followed_id, position);
CREATE INDEX ON {table} (follower_id, position);
