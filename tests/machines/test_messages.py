"""A conversation in a server that people fight over: real commands, views in a real PostgreSQL, and a list that knows.

To the machine of members, roles and overrides come messages with mentions, edits, deletions and read markers moved back
and forth, over minutes, days and months. What each person is then told (history, how much is unread, how often he is
mentioned in it, the first of it, or that there is nothing to be seen) is held against a list, message by message.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from msgspec import Struct
from msgspec.structs import replace

from commands.handling import Commands
from domain import snowflake
from domain.command import Command
from domain.event import Id
from domain.message import DeleteMessage, EditMessage, SendMessage
from domain.permissions import Permission
from domain.read_marker import MarkRead
from domain.role import CreateRole
from infra.event_store import memory_store
from infra.migrate import migrate
from infra.pace import Unpaced
from infra.postgres import connect, connect_async
from infra.queries.channel_viewers import viewers_of_channel
from infra.queries.messages import On, PostgresMessages
from infra.queries.rows import Connection, Slice
from infra.queries.unread import Unread
from infra.rows import create_missing, transaction
from infra.snowflakes import PastIds
from infra.tables import Table
from projections.catalogue import ALL
from projections.stepping import step
from read_api.loaders import Loaders
from tests.domain.world import ACCOUNTS, ALICE, BOB, CAROL, NAME_KEY, NOW, Claimed, put
from tests.machines.test_servers import PEOPLE, ChatServer, which, who

T = TypeVar("T")
NAMES = {ALICE: "alice", BOB: "bob", CAROL: "carol"}
VIEWS = (
    "blocks channel_messages channel_overrides channels message_counts message_mentions messages read_markers"
    " server_members server_roles servers"
).split()
"""Those that the answers are read from."""
LEAPS = [timedelta(seconds=1), timedelta(seconds=50), timedelta(hours=7), timedelta(days=2), timedelta(days=40)]
mentioned = st.lists(st.one_of(who, which, st.just("everyone")), max_size=3)


class Said(Struct):
    """A message as the list has it; ``mentions`` are the ids of people, of roles, and the server's for everyone."""

    number: int
    author: Id
    body: str
    mentions: frozenset[Id]
    deleted: bool = False


class Views:
    """The views of one world after another, in one database."""

    def __init__(self, conninfo: str) -> None:
        migrate(conninfo)
        self.conninfo = conninfo
        self._tables = {name: Table(ALL[name]) for name in VIEWS}
        self._connection = connect(conninfo)
        create_missing(self._connection, [ALL[name] for name in VIEWS])
        self._folded = 0

    def begin(self) -> None:
        """Of a world in which nothing has happened."""
        with self._connection.transaction():
            for name in VIEWS:
                self._connection.execute(f"DELETE FROM views.{name}".encode())
            self._connection.execute("UPDATE views.checkpoints SET position = 0")
        self._folded = 0

    def fold(self, machine: "Conversation") -> None:
        """All that has happened."""
        batch = machine.store.read_sync(self._folded, 100_000)
        if not batch:
            return
        with transaction(self._connection, self._tables) as opened:
            for name in VIEWS:
                step(ALL[name], batch, opened.rows(name), expected=self._folded, to=batch[-1].position)
        self._folded = batch[-1].position

    def ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        """The answer, over a connection of its own."""

        async def asked() -> T:
            async with await connect_async(self.conninfo) as connection:
                return await question(connection)

        return asyncio.run(asked())

    def close(self) -> None:
        self._connection.close()


class Conversation(ChatServer):
    """The machine. ``messages`` is the list, in the order in which they were sent."""

    views: Views

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.past = PastIds()
        self.store = memory_store(clock=lambda: self.now)
        put(self.store, [*ACCOUNTS, *(Claimed("account", name, one) for one, name in NAMES.items())])
        self.commands = Commands(self.store, self.time, NAME_KEY, message_ids=self, pace=Unpaced())
        self.names: dict[Id, str] = {}
        self.messages: list[Said] = []
        self.markers: dict[Id, int] = {}
        self.since: dict[Id, datetime] = {}
        self.views.begin()

    def time(self) -> datetime:
        return self.now

    def next(self) -> int:
        """The Snowflake of the next message."""
        return self.past.at(self.now).next()

    def ask(self, command: Command, by: Id) -> Id | None:
        """As for servers, a millisecond or more later each time, and each role with a name of its own."""
        self.now += timedelta(milliseconds=1)
        if isinstance(command, CreateRole):
            command = replace(command, name=f"role {len(self.names)}")
        before = set(self.members)
        found = super().ask(command, by)
        if isinstance(command, CreateRole) and found is not None:
            self.names[found] = command.name.replace(" ", "-")
        if by not in before and found is not None:  # if he joins by it, it was now
            self.since[by] = self.now
            self.markers.pop(by, None)
        return found

    def sees(self, one: Id) -> bool:
        return Permission.VIEW_CHANNELS in self.may_there(one)

    def words(self, names: list[Id | int | str]) -> tuple[str, set[Id]]:
        """A text that mentions these, and whom it names if that is allowed."""
        said, ids = [f"{len(self.messages)} {self.now}"], set()
        for one in names:
            if one == "everyone":
                said.append("@everyone")
                ids.add(self.server)
            elif isinstance(one, int):
                role = self.roles[one % len(self.roles)]
                if role != self.server:
                    said.append(f"@{self.names[role]}")
                    ids.add(role)
            else:
                said.append(f"@{NAMES[Id(one)]}")
                ids.add(Id(one))
        return " ".join(said), ids

    def allowed(self, ids: set[Id], by: Id) -> frozenset[Id]:
        """Of those whom a text names, who is mentioned: people who see the channel; the rest by permission."""
        many = Permission.MENTION_EVERYONE in self.may_there(by)
        return frozenset(one for one in ids if (self.sees(one) if one in PEOPLE else many))

    def one(self, at: int) -> Said:
        return self.messages[-1 - at % len(self.messages)]

    @rule(leap=st.sampled_from(LEAPS))
    def time_passes(self, leap: timedelta) -> None:
        self.now += leap

    @rule(by=who, names=mentioned)
    def send(self, by: Id, names: list[Id | int | str]) -> None:
        body, ids = self.words(names)
        mentions = self.allowed(ids, by)
        made = self.ask(SendMessage(self.channel, body), by)
        assert (made is not None) == (self.sees(by) and Permission.SEND_MESSAGES in self.may_there(by))
        if made is not None:
            self.messages.append(Said(snowflake.of_id(made), by, body, mentions))

    @precondition(lambda self: self.messages)
    @rule(by=who, at=st.integers(0, 9), names=mentioned)
    def edit(self, by: Id, at: int, names: list[Id | int | str]) -> None:
        one, (body, ids) = self.one(at), self.words(names)
        mentions = self.allowed(ids, by)

        def then() -> None:
            one.body, one.mentions = body, mentions

        may = self.sees(by) and Permission.SEND_MESSAGES in self.may_there(by) and one.author == by and not one.deleted
        self.asked(EditMessage(snowflake.as_id(one.number), body), by, may=may, then=then)

    @precondition(lambda self: self.messages)
    @rule(by=who, at=st.integers(0, 9))
    def delete(self, by: Id, at: int) -> None:
        one = self.one(at)

        def then() -> None:
            one.body, one.mentions, one.deleted = "", frozenset(), True

        may = one.author == by or (self.sees(by) and Permission.MANAGE_MESSAGES in self.may_there(by))
        self.asked(DeleteMessage(snowflake.as_id(one.number)), by, may=may, then=then)

    @precondition(lambda self: self.messages)
    @rule(at=st.integers(0, 9), names=mentioned)
    def edit_own(self, at: int, names: list[Id | int | str]) -> None:
        self.edit(self.one(at).author, at, names)

    @rule(one=who)
    def go_and_come_back(self, one: Id) -> None:
        self.leave(one)
        self.join(one)

    @precondition(lambda self: self.messages)
    @rule(by=who, at=st.integers(0, 9))
    def read(self, by: Id, at: int) -> None:
        number = self.one(at).number
        command = MarkRead(self.channel, snowflake.as_id(number))
        self.asked(command, by, may=self.sees(by), then=lambda: self.markers.update({by: number}))

    def unread(self, one: Id) -> Unread:
        """As the list says, for somebody who sees the channel."""
        marker = self.markers.get(one)
        after = snowflake.first_at(self.since[one]) - 1 if marker is None else marker
        missed = [said for said in self.messages if said.number > after and said.author != one and not said.deleted]
        named = {one, self.server, *self.members[one]}
        mentions = [said for said in missed if not named.isdisjoint(said.mentions)]
        return Unread(len(missed), len(mentions), min((said.number for said in missed), default=None), marker)

    @precondition(lambda self: self.roles)
    @rule()
    def everybody_is_told_what_the_list_says(self) -> None:
        self.views.fold(self)
        log = PostgresMessages()
        channel_id = self.channel

        async def found(connection: Connection) -> Any:
            told = {}
            for one in PEOPLE:
                loaders = Loaders(cast("Any", On(connection)), one, log, cast("Any", None))
                seen = await loaders.channels.load(channel_id) is not None
                told[one] = await loaders.unread.load(channel_id) if seen else None
            page = await log.page(On(connection), channel_id, Slice(1_000))
            return told, page.items, await viewers_of_channel(connection, channel_id, PEOPLE)

        told, history, viewers = self.views.ask(found)
        assert told == {one: self.unread(one) if self.sees(one) else None for one in PEOPLE}
        assert viewers == {one for one in PEOPLE if self.sees(one)}
        assert [(one.message_id, one.author_id, one.body, one.deleted_at is not None) for one in reversed(history)] == [
            (said.number, said.author, said.body, said.deleted) for said in self.messages
        ]

    def teardown(self) -> None:
        """Whatever happened last is told too."""
        if self.roles:
            self.everybody_is_told_what_the_list_says()


@pytest.fixture
def views(database: str) -> Iterator[Views]:
    made = Views(database)
    yield made
    made.close()


def test_a_conversation_is_what_a_list_says(views: Views, request: pytest.FixtureRequest) -> None:
    class Here(Conversation):
        pass

    Here.views = views
    long = request.config.getoption("--long")
    run_state_machine_as_test(
        Here, settings=settings(max_examples=500 if long else 25, stateful_step_count=40, deadline=None)
    )


del ChatServer
