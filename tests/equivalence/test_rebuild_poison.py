"""What parks its key live parks it in a rebuild, and nothing else: the same rows, the same dead letters."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from domain.account import AccountRegistered, DisplayNameChanged
from domain.ballot import VoteCast
from domain.event import Id
from domain.ids import derived
from infra import migrate
from infra.rows import create_missing
from projections.catalogue import ALL
from streams import dead_letters
from streams.limits import RebuildLimits
from streams.rebuild import rebuild
from tests.equivalence.histories import World
from tests.equivalence.test_equivalence import Tables, all_rows
from tests.equivalence.test_runner import SECONDS, Log

ANN, BEN = derived("ann"), derived("ben")


@pytest.fixture
def log(database: str) -> Iterator[Log]:
    migrate.migrate(database)
    opened = Log(database)
    create_missing(opened.connection, list(ALL.values()))
    yield opened
    opened.connection.close()
    opened.store.close()


def letters(log: Log) -> list[tuple[str, str, int, str]]:
    found = dead_letters.dead_letters(log.connection)
    return sorted((letter.projection, str(letter.key), letter.events, letter.error) for letter in found)


def live_then_rebuilt(log: Log, head: int, limits: RebuildLimits) -> tuple[Tables, Tables]:
    with log.running() as runner:
        assert runner.wait(head, SECONDS)
    before, parked = all_rows(log.database), letters(log)
    assert parked
    rebuild(log.database, log.store, list(ALL.values()), limits=limits)
    assert letters(log) == parked
    return before, all_rows(log.database)


LIMITS = [RebuildLimits(), RebuildLimits(page_events=50, copy_rows=20, rows_max=100)]


@pytest.mark.parametrize("limits", LIMITS, ids=["in memory", "spilling"])
def test_a_row_that_cannot_be_stored_parks_its_key_in_a_rebuild_too(log: Log, limits: RebuildLimits) -> None:
    world = World(1)
    history = list(world.happen(400))
    renames: list[tuple[Id, str]] = [(ANN, "1"), (BEN, "1"), (ANN, "nul\0"), (BEN, "2")]
    history += [world._happened(who, AccountRegistered(who, "name", "0"), who) for who in (ANN, BEN)]
    history += [world._happened(who, DisplayNameChanged(who, text), who) for who, text in renames]
    live, rebuilt = live_then_rebuilt(log, log.fill(history), limits)
    assert rebuilt == live
    assert dead_letters.positions(log.connection, "profiles", ANN) == [len(history) - 1]


@pytest.mark.parametrize("limits", LIMITS, ids=["in memory", "spilling"])
def test_what_cannot_be_decoded_parks_its_stream_in_a_rebuild_too(log: Log, limits: RebuildLimits) -> None:
    head = log.fill(list(World(2).happen(2_000)))
    log.connection.execute(
        "UPDATE log.stored_events SET topic = 'vote.cast@9' WHERE topic = 'vote.cast@1' AND notification_id % 50 = 0"
    )
    live, rebuilt = live_then_rebuilt(log, head, limits)
    assert rebuilt == live


@pytest.mark.parametrize("limits", LIMITS, ids=["in memory", "spilling"])
def test_an_id_that_is_none_parks_its_key_in_a_rebuild_too(log: Log, limits: RebuildLimits) -> None:
    world = World(3)
    history = list(world.happen(300))
    votes = [happened for happened in history if isinstance(happened.event, VoteCast)]
    history.append(
        replace(votes[0], stream_id=derived("odd"), event=replace(votes[0].event, voter_id=Id("not a UUID")))
    )
    live, rebuilt = live_then_rebuilt(log, log.fill(history), limits)
    assert rebuilt == live
    assert {letter[0] for letter in letters(log)} == {"votes", "subjects"}
