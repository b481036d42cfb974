"""A site for each test that asks for one."""

from collections.abc import Iterator

import pytest

from tests.queries.site import Site


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    """An empty site over an empty database."""
    made = Site(database)
    yield made
    made.close()
