"""Sessions in a PostgreSQL server, and their marks and ends in a Redis server."""

from tests.auth.test_sessions import *
