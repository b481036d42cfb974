"""Keys of authors in a PostgreSQL server."""

from tests.conformance.test_keys import *
