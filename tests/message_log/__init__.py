"""The message log in Cassandra, as far as no server is needed."""
