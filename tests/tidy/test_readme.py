"""What the README shows is what there is."""

import re
from textwrap import dedent

import pytest
from graphql import parse, validate

from domain.ballot import VoteCast
from domain.event import Id
from infra.rows_memory import MemoryViews
from infra.settings import ROOT
from projections import core
from projections.scores import Score
from projections.stepping import step
from read_api.schema import schema
from streams.cli import COMMANDS
from tests.projections.folds import ident, recorded

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_graphql_is_valid() -> None:
    blocks = re.findall(r"```graphql\n(.*?)```", README, re.DOTALL)
    operations = [operation for block in blocks for operation in block.split("\n\n") if operation.strip()]
    assert len(operations) >= 4
    for operation in operations:
        assert validate(schema, parse(operation)) == [], operation


def test_its_commands_and_links_exist() -> None:
    named = re.findall(r"^ +\./task moot -- (\w+)", README, re.MULTILINE)
    assert len(named) >= 8
    assert set(named) <= set(COMMANDS)
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_picture_shows_both_ways_of_an_event() -> None:
    picture = README.partition("## The way of one event")[2].partition("##")[0]
    for station in ("event store", "embedded runner", "relay", "Kafka", "workers", "projections", "Redis", "read_api"):
        assert station in picture, station


def _declared(text: str) -> str:
    """The example of a projection in a text: the lines around its declaration that are indented as it is."""
    lines = text.splitlines()
    first = last = next(number for number, line in enumerate(lines) if "scores = Projection(" in line)
    indent = lines[first].removesuffix(lines[first].lstrip())

    def belongs(line: str) -> bool:
        return not line or (line.startswith(indent) and "```" not in line)

    while belongs(lines[first - 1]):
        first -= 1
    while belongs(lines[last]):
        last += 1
    return dedent("\n".join(lines[first:last]))


@pytest.mark.parametrize("text", [README, core.__doc__], ids=["README", "projections.core"])
def test_the_projection_that_it_shows_counts_votes(text: str) -> None:
    example: dict[str, object] = {"Projection": core.Projection, "Score": Score, "VoteCast": VoteCast}
    exec(_declared(text), example)
    shown = example["scores"]
    assert isinstance(shown, core.Projection)

    def vote(previous: int, value: int) -> VoteCast:
        post_id: Id = ident("post")
        return VoteCast(ident("voter"), post_id, "post", post_id, ident("place"), None, previous, value)  # type: ignore[arg-type]

    views = MemoryViews()
    with views.transaction(shown) as rows:
        step(shown, recorded(vote(0, 1), vote(1, -1), vote(0, 1)), rows, expected=0, to=3)
    assert not views.parked[shown.name]
    (row,) = views.tables[shown.name].values()
    assert isinstance(row, Score)
    assert (row.up, row.down) == (1, 1)
