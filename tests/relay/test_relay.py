"""The relay between a real PostgreSQL and a log in memory: order, resuming, fencing, keys, the frontier."""

import json
import threading
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from infra.breaker import State
from infra.event_log import LogRecord, Partition, TopicState, last_records
from infra.log_memory import MemoryLog
from infra.log_records import NUMBERS, position_of, row_of
from infra.postgres import connect
from infra.relay_store import LOCK
from infra.telemetry import metrics
from schemas.topics import PEOPLE, TOPICS, place
from streams.limits import RelayLimits
from streams.relay import Relay
from tests.conformance.event_store import meta, new_id, one
from tests.conformance.proxy import Proxy
from tests.relay.world import QUICK, SECONDS_MAX, SMALL, History, declare, reached, relaying, sent, store_of, stored


def frontier(conninfo: str) -> dict[int, int]:
    with connect(conninfo) as connection:
        return dict(connection.execute("SELECT partition, position FROM log.relayed").fetchall())


def cut_off(conninfo: str) -> None:
    """Cut the connections of relays to PostgreSQL."""
    with connect(conninfo) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'moot relay' AND datname = current_database()"
        )


def test_everything_is_sent_once_in_order_and_as_it_is_stored(store: str, log: MemoryLog, history: History) -> None:
    history.grow(3_000)
    with relaying(store, log) as relay:
        reached(relay, history.grow(100))
        reached(relay, history.grow(1))
    assert sent(log) == stored(store)


def test_every_event_goes_where_the_declaration_says(store: str, log: MemoryLog, history: History) -> None:
    head = history.grow(3_000)
    with relaying(store, log) as relay:
        reached(relay, head)
    with store_of(store) as events:
        recorded = {one.position: one for one in events.read_sync(0, head)}
    for page in log.read(log.ends([topic.name for topic in TOPICS if not topic.compacted])):
        for record in page:
            event = recorded[row_of(record)[0]]
            where = place(event)
            assert (record.topic, record.partition, record.key.decode()) == (
                where.topic.name,
                where.partition,
                where.key,
            )
            assert record.timestamp_ms == int(event.meta.recorded_at.timestamp() * 1000)


def test_a_relay_that_follows_hears_of_each_event(store: str, log: MemoryLog) -> None:
    """It never looks for itself here: what arrives, arrives because it was told."""
    with (
        store_of(store) as events,
        relaying(store, log, limits=RelayLimits(poll_seconds=1e4, keys_seconds=1e4)) as relay,
    ):
        for _ in range(20):
            reached(relay, events.append_sync(one(new_id(), events=3), meta()))
    assert sent(log) == stored(store)


def test_the_frontier_is_kept_with_each_partition(store: str, log: MemoryLog, history: History) -> None:
    with relaying(store, log, limits=RelayLimits(batch_events_max=100)) as relay:
        reached(relay, history.grow(2_000))
        head = relay.status.position
    expected: dict[int, int] = {-1: head}
    for page in log.read(log.ends([topic.name for topic in TOPICS if not topic.compacted])):
        for record in page:
            topic = next(topic for topic in TOPICS if topic.name == record.topic)
            expected[topic.numbered(record.partition)] = row_of(record)[0]
    assert frontier(store) == expected
    with connect(store) as connection:
        connection.execute("DELETE FROM log.relayed")
    with relaying(store, log) as relay:
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
    assert frontier(store) == expected


@pytest.mark.parametrize("fault", ["lose_answers", "die_in_writes"])
def test_a_write_of_unknown_outcome_is_neither_lost_nor_repeated(
    store: str, log: MemoryLog, history: History, fault: str
) -> None:
    head = history.grow(1_000)
    setattr(log, fault, 5)
    with relaying(store, log, limits=RelayLimits(batch_events_max=50, retry_seconds_min=0.001)) as relay:
        reached(relay, head)
        setattr(log, fault, 3)
        reached(relay, history.grow(100))
        assert relay.wait(lambda status: status.failures == 0, SECONDS_MAX)
    assert getattr(log, fault) == 0
    assert sent(log) == stored(store)


def test_a_log_that_is_away_is_waited_for(store: str, log: MemoryLog, history: History) -> None:
    log.refuse = True
    head = history.grow(100)
    with relaying(store, log) as relay:
        assert relay.wait(lambda status: status.failures > 3, SECONDS_MAX)
        assert (relay.status.state, relay.status.trouble) == ("waiting", "LogUnavailable: nobody answers")
        log.refuse = False
        reached(relay, head)
        assert (relay.status.state, relay.status.trouble) == ("leading", None)


def test_a_write_that_fails_is_logged_with_the_trace_of_its_first_event(
    store: str, log: MemoryLog, history: History
) -> None:
    head = history.grow(50)
    with relaying(store, log) as relay, capture_logs() as lines:
        reached(relay, head)
        log.lose_answers = 1
        reached(relay, history.grow(10))
        cut_off(store)
        reached(relay, history.grow(10))
    failed = [line for line in lines if line["event"] == "relay.failed"]
    (state,) = [row[4] for row in stored(store) if row[0] == head + 1]
    trace = json.loads(state)["meta"]["correlation_id"].replace("-", "")
    assert (failed[0]["position"], failed[0]["trace_id"]) == (head + 1, trace)
    assert "trace_id" not in failed[-1], "it was sending nothing"


def breaker(dependency: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("moot_breaker_state", {"dependency": dependency})


def test_a_log_that_is_back_is_told_to_be_though_there_is_nothing_to_send(store: str, log: MemoryLog) -> None:
    log.refuse = True
    with relaying(store, log) as relay:
        assert relay.wait(lambda status: status.failures > 1, SECONDS_MAX)
        assert (breaker("kafka"), breaker("postgres")) == (State.OPEN, State.CLOSED)
        log.refuse = False
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
        assert breaker("kafka") == State.CLOSED


def test_a_database_that_is_away_is_told_to_be_until_it_is_back(store: str, log: MemoryLog) -> None:
    with Proxy(store) as proxy, relaying(proxy.conninfo, log) as relay:
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
        assert breaker("postgres") == State.CLOSED
        proxy.refuse()
        assert relay.wait(lambda status: status.failures > 1, SECONDS_MAX)
        assert (breaker("postgres"), breaker("kafka")) == (State.OPEN, State.CLOSED)
        proxy.accept()
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
        assert breaker("postgres") == State.CLOSED


def test_a_database_that_cuts_all_connections_is_waited_for(store: str, log: MemoryLog, history: History) -> None:
    with relaying(store, log) as relay:
        reached(relay, history.grow(100))
        for _ in range(3):
            cut_off(store)
            reached(relay, history.grow(10))
    assert sent(log) == stored(store)


def test_of_two_relays_one_leads_and_the_other_takes_over(store: str, log: MemoryLog, history: History) -> None:
    with relaying(store, log) as first:
        reached(first, history.grow(200))
        with relaying(store, log) as second:
            assert second.wait(lambda status: status.state == "standing by", SECONDS_MAX)
            reached(first, history.grow(200))
            assert second.status.events == 0
            assert first.stop(SECONDS_MAX)
            reached(second, history.grow(200))
    assert sent(log) == stored(store)


def test_a_leader_that_was_followed_unawares_sends_nothing_more(store: str, log: MemoryLog, history: History) -> None:
    """Both believe that they lead: the one that opened its writer last does."""
    with relaying(store, log) as relay:
        reached(relay, history.grow(200))
        usurper = log.writer()
        head = history.grow(200)
        assert relay.wait(lambda status: status.failures > 0, SECONDS_MAX)
        assert relay.status.trouble is not None
        assert relay.status.trouble.startswith("Fenced")
        usurper.close()
        reached(relay, head)
    assert sent(log) == stored(store)


def test_topics_of_another_store_are_left_alone(store: str, log: MemoryLog, history: History) -> None:
    topic, where = TOPICS[0], TOPICS[0].name
    rightful = log.writer()
    rightful.write([LogRecord(where, 1, b"k", b"another", [("position", b"3")])])
    history.grow(100)
    with relaying(store, log) as relay:
        assert relay.wait(lambda status: status.failures > 1, SECONDS_MAX)
        assert "of another store" in (relay.status.trouble or "")
    rightful.write([LogRecord(where, 2, b"k", b"as before", [("position", b"4")])])
    assert log.ends([where])[where, 1] == (0, 2)
    assert topic.partitions > 1


def test_a_store_older_than_the_topics_is_refused(store: str, log: MemoryLog, history: History) -> None:
    with relaying(store, log) as relay:
        reached(relay, history.grow(100))
    with connect(store) as connection:
        connection.execute("DELETE FROM log.stored_events WHERE notification_id > 50")
    with relaying(store, log) as relay:
        assert relay.wait(lambda status: status.failures > 1, SECONDS_MAX)
        assert "moot log restore" in (relay.status.trouble or "")


def test_what_the_topics_lost_is_sent_again(store: str, log: MemoryLog, history: History) -> None:
    with relaying(store, log) as relay:
        reached(relay, history.grow(100))
    empty = MemoryLog()
    declare(empty)
    with relaying(store, empty) as relay:
        reached(relay, history.grow(10))
    assert sent(empty) == stored(store)
    assert frontier(store)[-1] == len(stored(store))


def longest(log: MemoryLog) -> list[Partition]:
    """The partitions with events, the one that was written to most first."""
    spans = log.ends([topic.name for topic in TOPICS if not topic.compacted])
    return sorted(spans, key=lambda place: -spans[place][1])


def kept_everywhere(store: str) -> None:
    """As if workers had read on in every partition."""
    with connect(store) as connection:
        connection.execute("DELETE FROM views.checkpoints")
        connection.execute(
            """INSERT INTO views.checkpoints (projection, partition, position, version, "offset")
            SELECT 'scores', n, 1, 1, 5 FROM unnest(%s::integer[]) n""",
            ([number for topic in TOPICS for number in topic.every_partition],),
        )


def forgotten(store: str) -> set[int]:
    """The partitions that have no offset to read on from."""
    with connect(store) as connection:
        found = connection.execute('SELECT partition FROM views.checkpoints WHERE "offset" IS NULL')
        return {partition for (partition,) in found}


def located(place: Partition) -> int:
    """The partition as checkpoints call it."""
    return NUMBERS[place[0]].numbered(place[1])


@pytest.mark.parametrize("losing", [1, 3, 20], ids=lambda count: f"{count}-of-20")
def test_what_partitions_lost_by_themselves_is_sent_again(
    store: str, log: MemoryLog, history: History, losing: int
) -> None:
    """Each lost another part of its end, and some nothing; others go on, and the events keep the order of each key."""
    with relaying(store, log, limits=SMALL) as relay:
        reached(relay, history.grow(2_000))
    before = frontier(store)
    kept_everywhere(store)
    for transactions, partition in enumerate(longest(log)[:losing], 1):
        log.lose_tail(partition, transactions)
    assert sent(log) != stored(store)
    with relaying(store, log, limits=SMALL) as relay:
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
        assert sent(log) == stored(store)
        # Whoever had read further than to where these end now has to begin there anew.
        assert forgotten(store) == {located(place) for place in longest(log)[:losing]}
        assert frontier(store) == before
        reached(relay, history.grow(100))
    assert sent(log) == stored(store)


def test_what_a_partition_lost_before_postgresql_had_heard_of_it_is_sent_again(
    store: str, log: MemoryLog, history: History
) -> None:
    """What the relay notes of its progress is not waited for: a crash of PostgreSQL loses some of it."""
    with relaying(store, log, limits=SMALL) as relay:
        reached(relay, history.grow(1_000))
        assert relay.stop(SECONDS_MAX)
        kept = frontier(store)
    with relaying(store, log, limits=SMALL) as relay:
        reached(relay, history.grow(300))
    with connect(store) as connection:
        connection.execute("DELETE FROM log.relayed")
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO log.relayed (partition, position) VALUES (%s, %s)", list(kept.items()))
    newest = last_records(log, log.ends([topic.name for topic in TOPICS if not topic.compacted]))
    assert position_of(newest[longest(log)[1]]) > kept[-1]
    log.lose_tail(longest(log)[1], 1)
    assert sent(log) != stored(store)
    with relaying(store, log, limits=SMALL) as relay:
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
    assert sent(log) == stored(store)


@pytest.mark.parametrize("fault", ["lose_answers", "die_in_writes"])
def test_who_dies_while_it_sends_again_leaves_nothing_out_and_sends_nothing_twice(
    store: str, log: MemoryLog, history: History, fault: str
) -> None:
    with relaying(store, log, limits=SMALL) as relay:
        reached(relay, history.grow(2_000))
    for partition in longest(log)[:3]:
        log.lose_tail(partition, 15)
    setattr(log, fault, 5)
    with relaying(store, log, limits=SMALL) as relay:
        assert relay.wait(lambda status: status.state == "leading", SECONDS_MAX)
        assert relay.status.position == len(stored(store))
    assert getattr(log, fault) == 0
    assert sent(log) == stored(store)


def test_topics_that_are_not_there_are_asked_for(store: str, history: History) -> None:
    log = MemoryLog()
    head = history.grow(10)
    with relaying(store, log) as relay:
        assert relay.wait(lambda status: status.failures > 1, SECONDS_MAX)
        assert "moot.people" in (relay.status.trouble or "")
        declare(log)
        reached(relay, head)


def test_an_event_of_an_unknown_kind_is_not_passed_over(store: str, log: MemoryLog, history: History) -> None:
    head = history.grow(10)
    with connect(store) as connection:
        connection.execute("UPDATE log.stored_events SET topic = 'vote.cast@99' WHERE notification_id = %s", (head,))
    history.grow(10)
    with relaying(store, log, limits=RelayLimits(batch_events_max=1, retry_seconds_min=0.01)) as relay:
        reached(relay, head - 1)
        assert relay.wait(lambda status: status.failures > 1, SECONDS_MAX)
        assert f"event {head} (vote.cast@99)" in (relay.status.trouble or "")
        assert relay.status.position == head - 1


def test_a_batch_is_bounded_in_bytes_as_well(store: str, log: MemoryLog, history: History) -> None:
    head = history.grow(100)
    with relaying(store, log, limits=RelayLimits(batch_bytes_max=1)) as relay:
        reached(relay, head)
        assert relay.status.transactions == head
    assert sent(log) == stored(store)


def test_a_relay_that_never_led_stops_at_once(store: str, log: MemoryLog) -> None:
    with connect(store) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        relay = Relay(store, log, limits=QUICK)
        relay.start()
        assert relay.wait(lambda status: status.state == "standing by", SECONDS_MAX)
        assert relay.stop(SECONDS_MAX)
        assert relay.status.state == "stopped"


class Heard:
    """A publisher that says when it was told anything."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def publish(self, channels: Mapping[str, int], position: int | None) -> None:
        self.told.set()

    def say_lost(self) -> None:
        pass

    def mend(self) -> None:
        pass


def test_who_leads_anew_says_how_far_the_log_is_although_nothing_happens(
    store: str, log: MemoryLog, history: History
) -> None:
    """Who led before may have ended between his last write and saying so; some hold back what they were told."""
    with relaying(store, log) as first:
        reached(first, history.grow(20))
    heard = Heard()
    with relaying(store, log, publisher=heard):
        assert heard.told.wait(30)


def test_a_topic_with_other_partitions_is_said_with_both_counts_and_what_to_do(store: str) -> None:
    log = MemoryLog()
    for topic in TOPICS:
        log.create_topic(topic.name, TopicState(1 if topic is PEOPLE else topic.partitions, 1, {}))
    with relaying(store, log) as relay:
        assert relay.wait(lambda status: status.state == "waiting", SECONDS_MAX), relay.status
        trouble = relay.status.trouble
    assert trouble is not None
    assert trouble.startswith("TopicsOtherwise: moot.people has 1 partition, declared are 4: ")
    assert "delete" in trouble
