-- Conversations between two people, and groups that somebody is in.
CREATE TABLE {table} (
    conversation_id uuid PRIMARY KEY,
    name text NOT NULL,
    owner_id uuid,                      -- null: between two people
    created_at timestamptz,
    members bigint NOT NULL,
    position bigint NOT NULL
);
