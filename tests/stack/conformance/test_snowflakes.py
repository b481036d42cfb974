"""Ids that grow with time, leased by a PostgreSQL server."""

from tests.faults.test_snowflakes import *
