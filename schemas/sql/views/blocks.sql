-- Who blocks whom. A row exists while the block lasts.
CREATE TABLE {table} (
    blocker_id uuid NOT NULL,
    blocked_id uuid NOT NULL,
    since timestamptz,
    position bigint NOT NULL,
    PRIMARY KEY (blocker_id, blocked_id)
);
CREATE INDEX ON {table} (blocker_id, position);
CREATE INDEX ON {table} (blocked_id, blocker_id);
