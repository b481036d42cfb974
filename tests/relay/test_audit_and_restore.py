"""The audit finds everything that may be wrong with the topics, and a store is made whole from those that are right."""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from domain.event import Id
from infra.event_log import LogRecord
from infra.keyring import Keyring, PostgresKeys
from infra.log_memory import MemoryLog
from infra.log_records import POSITION, VERSION, outgoing, position_of
from infra.migrate import migrate
from infra.postgres import connect
from schemas.topics import AUTHOR_KEYS, PEOPLE
from streams.log_audit import Audit, audit
from streams.log_restore import NotRestored, restore
from tests.databases import database_on
from tests.relay.world import MASTER_KEY, SECONDS_MAX, History, declare, reached, relaying, store_of, stored

EVENTS = 500

Records = list[LogRecord]


class Site:
    """A store with a history, and the records that a relay would have sent of it."""

    def __init__(self, conninfo: str, history: History) -> None:
        self.conninfo = conninfo
        self.head = history.grow(EVENTS)
        self.records = outgoing(stored(conninfo)).records
        with connect(conninfo) as connection:
            found = connection.execute("SELECT author_id, wrapped FROM log.author_keys ORDER BY author_id").fetchall()
        self.keys = [LogRecord(AUTHOR_KEYS.name, 0, author.encode(), bytes(wrapped)) for author, wrapped in found]

    def audit(self, records: Sequence[LogRecord], keys: Sequence[LogRecord] | None = None) -> Audit:
        """What an audit says of topics with these records."""
        with connect(self.conninfo) as connection:
            return audit(connection, log_of(records, self.keys if keys is None else keys), erased_seconds_max=0)


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    migrate(database)
    history = History(database)
    yield Site(database, history)
    history.close()


def log_of(records: Sequence[LogRecord], keys: Sequence[LogRecord]) -> MemoryLog:
    log = MemoryLog()
    declare(log)
    writer = log.writer()
    writer.write(keys)
    writer.write(records)
    return log


def at(records: Records, position: int) -> int:
    """Where the record of that position is among them."""
    return next(number for number, record in enumerate(records) if position_of(record) == position)


def with_header(record: LogRecord, name: str, value: bytes) -> LogRecord:
    headers = [(header, value if header == name else old) for header, old in record.headers]
    return msgspec.structs.replace(record, headers=headers)


def test_topics_that_are_right_are_perfect(site: Site) -> None:
    found = site.audit(site.records)
    assert found.perfect
    assert (found.head, found.sent, found.behind, found.records) == (site.head, site.head, 0, site.head)
    assert found.authors == len(site.keys)


def test_what_a_relay_sent_is_perfect(site: Site) -> None:
    log = MemoryLog()
    declare(log)
    with relaying(site.conninfo, log) as relay:
        reached(relay, site.head)
    with connect(site.conninfo) as connection:
        assert audit(connection, log).perfect


def test_what_is_on_its_way_is_not_missing(site: Site) -> None:
    found = site.audit(site.records[:100])
    assert found.perfect
    assert (found.sent, found.behind) == (100, site.head - 100)


def _swap(records: Records) -> Records:
    """Two of the same partition in each other's place."""
    first = records[50]
    other = next(
        n for n in range(51, len(records)) if (records[n].topic, records[n].partition) == (first.topic, first.partition)
    )
    records[50], records[other] = records[other], first
    return records


def _elsewhere(record: LogRecord) -> LogRecord:
    return msgspec.structs.replace(record, partition=(record.partition + 1) % 4)


WRONG: dict[str, tuple[str, Callable[[Records], Records], str]] = {
    "one is missing": ("missing", lambda r: [one for one in r if position_of(one) != 77], "77"),
    "one is there twice": ("repeated", lambda r: [*r, r[at(r, 77)]], "77"),
    "two are in the wrong order": ("out_of_order", _swap, "is event 51, after event"),
    "a byte is another": (
        "different",
        lambda r: [msgspec.structs.replace(o, value=o.value[:-1] + b" ") if position_of(o) == 77 else o for o in r],  # type: ignore[index]
        "77",
    ),
    "a version is another": (
        "different",
        lambda r: [with_header(o, VERSION, b"9999") if position_of(o) == 77 else o for o in r],
        "77",
    ),
    "one is in another partition": (
        "misplaced",
        lambda r: [_elsewhere(o) if position_of(o) == 77 else o for o in r],
        "event 77",
    ),
    "one is of another store": (
        "foreign",
        lambda r: [*r, with_header(r[0], POSITION, b"999999")],
        "event 999999",
    ),
    "one claims to be an event": (
        "foreign",
        lambda r: [*r, with_header(r[0], POSITION, b"x")],
        "does not say",
    ),
    "one is no event": ("foreign", lambda r: [*r, LogRecord(PEOPLE.name, 0, b"k", b"v")], "does not say"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_audit_says_what_is_wrong(site: Site, wrong: str) -> None:
    finding, plant, said = WRONG[wrong]
    found = site.audit(plant(list(site.records)))
    assert not found.perfect
    assert finding in found.findings
    assert said in found.findings[finding].first[0]
    assert found.findings.keys() <= {finding, "out_of_order"}


def test_the_audit_looks_after_keys(site: Site) -> None:
    lost, mixed_up, erased = (Id(record.key.decode()) for record in site.keys[:3])
    with store_of(site.conninfo) as store:
        store.codec.keyring.destroy(erased)
    keys = [
        msgspec.structs.replace(record, value=b"x") if record.key == mixed_up.encode() else record
        for record in site.keys
    ]
    found = site.audit(site.records, keys[1:])
    assert {name: one.first for name, one in found.findings.items()} == {
        "keys_missing": [lost],
        "keys_different": [mixed_up],
        "keys_not_destroyed": [erased],
    }


# -- restoring -------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(database: str) -> Iterator[str]:
    """A second, empty store."""
    with database_on(database, "restored") as conninfo:
        migrate(conninfo)
        yield conninfo


def keyring(conninfo: str) -> Keyring:
    return Keyring(PostgresKeys(lambda: connect(conninfo)), MASTER_KEY)


def test_a_store_is_restored_as_it_was(site: Site, empty: str) -> None:
    with store_of(site.conninfo) as store:
        store.codec.keyring.destroy(Id(site.keys[0].key.decode()))
    log = MemoryLog()
    declare(log)
    with relaying(site.conninfo, log) as relay:
        reached(relay, site.head)
    with connect(empty) as connection:
        summary = restore(connection, log, MASTER_KEY)
    assert (summary.events, summary.keys, summary.destroyed_keys) == (site.head, len(site.keys) - 1, 1)
    assert summary.unreadable == []
    assert stored(empty) == stored(site.conninfo)
    with store_of(site.conninfo) as before, store_of(empty) as after:
        assert [r.event for r in before.read_sync(0, site.head)] == [r.event for r in after.read_sync(0, site.head)]
        assert after.head_sync() == site.head
    with connect(empty) as connection:
        assert audit(connection, log).perfect
    with relaying(empty, log) as relay:
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
        assert relay.status.position == site.head


def refused(conninfo: str, log: MemoryLog, said: str, master_key: bytes = MASTER_KEY) -> None:
    before = stored(conninfo)
    with connect(conninfo) as connection, pytest.raises(NotRestored, match=said):
        restore(connection, log, master_key)
    assert stored(conninfo) == before


def test_a_store_that_is_not_empty_is_left_alone(site: Site) -> None:
    refused(site.conninfo, log_of(site.records, site.keys), "not empty")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("one is missing", "1 of .* are missing, the first at 77"),
        ("one is there twice", "twice"),
        ("a version is another", "do not follow each other"),
        ("one claims to be an event", "does not say which event"),
    ],
)
def test_topics_that_are_not_whole_are_refused(site: Site, empty: str, wrong: str, said: str) -> None:
    refused(empty, log_of(WRONG[wrong][1](list(site.records)), site.keys), said)
    with connect(empty) as connection:
        assert connection.execute("SELECT count(*) FROM log.author_keys").fetchone() == (0,)


def test_what_no_relay_has_sent_is_not_restored_and_keeps_nothing_from_it(site: Site, empty: str) -> None:
    foreign = [LogRecord(one.topic, one.partition, b"k", b"garbage") for one in site.records[:3]]
    log = log_of([foreign[0], *site.records, *foreign[1:], LogRecord(PEOPLE.name, 0, b"k", None)], site.keys)
    with connect(empty) as connection:
        summary = restore(connection, log, MASTER_KEY)
    assert (summary.events, summary.foreign) == (site.head, 4)
    assert stored(empty) == stored(site.conninfo)
    with relaying(empty, log) as relay:
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX), relay.status
        assert relay.status.position == site.head


def test_other_secrets_are_refused(site: Site, empty: str) -> None:
    refused(empty, log_of(site.records, site.keys), "secrets", master_key=bytes(32))


def test_authors_without_a_key_are_told(site: Site, empty: str) -> None:
    with connect(empty) as connection:
        summary = restore(connection, log_of(site.records, site.keys[1:]), MASTER_KEY)
    assert summary.unreadable == [site.keys[0].key.decode()]


def test_empty_topics_make_an_empty_store(empty: str) -> None:
    log = MemoryLog()
    declare(log)
    with connect(empty) as connection:
        assert restore(connection, log, MASTER_KEY).events == 0
