"""The event store in a PostgreSQL server."""

from tests.conformance.test_event_store import *
