"""The keys of authors in Kafka: there with the first event that needs one, gone when destroyed, back when lost."""

from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs

from domain.event import Id
from infra.log_memory import MemoryLog
from infra.postgres import connect
from infra.relay_store import RelayStore
from schemas.topics import AUTHOR_KEYS
from streams.limits import RelayLimits
from streams.log_audit import audit
from tests.relay.world import SECONDS_MAX, SMALL, History, reached, relaying, store_of


def keys(log: MemoryLog) -> dict[Id, bytes | None]:
    """The newest record of each author's key."""
    found: dict[Id, bytes | None] = {}
    for page in log.read(log.ends([AUTHOR_KEYS.name])):
        found |= {Id(record.key.decode()): record.value for record in page}
    return found


def kept_keys(store: str) -> dict[Id, bytes | None]:
    with connect(store) as connection:
        return {
            Id(author): None if wrapped is None else bytes(wrapped)
            for author, wrapped in connection.execute("SELECT author_id, wrapped FROM log.author_keys")
        }


def test_keys_arrive_with_the_first_event_that_needs_one(store: str, log: MemoryLog, history: History) -> None:
    head = history.grow(3_000)
    with relaying(store, log, limits=RelayLimits(batch_events_max=64)) as relay:
        reached(relay, head)
    assert len(keys(log)) > 10
    assert keys(log) == kept_keys(store)


def test_a_destroyed_key_is_destroyed_there_as_well(store: str, log: MemoryLog, history: History) -> None:
    head = history.grow(1_000)
    with store_of(store) as events, relaying(store, log) as relay:
        reached(relay, head)
        live, gone_meanwhile, late = list(keys(log))[:3]
        events.codec.keyring.destroy(live)
        assert relay.wait(lambda _: keys(log)[live] is None, SECONDS_MAX)
        assert relay.stop(SECONDS_MAX)
        events.codec.keyring.destroy(gone_meanwhile)
    with store_of(store) as events, relaying(store, log) as relay:
        assert relay.wait(lambda _: keys(log)[gone_meanwhile] is None, SECONDS_MAX)
        assert keys(log)[late] is not None
        sent_before = sum(len(page) for page in log.read(log.ends([AUTHOR_KEYS.name])))
        reached(relay, history.grow(50))
        assert keys(log)[live] is None
        assert sum(value is None for value in keys(log).values()) == 2
        assert sum(len(page) for page in log.read(log.ends([AUTHOR_KEYS.name]))) - sent_before < 100


@pytest.mark.parametrize("transactions", [5, 10_000])
def test_keys_that_kafka_lost_are_sent_again(
    store: str, log: MemoryLog, history: History, monkeypatch: pytest.MonkeyPatch, transactions: int
) -> None:
    """All events are there, so nothing else would ever have their authors' keys sent."""
    monkeypatch.setattr("infra.log_memory.PAGE_RECORDS", 10)
    head = history.grow(2_000)
    with store_of(store) as events, relaying(store, log, limits=SMALL) as relay:
        reached(relay, head)
        erased = next(iter(keys(log)))
        events.codec.keyring.destroy(erased)
        assert relay.wait(lambda _: keys(log)[erased] is None, SECONDS_MAX)
    log.lose_tail((AUTHOR_KEYS.name, 0), transactions)
    assert keys(log) != kept_keys(store)
    with relaying(store, log, limits=SMALL) as relay, capture_logs() as lines:
        assert relay.wait(lambda _: keys(log) == kept_keys(store), SECONDS_MAX)
    assert sum(line["authors"] for line in lines if line["event"] == "relay.kafka_lacked_keys") > 0
    with connect(store) as connection:
        assert audit(connection, log, erased_seconds_max=0).perfect
    with relaying(store, log, limits=SMALL) as relay, capture_logs() as lines:
        assert relay.wait(lambda _: relay._keys.compared, SECONDS_MAX)
    assert "relay.kafka_lacked_keys" not in [line["event"] for line in lines]


def test_so_many_keys_are_looked_at_in_one_go(store: str, log: MemoryLog, history: History) -> None:
    """Also where none of them is missing: a million would keep PostgreSQL silent for longer than a leader may wait."""
    head = history.grow(1_000)
    with relaying(store, log) as relay:
        reached(relay, head)
    known = {author: wrapped for author, wrapped in kept_keys(store).items() if wrapped is not None}
    with RelayStore(store, SECONDS_MAX) as opened:
        began = opened.compare_keys()
        opened.there(known)
        after: Id | None = Id(str(UUID(int=0)))
        looked_at = []
        while after is not None:
            found, after = opened.not_there(began, after, 3)
            assert not found
            looked_at.append(after)
        assert looked_at == [*sorted(known)[2::3], *([max(known)] if len(known) % 3 else []), None]
        lost = sorted(known)[1]
        opened.there({lost: b"another"})
        assert opened.not_there(began, Id(str(UUID(int=0))), 3)[0] == {lost: known[lost]}
        opened.compared_keys()
        with pytest.raises(psycopg.errors.UndefinedTable):
            opened.there({lost: b"another"})
