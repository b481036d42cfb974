"""Attempts counted in a Redis server."""

from tests.auth.test_attempts import *
