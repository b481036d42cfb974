"""What is followed in a channel while the view of the messages is behind the one that says which there are."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from domain import snowflake
from domain.event import Event
from domain.ids import packed
from domain.message import MessageDeleted, MessageEdited, MessageSent
from domain.reaction import ReactionAdded
from infra.queries.messages import PostgresMessages, reactors
from infra.queries.rows import Connection
from read_api.live.sources import MessagesSource
from tests.queries.site import Site, ident

T = TypeVar("T")
HERE, SERVER, ADA, BOB = ident("place", 1), ident("place", 2), ident("person", 1), ident("person", 2)
NOBODY = packed(frozenset())
NUMBERS = [snowflake.made(1_770_000_000_000 + number * 1000, 0, 0) for number in range(5)]


def sent(number: int) -> Event:
    return MessageSent(snowflake.as_id(NUMBERS[number]), HERE, SERVER, ADA, None, NOBODY, f"{number}", "")


def edited(number: int) -> Event:
    return MessageEdited(snowflake.as_id(NUMBERS[number]), HERE, SERVER, ADA, NOBODY, NOBODY, f"{number}!")


def deleted(number: int) -> Event:
    return MessageDeleted(snowflake.as_id(NUMBERS[number]), HERE, SERVER, ADA, ADA, NOBODY)


def source() -> MessagesSource:
    return MessagesSource(HERE, SERVER, PostgresMessages(), lambda position, row: (position, row.body))


def asked(site: Site, question: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        return await site.ask(question)

    return asyncio.run(run())


def read(site: Site, after: int, limit: int = 10) -> tuple[list[Any], bool]:
    """What is told, and whether something is held."""
    reading = asked(site, lambda connection: source().read(connection, after, limit))
    return [event.payload for event in reading.events], reading.held


def start(site: Site) -> int:
    return asked(site, lambda connection: source().start(connection))


def test_a_topic_starts_no_further_than_messages_can_be_read(site: Site) -> None:
    site.happen(sent(0))
    site.fold()
    site.happen(sent(1))
    site.fold(without="messages")
    assert start(site) == 1
    assert read(site, 1) == ([], True)
    site.fold()
    assert start(site) == 2
    assert read(site, 1) == ([(2, "1")], False)


def test_a_channel_that_is_ahead_of_other_partitions_starts_where_it_is(site: Site) -> None:
    site.happen(sent(0))
    site.happen(sent(1))
    site.fold()
    site._connection.execute("UPDATE views.checkpoints SET position = 1 WHERE projection = 'messages'")
    assert start(site) == 2


@pytest.mark.parametrize("change", [edited, deleted])
def test_a_message_that_lacks_its_last_change_is_held(site: Site, change: Callable[[int], Event]) -> None:
    site.happen(sent(0))
    site.fold()
    site.happen(change(0))
    site.happen(ReactionAdded(snowflake.as_id(NUMBERS[0]), HERE, BOB, "👍"))
    site.fold(without="messages")
    assert read(site, 1) == ([], True)
    assert start(site) == 1
    site.fold()
    assert read(site, 1) == ([(3, "0!" if change is edited else "")], False)


def test_a_reaction_is_told_while_messages_are_behind(site: Site) -> None:
    site.happen(sent(0))
    site.fold()
    site.happen(ReactionAdded(snowflake.as_id(NUMBERS[0]), HERE, BOB, "👍"))
    site.fold(without="messages")
    assert read(site, 1) == ([(2, "0")], False)


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_what_is_parked_stops_nothing_that_comes_after_it(site: Site, limit: int) -> None:
    for number in range(5):
        site.happen(sent(number))
    site.fold()
    parked = [NUMBERS[1], NUMBERS[2]]
    site._connection.execute("DELETE FROM views.messages WHERE message_id = ANY(%s)", [parked])
    assert read(site, 0, limit) == ([(1, "0"), (4, "3"), (5, "4")][:limit], False)
    assert read(site, 1, limit) == ([(4, "3"), (5, "4")][:limit], False)
    assert start(site) == 5


def test_who_reacted_is_told_up_to_so_many(site: Site) -> None:
    site.happen(sent(0))
    for who, emoji in ((BOB, "👍"), (ADA, "👍"), (BOB, "🎉")):
        site.happen(ReactionAdded(snowflake.as_id(NUMBERS[0]), HERE, who, emoji))
    site.fold()

    def told(limit: int) -> object:
        return asyncio.run(site.ask(lambda c: reactors(c, NUMBERS[:2], limit)))

    assert told(3) == {NUMBERS[0]: {"👍": {ADA, BOB}, "🎉": {BOB}}}
    assert told(2) is None
