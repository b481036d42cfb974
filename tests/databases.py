"""Databases for tests, made on a server that runs and dropped afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg


def new_database(server: str, prefix: str = "test") -> str:
    """The conninfo of a new, empty database on that server, with a name of its own."""
    name = f"{prefix}_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return psycopg.conninfo.make_conninfo(server, dbname=name)


def drop_database(server: str, conninfo: str) -> None:
    """Remove it, whoever is connected. ``server`` names another database of that server."""
    name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def database_on(server: str, prefix: str = "test") -> Iterator[str]:
    """The conninfo of a new, empty database, dropped when the block is left."""
    conninfo = new_database(server, prefix)
    yield conninfo
    drop_database(server, conninfo)
