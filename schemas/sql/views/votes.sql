-- An account's own votes, to show it what it voted. A row exists while the vote is not withdrawn.
CREATE TABLE {table} (
    voter_id uuid NOT NULL,
    target_id uuid NOT NULL,
    value smallint NOT NULL,            -- 1 or -1
    position bigint NOT NULL,
    PRIMARY KEY (voter_id, target_id)
);
