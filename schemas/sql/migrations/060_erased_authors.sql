-- The relay looks every few seconds for keys that were destroyed since, to have Kafka forget them, too.
CREATE INDEX author_keys_destroyed_at_idx ON log.author_keys (destroyed_at) WHERE destroyed_at IS NOT NULL;
