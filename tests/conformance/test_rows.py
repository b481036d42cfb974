"""What every store of projection rows does, in memory, in PostgreSQL and without transactions, through one suite."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import ClassVar, Protocol

import pytest

from domain.event import Id
from domain.ids import derived
from infra import migrate
from infra.postgres import connect
from infra.rows import PARTITION, create_missing, key_of, key_text, read_checkpoints, transaction
from infra.rows_memory import MemoryViews
from infra.rows_weak import MemoryRowStore, WeakRows
from infra.tables import Table
from projections.core import Key, Parked, Projection, Row, Rows, StaleCheckpoint


class Everything(Row, frozen=True):
    """A row with a column of every type, null and not."""

    key_fields: ClassVar[tuple[str, ...]] = ("id", "kind")
    id: Id
    kind: str
    count: int = 0
    flag: bool = False
    other_id: Id | None = None
    text: str | None = None
    at: datetime | None = None
    path: bytes = b""
    position: int = 0


everything = Projection("everything", version=1, row=Everything, local=True, message_log=True)
TABLE = """
CREATE TABLE views.everything (
    id uuid, kind text, count bigint NOT NULL, flag boolean NOT NULL, other_id uuid, text text, at timestamptz,
    path bytea NOT NULL, position bigint NOT NULL, PRIMARY KEY (id, kind)
)
"""


class Store(Protocol):
    """What the suite needs of a store."""

    def transaction(self) -> AbstractContextManager[Rows]: ...
    def position(self) -> int: ...
    def parked(self) -> list[tuple[Key, int, str]]: ...


class InMemory:
    def __init__(self) -> None:
        self.views = MemoryViews()

    def transaction(self) -> AbstractContextManager[Rows]:
        return self.views.transaction(everything)

    def position(self) -> int:
        return self.views.positions.get(("everything", 0), 0)

    def parked(self) -> list[tuple[Key, int, str]]:
        return [(event.key, event.position, event.error) for event in self.views.parked.get("everything", [])]


class InPostgres:
    def __init__(self, conninfo: str) -> None:
        migrate.migrate(conninfo)
        self.connection = connect(conninfo)
        self.tables = {"everything": self.made()}

    def made(self) -> Table:
        """The table of the view, which is not there yet."""
        self.connection.execute(TABLE)
        create_missing(self.connection, [everything])
        return Table(everything)

    def transaction(self) -> AbstractContextManager[Rows]:
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Rows]:
        with transaction(self.connection, self.tables) as opened:
            yield opened.rows("everything")

    def position(self) -> int:
        return read_checkpoints(self.connection)["everything"].position

    def parked(self) -> list[tuple[Key, int, str]]:
        found = self.connection.execute(
            "SELECT key, position, error FROM views.dead_letters WHERE partition = %s ORDER BY key, position",
            (PARTITION,),
        )
        return [(key_of(key), position, error) for key, position, error in found]


class InWeakStore:
    """A store without transactions: what was done is written at the end of the block, a row at a time."""

    def __init__(self) -> None:
        self.rows = MemoryRowStore()

    def transaction(self) -> AbstractContextManager[Rows]:
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[Rows]:
        rows = WeakRows(self.rows, everything, 1)
        yield rows
        rows.advance(self.position(), self.position() + 10)

    def position(self) -> int:
        return self.rows.checkpoint("everything", 1)

    def parked(self) -> list[tuple[Key, int, str]]:
        return [(event.key, event.position, event.error) for event in self.rows.letters.values()]


@pytest.fixture(params=["memory", "postgres", "weak"])
def deleting_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Those whose rows can be deleted."""
    yield from _opened(request)


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The stores with transactions."""
    yield from _opened(request)


@pytest.fixture(params=["memory", "postgres", "weak"])
def any_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    yield from _opened(request)


def _opened(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield InMemory()
    elif request.param == "weak":
        yield InWeakStore()
    else:
        opened = InPostgres(request.getfixturevalue("database"))
        yield opened
        opened.connection.close()


FULL = Everything(
    derived("full"),
    "a, {odd} \"key\" \\ with 'everything'",
    -(2**62),
    True,
    derived("other"),
    'NULL, null {x} "quoted" back\\slash\nline\ttab ünïcode 🐘',
    datetime(2014, 2, 28, 23, 59, 59, 123456, UTC),
    bytes(range(256)),
    1,
)
ROWS = [
    FULL,
    Everything(derived("empty"), ""),
    Everything(derived("null"), "NULL", text="NULL"),
    Everything(derived("null"), "null", text=""),
    Everything(derived("space"), " ", text=" "),
]


def keyed(*rows: Everything) -> dict[Key, Row | None]:
    return {row.key: row for row in rows}


def test_every_value_comes_back_as_it_was(any_store: Store) -> None:
    with any_store.transaction() as rows:
        rows.save(keyed(*ROWS))
    with any_store.transaction() as rows:
        assert rows.load({row.key for row in ROWS}) == keyed(*ROWS)


def test_only_rows_that_exist_are_loaded(any_store: Store) -> None:
    with any_store.transaction() as rows:
        rows.save(keyed(FULL))
    with any_store.transaction() as rows:
        assert rows.load({FULL.key, (derived("nobody"), "x")}) == keyed(FULL)


def test_rows_are_replaced_wholly(any_store: Store) -> None:
    first, second = ROWS[:2]
    with any_store.transaction() as rows:
        rows.save(keyed(first, second))
    replaced = Everything(first.id, first.kind, count=7, position=first.position + 1)
    with any_store.transaction() as rows:
        rows.load({first.key})
        rows.save({first.key: replaced, (derived("never"), ""): None})
    with any_store.transaction() as rows:
        assert rows.load({first.key, second.key}) == keyed(replaced, second)


def test_rows_are_deleted(deleting_store: Store) -> None:
    first, second = ROWS[:2]
    with deleting_store.transaction() as rows:
        rows.save(keyed(first, second))
    with deleting_store.transaction() as rows:
        rows.save({second.key: None})
    with deleting_store.transaction() as rows:
        assert rows.load({first.key, second.key}) == keyed(first)


def test_saving_again_changes_nothing(any_store: Store) -> None:
    for _ in range(2):
        with any_store.transaction() as rows:
            rows.save(keyed(*ROWS))
    with any_store.transaction() as rows:
        assert rows.load({row.key for row in ROWS}) == keyed(*ROWS)


def test_the_checkpoint_moves_by_compare_and_set(store: Store) -> None:
    with store.transaction() as rows:
        rows.advance(0, 5)
    assert store.position() == 5

    def stale() -> None:
        with store.transaction() as rows:
            rows.save(keyed(FULL))
            rows.advance(0, 6)

    with pytest.raises(StaleCheckpoint):
        stale()
    assert store.position() == 5
    with store.transaction() as rows:
        assert rows.load({FULL.key}) == {}


def test_nothing_remains_of_a_transaction_that_failed(store: Store) -> None:
    class Stop(Exception):
        pass

    def fail() -> None:
        with store.transaction() as rows:
            rows.save(keyed(FULL))
            rows.park([Parked(FULL.key, 1, "x")])
            rows.advance(0, 5)
            raise Stop

    with pytest.raises(Stop):
        fail()
    assert (store.position(), store.parked()) == (0, [])
    with store.transaction() as rows:
        assert rows.load({FULL.key}) == {}


def test_parked_keys_are_found_again(any_store: Store) -> None:
    with any_store.transaction() as rows:
        assert not rows.has_parked()
        rows.park([Parked(FULL.key, 3, "first"), Parked(FULL.key, 4, "behind"), Parked("stream:x", 5, "not\0readable")])
    with any_store.transaction() as rows:
        assert rows.has_parked()
        asked = {FULL.key, "stream:x", ROWS[1].key}
        assert set(rows.parked_keys(asked)) == {FULL.key, "stream:x"}
    assert [position for _, position, _ in sorted(any_store.parked(), key=lambda one: one[1])] == [3, 4, 5]


@pytest.mark.parametrize("key", [derived("x"), (derived("x"), 7), "stream:x"])
def test_keys_survive_as_text(key: Key) -> None:
    assert key_of(key_text(key)) == key


def test_a_type_without_a_column_is_refused() -> None:
    class Odd(Row, frozen=True):
        key_fields: ClassVar[tuple[str, ...]] = ("id",)
        id: Id
        ratio: float = 0.0

    with pytest.raises(TypeError, match="ratio"):
        Table(Projection("odd", version=1, row=Odd))
