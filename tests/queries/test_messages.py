"""History and what is unread, against lists: over months and minutes, after edits, deletions, moves of the marker."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

import pytest

from domain import snowflake
from domain.block import AccountBlocked, AccountUnblocked
from domain.event import Id
from domain.ids import packed
from domain.message import MessageDeleted, MessageEdited, MessageSent
from domain.read_marker import MarkerMoved
from infra.postgres import pool
from infra.queries import messages, unread
from infra.queries.messages import On, PostgresMessages
from infra.queries.rows import Slice
from infra.queries.unread import Place, Unread
from infra.reads import Reading, Reads
from tests.queries.site import Site, ident

T = TypeVar("T")
START = datetime(2026, 1, 30, 23, 58, tzinfo=UTC)
HERE, THERE, SERVER, ROLE = (ident("place", n) for n in range(4))
PEOPLE = [ident("person", n) for n in range(3)]
STEPS = [timedelta(seconds=1), timedelta(seconds=20), timedelta(hours=5), timedelta(days=9), timedelta(days=70)]


class Chat:
    """Two channels in which three people write, and what a list says of them."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.random = Random(seed)
        self.now = START
        self.made = 0
        self.live: dict[Id, dict[int, tuple[Id, frozenset[Id]]]] = {HERE: {}, THERE: {}}
        self.sent: dict[int, int] = {}  # at which position of the log each message was
        self.times: list[datetime] = []  # when each position came to be, by the clock of the ids
        self.every: dict[Id, list[int]] = {HERE: [], THERE: []}
        self.blocks: set[tuple[Id, ...]] = set()
        self.markers: dict[tuple[Id, Id], tuple[int, int]] = {}

    def happen(self, events: int) -> None:
        acts = [self.send] * 12 + [self.delete] * 2 + [self.edit] * 2 + [self.mark] * 2 + [self.block]
        for _ in range(events):
            self.random.choice(acts)(self.random.choice([HERE, HERE, THERE]))
            self.times += [self.now] * (len(self.site.log) - len(self.times))
        self.site.fold()

    def _mentions(self) -> frozenset[Id]:
        return frozenset(self.random.choices([*PEOPLE, ROLE, SERVER], k=self.random.choice((0, 0, 1, 2))))

    def send(self, where: Id) -> None:
        self.now += self.random.choices(STEPS, [60, 20, 4, 1, 1])[0]
        self.made += 1
        late = self.random.choice((0, 0, 0, 1500, 60_000))  # another process made the id earlier
        number = snowflake.made(int(self.now.timestamp() * 1000) - late, self.made % 3, self.made % 4096)
        who, mentions = self.random.choice(PEOPLE), self._mentions()
        sent = MessageSent(snowflake.as_id(number), where, SERVER, who, None, packed(mentions), f"{number}", "")
        self.site.happen(sent)
        self.sent[number] = len(self.site.log)
        self.live[where][number] = (who, mentions)
        self.every[where].append(number)

    def _one(self, where: Id) -> int | None:
        return self.random.choice(sorted(self.live[where])) if self.live[where] else None

    def delete(self, where: Id) -> None:
        if (number := self._one(where)) is not None:
            who, mentions = self.live[where].pop(number)
            gone = MessageDeleted(snowflake.as_id(number), where, SERVER, who, who, packed(mentions))
            self.site.happen(gone)

    def edit(self, where: Id) -> None:
        if (number := self._one(where)) is not None:
            who, before = self.live[where][number]
            after = self._mentions()
            edited = MessageEdited(snowflake.as_id(number), where, SERVER, who, packed(after), packed(before), "new")
            self.site.happen(edited)
            self.live[where][number] = (who, after)

    def mark(self, where: Id) -> None:
        if self.every[where]:
            number, who = self.random.choice(self.every[where]), self.random.choice(PEOPLE)
            self.site.happen(MarkerMoved(who, where, snowflake.as_id(number)))
            self.markers[who, where] = (number, len(self.site.log))

    def block(self, _: Id) -> None:
        who, whom = pair = tuple(self.random.sample(PEOPLE, 2))
        self.site.happen(AccountUnblocked(who, whom) if pair in self.blocks else AccountBlocked(who, whom))
        self.blocks ^= {pair}

    def unread(self, who: Id, place: Place) -> Unread:
        """As the list says: after his marker by id, or by the log what came since he moved it, or since he joined."""
        marker, at = self.markers.get((who, place.channel_id), (None, 0))
        if at <= place.joined_position:
            marker, at = None, place.joined_position
        found = {
            number: mentions
            for number, (author, mentions) in self.live[place.channel_id].items()
            if author != who
            and (who, author) not in self.blocks
            and (self.sent[number] > at or (marker is not None and number > marker))
        }
        mentioning = [number for number, mentions in found.items() if not mentions.isdisjoint(place.targets)]
        return Unread(len(found), len(mentioning), min(found, default=None), marker)

    def joined(self, where: Id, targets: list[Id]) -> Place:
        """The place to somebody who joined at some time, by a clock that is not that of the ids."""
        latest = len(self.times)
        position = self.random.choice([1, latest // 2, latest - 30, latest - self.random.randrange(8), latest])
        apart = timedelta(seconds=self.random.uniform(-50, 50))
        return Place(where, self.times[position - 1] + apart, position, targets)


def asked(site: Site, query: Callable[[Any], Awaitable[T]]) -> T:
    return asyncio.run(site.ask(query))


@pytest.mark.parametrize("seed", range(4))
def test_unread_is_what_a_list_says(site: Site, seed: int) -> None:
    chat = Chat(site, seed)
    for _ in range(12):
        chat.happen(40)
        for who in PEOPLE:
            places = [
                chat.joined(where, chat.random.choice([[who], [who, ROLE], [who, ROLE, SERVER]]))
                for where in (HERE, THERE)
            ]
            found = asked(site, lambda connection, who=who, places=places: unread.unread(connection, who, places))
            assert found == {place.channel_id: chat.unread(who, place) for place in places}


def test_nothing_is_unread_where_nothing_was_said(site: Site) -> None:
    place = Place(HERE, START, 0, [PEOPLE[0]])
    assert asked(site, lambda connection: unread.unread(connection, PEOPLE[0], [place])) == {HERE: Unread()}
    assert asked(site, lambda connection: unread.unread(connection, PEOPLE[0], [])) == {}


@pytest.mark.parametrize("seed", range(3))
def test_history_in_both_directions_and_around(site: Site, seed: int) -> None:
    chat = Chat(site, seed)
    chat.happen(250)
    log, every = PostgresMessages(), sorted(chat.every[HERE], reverse=True)
    for size in (1, 7, 100):
        for backward in (False, True):
            found: list[int] = []
            cursor: int | None = None
            while True:
                where = Slice(size, cursor, backward=backward)
                page = asked(site, lambda connection, where=where: log.page(On(connection), HERE, where))
                ids = [one.message_id for one in page.items]
                assert ids == sorted(ids, reverse=True)
                found = ids + found if backward else found + ids
                if not (page.has_previous if backward else page.has_next):
                    break
                cursor = ids[0] if backward else ids[-1]
            assert found == every
    for middle in chat.random.choices(every, k=20):
        page = asked(site, lambda connection, middle=middle: messages.around(log, On(connection), HERE, middle, 11))
        at = every.index(middle)
        newer = every[max(0, at - 5) : at]
        assert [one.message_id for one in page.items] == newer + every[at : at + 11 - len(newer)]
        assert page.has_previous == (at > 5)
        assert page.has_next == (at + 11 - len(newer) < len(every))


def test_those_who_ask_for_the_same_page_at_the_same_time_share_one_read(site: Site) -> None:
    chat = Chat(site, 1)
    chat.happen(50)
    log = PostgresMessages()

    class Counted(Reading):
        async def run(self, read: Callable[[Any], Awaitable[T]]) -> T:
            nonlocal reads
            reads += 1
            return await super().run(read)

    reads = 0

    async def scene() -> None:
        nonlocal reads
        pooled = pool(site.conninfo)
        await pooled.open(wait=True)
        try:
            every = Reads(pooled)
            first = asyncio.create_task(log.page(Counted(every), HERE, Slice(5)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert reads == 1
            chat.happen(1)
            site.fold()
            pages = await asyncio.gather(*(log.page(Counted(every), HERE, Slice(5)) for _ in range(20)))
            assert reads == 2, "the first had begun, and may have seen less than they know of"
            assert len({id(page) for page in pages}) == 1
            await first
            others = [(HERE, Slice(6)), (HERE, Slice(5, 1)), (HERE, Slice(5, backward=True)), (THERE, Slice(5))]
            await asyncio.gather(*(log.page(Counted(every), *each) for each in others))
            assert reads == 6
            elsewhere = Reading(Reads(pooled, pooled))
            assert (elsewhere.server, elsewhere.on_primary().server) == ("replica", "primary")
        finally:
            await pooled.close()

    asyncio.run(scene())


def test_a_deleted_message_says_nothing_and_keeps_its_place(site: Site) -> None:
    chat = Chat(site, 1)
    for _ in range(3):
        chat.send(HERE)
    chat.delete(HERE)
    site.fold()
    page = asked(site, lambda connection: PostgresMessages().page(On(connection), HERE, Slice(5)))
    assert len(page.items) == 3
    (gone,) = [one for one in page.items if one.deleted_at is not None]
    assert (gone.body, gone.attachments, gone.mentions) == ("", "", b"")


def test_messages_by_id(site: Site) -> None:
    chat = Chat(site, 2)
    chat.happen(60)
    wanted = [*chat.every[HERE][:5], *chat.every[THERE][:5], 5]
    found = asked(site, lambda connection: PostgresMessages().by_ids(On(connection), HERE, wanted))
    assert found.keys() == set(chat.every[HERE][:5])
    assert all(one.channel_id == HERE for one in found.values())


def test_messages_of_several_channels_by_channel_and_id(site: Site) -> None:
    chat = Chat(site, 2)
    chat.happen(60)
    wanted = [(where, number) for where in (HERE, THERE) for number in chat.every[where][:5]]
    astray = [(THERE, chat.every[HERE][0]), (HERE, 5)]
    found = asked(site, lambda connection: PostgresMessages().by_keys(On(connection), [*wanted, *astray]))
    assert found.keys() == set(wanted)
    assert all((one.channel_id, one.message_id) == key for key, one in found.items())
    assert asked(site, lambda connection: PostgresMessages().by_keys(On(connection), [])) == {}
