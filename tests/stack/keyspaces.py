"""A keyspace for one test, on the Cassandra that all tests of a lane share."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

from msgspec import Struct

from infra.cassandra.address import parse
from infra.cassandra.client import CassandraClient, CassandraLimits
from infra.cassandra.errors import CassandraAway
from infra.stack import Stack
from infra.stack.cassandra import KEYSPACE
from tests.stack.roles import until


class Keyspace(Struct, frozen=True):
    """Where it is, directly and by way of the fault proxy."""

    url: str
    behind_proxy: str


@contextmanager
def keyspace_on(stack: Stack) -> Iterator[Keyspace]:
    """A new keyspace, dropped afterwards."""
    name = f"t_{uuid4().hex}"
    url, proxied = (
        f"{one.removesuffix(f'/{KEYSPACE}')}/{name}" for one in (stack.cassandra.url, stack.cassandra.proxied_url)
    )
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    with closing(CassandraClient(parse(url), CassandraLimits(request_seconds_max=10.0))) as owner:
        owner.change_schema(f"CREATE KEYSPACE {name} WITH replication = {replication}")
        yield Keyspace(url, proxied)
        stack.cassandra.start()  # a test may have stopped it
        until(lambda: _dropped(owner, name))


def _dropped(owner: CassandraClient, name: str) -> bool:
    try:
        owner.change_schema(f"DROP KEYSPACE IF EXISTS {name}")
    except CassandraAway:
        return False
    return True
