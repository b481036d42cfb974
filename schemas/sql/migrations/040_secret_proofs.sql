-- Which secrets this data was written with: a start with others is refused before it writes anything.
CREATE TABLE log.secret_proofs (
    name text PRIMARY KEY,              -- of the key, as in secrets.json
    proof bytea NOT NULL                -- HMAC-SHA256 of a constant under that key: says nothing about the key itself
);
