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
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
-- A vote renews the entries of its post in all of these, so each earns its keep. By time alone, use posts.
-- The best of each quarter of an hour: Hot, and Top of a day, week or month; of a community and of all.
CREATE INDEX ON {table} (community_id, date_bin('15 minutes', submitted_at, '2000-01-01 00:00:00+00'), (up - down),
    submitted_at, post_id) WHERE NOT deleted AND submitted_at IS NOT NULL;
CREATE INDEX ON {table} (date_bin('15 minutes', submitted_at, '2000-01-01 00:00:00+00'), (up - down),
    submitted_at, post_id) WHERE NOT deleted AND submitted_at IS NOT NULL;
-- Top of a year or of all time.
CREATE INDEX ON {table} (community_id, (up - down), submitted_at, post_id) WHERE NOT deleted AND submitted_at IS NOT NULL;
CREATE INDEX ON {table} ((up - down), submitted_at, post_id) WHERE NOT deleted AND submitted_at IS NOT NULL;
-- Controversial: only what has votes both ways.
CREATE INDEX ON {table} (community_id,
    power((up + down)::float8, least(up, down)::float8 / nullif(greatest(up, down), 0)::float8), submitted_at, post_id)
    WHERE up > 0 AND down > 0 AND NOT deleted AND submitted_at IS NOT NULL;
CREATE INDEX ON {table} (
    power((up + down)::float8, least(up, down)::float8 / nullif(greatest(up, down), 0)::float8), submitted_at, post_id)
    WHERE up > 0 AND down > 0 AND NOT deleted AND submitted_at IS NOT NULL;
CREATE INDEX ON {table} (community_id, submitted_at, post_id) WHERE sticky AND NOT deleted;
