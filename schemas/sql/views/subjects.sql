-- Which events touch a post, comment, account or community: their positions, in buckets of 16,384.
CREATE TABLE {table} (
    subject_id uuid NOT NULL,
    bucket bigint NOT NULL,             -- position / 16384
    offsets bytea NOT NULL,             -- position % 16384 of each, two bytes big-endian, ascending
    PRIMARY KEY (subject_id, bucket)
);
