"""Whom the workers of a fleet wake of a conversation, in whatever order its partitions are folded."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from random import Random
from typing import NoReturn

import psycopg
import pytest

from domain import snowflake
from domain.block import AccountBlocked
from domain.conversation import GroupJoined
from domain.event import Event, Id
from domain.message import MessageSent
from infra import migrate
from infra.event_store import GroupCommitStore, postgres_store
from infra.postgres import connect
from projections.catalogue import ALL, GROUPS
from streams.dead_letters import parked_keys, retry
from streams.worker.folding import Folding, Read
from tests.equivalence.histories import Happened
from tests.equivalence.recording import Filler
from tests.projections.folds import NOW, ident
from tests.relay.world import MASTER_KEY, stored
from tests.worker.world import topics_of

TALK, ADA, BOB, PAIR = ident("talk"), ident("ada"), ident("bob"), ident("pair")
SAID = snowflake.as_id(1 << 22)
BOTH = {f"conversations:{ADA}", f"conversations:{BOB}"}


def is_away(*_: object) -> NoReturn:
    raise psycopg.OperationalError("away")


class Heard:
    """A publisher that remembers which channels it was told of."""

    def __init__(self) -> None:
        self.channels: set[str] = set()
        self.lost = 0

    def publish(self, channels: Mapping[str, int], position: int | None) -> None:
        self.channels.update(channels)

    def say_lost(self) -> None:
        self.lost += 1

    def mend(self) -> None: ...

    def take(self) -> set[str]:
        found, self.channels = self.channels, set()
        return found


@pytest.fixture
def store(database: str) -> Iterator[GroupCommitStore]:
    migrate.migrate(database)
    made = postgres_store(database, MASTER_KEY)
    history: list[tuple[Id, Event]] = [
        (TALK, GroupJoined(TALK, ADA, ADA)),
        (TALK, GroupJoined(TALK, BOB, ADA)),
        (PAIR, AccountBlocked(ADA, BOB)),
        (SAID, MessageSent(SAID, TALK, None, ADA, None, b"", "Hi", "")),
    ]
    with connect(database) as connection:
        Filler(connection, made.codec).fill([Happened(stream, event, NOW, None) for stream, event in history])
    yield made
    made.close()


def folded(database: str, store: GroupCommitStore, heard: Heard, group: str) -> set[str]:
    """Fold all that a group reads; the channels that were told."""
    topics = topics_of(stored(database), Random(1))
    with closing(Folding(database, GROUPS[group], store.codec, heard)) as folding:
        folding.look(folding.partitions)
        reads = [
            Read(number, records[0].offset, records[-1].offset + 1, records)
            for number, records in topics.items()
            if number in folding.partitions
        ]
        assert folding.fold(reads, 1_000).events
    return heard.take()


def test_who_is_folded_last_finds_what_the_other_has_folded(database: str, store: GroupCommitStore) -> None:
    heard = Heard()
    assert folded(database, store, heard, "servers") >= BOTH
    assert folded(database, store, heard, "messages") >= BOTH


def test_the_other_way_round_as_well(database: str, store: GroupCommitStore) -> None:
    heard = Heard()
    assert not BOTH & folded(database, store, heard, "messages"), "nobody is in it as far as is known"
    assert folded(database, store, heard, "people") == {f"blocks:{ADA}", f"company:{ADA}", f"company:{BOB}"}
    assert folded(database, store, heard, "servers") >= BOTH


@pytest.mark.parametrize("away", [False, True])
def test_what_is_retried_wakes_them_too(database: str, store: GroupCommitStore, away: bool) -> None:
    """Or everybody, where it cannot be asked whom: it is done all the same."""
    heard = Heard()
    folded(database, store, heard, "servers")
    view = ALL["channel_activity"]
    (handler,) = view.handlers[MessageSent]
    with pytest.MonkeyPatch.context() as patch:

        def failing(*_: object) -> None:
            raise ValueError("for the test")

        broken = type(handler)(handler.key, handler.keys, failing, handler.whole)
        patch.setitem(view.handlers, MessageSent, [broken])
        folded(database, store, heard, "messages")
    heard.lost = 0
    with connect(database) as connection:
        (key,) = parked_keys(connection, view.name)
        with pytest.MonkeyPatch.context() as patch:
            if away:
                patch.setattr("streams.dead_letters.to_wake", is_away)
            assert retry(connection, store, view, key, heard).applied == 1
    assert (heard.take() >= BOTH, heard.lost) == (not away, int(away))
