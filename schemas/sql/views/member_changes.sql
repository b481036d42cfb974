-- Every joining and leaving, so that the size of a community can be told as of any past position. One row an event.
CREATE TABLE {table} (
    position bigint PRIMARY KEY,
    community_id uuid NOT NULL,
    change bigint NOT NULL              -- of the number of members: 1 or -1
);
