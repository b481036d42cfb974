-- What belongs to persons and never enters the log: credentials, sessions, mail.
CREATE SCHEMA IF NOT EXISTS people;

-- How an account is entered. A row is written before the account's first event and counts from `registered_at` on;
-- one that never got there is an abandoned sign-up and gives its address back.
CREATE TABLE people.credentials (
    account_id uuid PRIMARY KEY,
    email text NOT NULL CHECK (length(email) <= 254),
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL,
    registered_at timestamptz,
    email_confirmed_at timestamptz
);
CREATE UNIQUE INDEX ON people.credentials (lower(email));

-- The codes mailed to prove that an address is read by who gave it. Only their SHA-256 is kept.
CREATE TABLE people.email_confirmations (
    code_hash bytea PRIMARY KEY CHECK (length(code_hash) = 32),
    account_id uuid NOT NULL REFERENCES people.credentials ON DELETE CASCADE,
    email text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX ON people.email_confirmations (account_id);

-- A session is a family of refresh tokens, each the successor of one before, from one sign-in to one sign-out.
CREATE TABLE people.sessions (
    session_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    client text NOT NULL CHECK (length(client) <= 200),
    begun_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_by text CHECK (ended_by IN ('sign_out', 'sign_out_everywhere', 'reuse', 'too_many'))
);
CREATE INDEX ON people.sessions (account_id, begun_at);

-- Only the SHA-256 of a token is kept. One that was used stays until it expires: its return betrays a thief.
CREATE TABLE people.refresh_tokens (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    session_id uuid NOT NULL REFERENCES people.sessions ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    successor_hash bytea
);
CREATE INDEX ON people.refresh_tokens (session_id);

-- Mail that was captured instead of sent.
CREATE TABLE people.mail (
    mail_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipient text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    sent_at timestamptz NOT NULL
);
