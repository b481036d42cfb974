-- What an author's posts and comments earned in one community: up votes less down votes.
CREATE TABLE {table} (
    account_id uuid NOT NULL,
    community_id uuid NOT NULL,
    post_karma bigint NOT NULL,
    comment_karma bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (account_id, community_id)
);
