"""What asking Cassandra may come to. No driver is needed to know these."""


class CassandraError(Exception):
    """What was asked for was not done, or not all of it."""


class CassandraAway(CassandraError):
    """Cassandra did not answer, or too few of its nodes did, or a breaker is open. What was asked may have happened."""


class CassandraRefused(CassandraError):
    """Cassandra, or the way to it, does not take this value: trying again would change nothing."""


class CassandraUnready(CassandraError):
    """Cassandra answers and does not know what it is asked for: a keyspace, a table or a right is missing."""
