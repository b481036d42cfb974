"""Rows and checkpoints of views in a PostgreSQL server."""

from tests.conformance.test_rows import *
