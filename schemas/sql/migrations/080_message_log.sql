-- The views whose rows live in Cassandra, and in which table of the keyspace. Their checkpoints and dead letters stay here,
-- so that the table that is read and written changes together with them. Without a row the rows live here, too.
CREATE TABLE views.logs (
    projection text PRIMARY KEY,
    live text NOT NULL,
    previous text,                      -- kept to go back to, as views.checkpoints.previous_version says
    making text                         -- what a rebuild fills, or what one that was killed has left
);
