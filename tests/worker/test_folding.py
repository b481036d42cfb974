"""What of the records of a partition is folded, and what is left out."""

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random

import msgspec
import pytest
from structlog.testing import capture_logs

from infra import migrate
from infra.breaker import Breaker, BreakerLimits, State
from infra.codec import Codec
from infra.event_log import LogRecord
from infra.event_store import GroupCommitStore, postgres_store
from infra.guarded_pool import PostgresAway
from infra.postgres import connect
from infra.rows import read_checkpoints
from infra.telemetry import metrics
from projections.catalogue import GROUPS
from projections.core import StaleCheckpoint
from schemas.topics import THREADS
from streams.dead_letters import dead_letters
from streams.worker.folding import AWAY, Folded, Folding, Read
from tests.conformance.proxy import Proxy
from tests.equivalence.histories import World
from tests.equivalence.recording import Filler
from tests.relay.world import MASTER_KEY, SECONDS_MAX, stored
from tests.worker.world import Topics, topics_of

NUMBER = THREADS.numbered(0)
GROUPS_TRIED = ("votes", "content")
WAITS = """SELECT FROM pg_stat_activity
    WHERE application_name = 'moot worker' AND wait_event_type = 'Lock' AND datname = current_database()"""


@pytest.fixture
def store(database: str) -> Iterator[GroupCommitStore]:
    migrate.migrate(database)
    store = postgres_store(database, MASTER_KEY)
    yield store
    store.close()


@pytest.fixture
def topics(database: str, store: GroupCommitStore) -> Topics:
    with connect(database) as connection:
        Filler(connection, store.codec).fill(World(1).happen(6_000))
    return topics_of(stored(database), Random(1))


def read(records: list[LogRecord]) -> Read:
    return Read(NUMBER, records[0].offset, records[-1].offset + 1, records)


def folding(database: str, group: str, codec: Codec) -> Iterator[Folding]:
    made = Folding(database, GROUPS[group], codec)
    made.look([NUMBER])
    yield made
    made.close()


@pytest.fixture
def votes(database: str, store: GroupCommitStore) -> Iterator[Folding]:
    yield from folding(database, "votes", store.codec)


@pytest.fixture
def content(database: str, store: GroupCommitStore) -> Iterator[Folding]:
    yield from folding(database, "content", store.codec)


def test_what_is_known_is_not_folded_again(votes: Folding, topics: Topics) -> None:
    records = topics[NUMBER]
    assert votes.fold([read(records[:30])], 1_000).events == len(votes_of(records[:30]))
    assert votes.fold([read(records[:30])], 1_000) == Folded(0, 0)
    assert votes.fold([read(records)], 1_000).events == len(votes_of(records[30:]))


def votes_of(records: list[LogRecord]) -> list[LogRecord]:
    """Those that the group takes, and the last of all of them."""
    kinds = {kind for projection in GROUPS["votes"] for kind in projection.handlers}
    from schemas.registry import WIRE  # noqa: PLC0415

    return [one for one in records if WIRE[dict(one.headers)["wire"].decode()] in kinds or one is records[-1]]


def test_kinds_that_no_view_asks_for_move_the_checkpoint_all_the_same(
    database: str, content: Folding, topics: Topics
) -> None:
    cast = [record for record in topics[NUMBER] if dict(record.headers)["wire"].startswith(b"vote.")]
    assert len(cast) > 20
    assert content.fold([read(cast)], 1_000).events == 1
    with connect(database) as connection:
        stand = read_checkpoints(connection, NUMBER)["comments"]
    assert (stand.position, stand.offset) == (int(dict(cast[-1].headers)["position"]), cast[-1].offset + 1)


def test_the_offset_that_is_kept_is_that_after_the_whole_batch(database: str, votes: Folding, topics: Topics) -> None:
    records = topics[NUMBER]
    votes.fold([read(records[:10])], 1_000)
    votes.fold([read(records)], 3)
    with connect(database) as connection:
        assert read_checkpoints(connection, NUMBER)["scores"].offset == records[-1].offset + 1


def test_records_that_no_relay_has_sent_are_passed_over(votes: Folding, topics: Topics) -> None:
    records = topics[NUMBER]
    foreign = msgspec.structs.replace(records[3], headers=[])
    before = metrics.REGISTRY.get_sample_value("moot_foreign_records_total")
    assert votes.fold([read([*records[:3], foreign, *records[4:9]])], 1_000).events
    assert metrics.REGISTRY.get_sample_value("moot_foreign_records_total") == (before or 0) + 1


def test_what_postgresql_refuses_is_parked_without_what_people_wrote(
    database: str, votes: Folding, topics: Topics
) -> None:
    """The reason goes into logs, where nothing is taken back."""
    with connect(database) as connection:
        connection.execute("ALTER TABLE views.posts ADD CHECK (title = '')")
    with capture_logs() as lines:
        votes.fold([read(topics[NUMBER])], 1_000)
    with connect(database) as connection:
        parked = dead_letters(connection, "posts")
    (said,) = [line for line in lines if line["event"] == "views.parked" and line["projection"] == "posts"]
    assert parked
    for error in (said["error"], *(one.error for one in parked)):
        assert "violates check constraint" in error
        assert "Failing row" not in error


def test_an_event_that_the_codec_itself_fails_on_parks_its_stream(
    database: str, store: GroupCommitStore, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = store.codec.decode_page
    records = votes_of(topics[NUMBER])
    sick = int(dict(records[5].headers)["position"])

    def failing(rows):  # type: ignore[no-untyped-def]
        if any(row[0] == sick for row in rows):
            raise RecursionError("for the test")
        return whole(rows)

    monkeypatch.setattr(store.codec, "decode_page", failing)
    (made,) = [*folding(database, "votes", store.codec)]
    made.look([NUMBER])
    with capture_logs() as lines:
        assert made.fold([read(records)], 1_000).events == len(records)
    with connect(database) as connection:
        parked = dead_letters(connection, "scores")
        (state,) = connection.execute("SELECT state FROM log.stored_events WHERE notification_id = %s", (sick,))
    (said,) = [line for line in lines if line["event"] == "views.parked" and line["projection"] == "scores"]
    trace = json.loads(state[0])["meta"]["correlation_id"].replace("-", "")
    assert (said["position"], said["trace_id"]) == (sick, trace)
    assert [one.first_position for one in parked] == [sick]
    assert "RecursionError" in parked[0].error
    made.close()


class Heard:
    """A publisher that remembers what it was told."""

    def __init__(self) -> None:
        self.lost = 0

    def publish(self, channels: Mapping[str, int], position: int | None) -> None:
        pass

    def say_lost(self) -> None:
        self.lost += 1

    def mend(self) -> None:
        pass


def test_who_takes_partitions_over_has_everybody_look(database: str, store: GroupCommitStore) -> None:
    heard = Heard()
    folding = Folding(database, GROUPS["votes"], store.codec, heard)
    first, second, *_ = folding.partitions
    for partitions, lost in ([first], 1), ([first], 1), ([first, second], 2), ([second], 2), ([first, second], 3):
        folding.look(partitions)
        assert heard.lost == lost
    folding.close()


def test_whoever_finds_that_another_has_folded_has_everybody_look(
    database: str, store: GroupCommitStore, topics: Topics
) -> None:
    """A rebuild, or an own commit whose answer was lost: nobody has signalled that."""
    heard = Heard()
    made = Folding(database, GROUPS["votes"], store.codec, heard)
    made.look([NUMBER])
    with connect(database) as connection:
        connection.execute("UPDATE views.checkpoints SET position = position + 1 WHERE projection = 'scores'")
    with pytest.raises(StaleCheckpoint):
        made.fold([read(votes_of(topics[NUMBER]))], 1_000)
    made.look([NUMBER])
    assert heard.lost == 2
    made.close()


def test_what_a_newer_version_rebuilt_is_not_folded_by_an_older_one(
    votes: Folding, database: str, topics: Topics
) -> None:
    """It stands where it stood, and everything else there is another's."""
    with connect(database) as connection:
        connection.execute("UPDATE views.checkpoints SET version = version + 1 WHERE projection = 'scores'")
        with pytest.raises(StaleCheckpoint, match="scores was rebuilt by version"):
            votes.fold([read(votes_of(topics[NUMBER]))], 1_000)
        assert not connection.execute("SELECT FROM views.scores").fetchall()


def test_it_looks_otherwise_once_a_stale_view_is_rebuilt(votes: Folding, database: str) -> None:
    def version(change: int) -> None:
        with connect(database) as connection:
            connection.execute(
                "UPDATE views.checkpoints SET version = version + %s WHERE projection = 'scores'", (change,)
            )

    assert not votes.looks_otherwise()
    version(1)
    assert votes.looks_otherwise()
    votes.look([NUMBER])
    assert votes.stale == {"scores"}
    assert not votes.looks_otherwise()
    version(-1)
    assert votes.looks_otherwise()
    votes.look([NUMBER])
    assert not votes.stale


def test_one_that_hangs_before_it_is_connected_wholly_can_be_cut(database: str, store: GroupCommitStore) -> None:
    made = Folding(database, GROUPS["people"], store.codec, transaction_seconds_max=600)
    with ThreadPoolExecutor(1) as thread, connect(database) as watching, connect(database) as other:
        with other.transaction():
            other.execute("LOCK TABLE views.checkpoints")
            looking = thread.submit(made.look, [1000])
            until = time.monotonic() + SECONDS_MAX
            while not watching.execute(WAITS).fetchall():
                assert time.monotonic() < until
            made.cut()
            assert isinstance(looking.exception(SECONDS_MAX), AWAY)
        assert thread.submit(made.look, [1000]).result(SECONDS_MAX)
    made.close()


def test_groups_of_one_process_ask_for_a_database_that_is_away_one_at_a_time(
    database: str, store: GroupCommitStore, topics: Topics
) -> None:
    now = [0.0]
    limits = BreakerLimits(failures_max=2, open_seconds_min=1.0, open_seconds_max=1.0)
    breaker = Breaker("postgres", limits, refusal=PostgresAway, clock=lambda: now[0])
    records = topics[NUMBER]
    with Proxy(database) as proxy:
        first, second = (Folding(proxy.conninfo, GROUPS[name], store.codec, breaker=breaker) for name in GROUPS_TRIED)
        first.look([NUMBER])
        second.look([NUMBER])
        proxy.refuse()
        for group in (first, second):
            with pytest.raises(AWAY) as failure:
                group.fold([read(records[:30])], 1_000)
            assert not isinstance(failure.value, PostgresAway)
        assert metrics.REGISTRY.get_sample_value("moot_breaker_state", {"dependency": "postgres"}) == State.OPEN
        proxy.accept()
        for group in (first, second):
            with pytest.raises(PostgresAway):
                group.fold([read(records[:30])], 1_000)
            assert not group.looks_otherwise()
        now[0] += 1.0
        assert first.fold([read(records[:30])], 1_000).commits
        assert breaker.state is State.CLOSED
        assert second.fold([read(records[:30])], 1_000).commits
        first.close()
        second.close()


def test_a_group_that_is_refused_keeps_its_connection_while_it_is_whole(
    database: str, store: GroupCommitStore, topics: Topics
) -> None:
    now = [0.0]
    limits = BreakerLimits(failures_max=1, open_seconds_min=1.0, open_seconds_max=1.0)
    breaker = Breaker("postgres", limits, refusal=PostgresAway, clock=lambda: now[0])
    with Proxy(database) as proxy, connect(database) as watching:
        unlucky = Folding(proxy.conninfo, GROUPS[GROUPS_TRIED[0]], store.codec, breaker=breaker)
        whole = Folding(database, GROUPS[GROUPS_TRIED[1]], store.codec, breaker=breaker, name="whole")

        def connection() -> int:
            sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'whole'"
            ((pid,),) = watching.execute(sql).fetchall()
            return int(pid)

        whole.look([NUMBER])
        before = connection()
        proxy.refuse()
        for ended in (False, True):
            with pytest.raises(AWAY):
                unlucky.look([NUMBER])
            with pytest.raises(PostgresAway):
                whole.look([NUMBER])
            with pytest.raises(PostgresAway):
                whole.fold([read(topics[NUMBER][:30])], 1_000)
            assert not whole.looks_otherwise()
            if ended:
                watching.execute("SELECT pg_terminate_backend(%s, 10000)", (before,))
            now[0] += 1.0
            whole.look([NUMBER])  # without a failure, which others would be refused for
            assert breaker.state is State.CLOSED
            assert (connection() == before) is not ended
        whole.close()
        unlucky.close()


def test_a_checkpoint_that_was_moved_by_another_opens_no_breaker(
    database: str, store: GroupCommitStore, topics: Topics
) -> None:
    breaker = Breaker("postgres", BreakerLimits(failures_max=1), refusal=PostgresAway)
    mine = Folding(database, GROUPS["votes"], store.codec, breaker=breaker)
    mine.look([NUMBER])
    with connect(database) as connection:
        connection.execute("UPDATE views.checkpoints SET position = position + 1000000")
    with pytest.raises(StaleCheckpoint):
        mine.fold([read(topics[NUMBER])], 1_000)
    assert breaker.state is State.CLOSED
    mine.close()
