"""The message log in Cassandra, or in ScyllaDB, which speaks the same protocol."""
