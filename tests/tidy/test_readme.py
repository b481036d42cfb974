"""What the README shows is what there is."""

import re

from graphql import parse, validate

from infra.settings import ROOT
from read_api.schema import schema
from streams.cli import COMMANDS

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
