"""The keyspace of the message log, from ``schemas/cql``; ``moot migrate`` makes it."""

from importlib.resources import files

from infra.cassandra.client import CassandraClient


def keyspace_missing(client: CassandraClient) -> bool:
    """Whether it is not there yet. Raises ``CassandraError``."""
    return client.replication() is None


def make_keyspace(client: CassandraClient) -> None:
    """Make it unless it is there; what it is like then is not changed. Raises ``CassandraError``."""
    text = _text("keyspace").replace("{keyspace}", client.keyspace).replace("{replicas}", str(client.limits.replicas))
    client.change_schema(text)


def _text(name: str) -> str:
    return files("schemas").joinpath("cql", f"{name}.cql").read_text("utf-8")
