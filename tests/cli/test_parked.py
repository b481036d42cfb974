"""``moot projections parked``, ``retry`` and ``discard``, on a real PostgreSQL and Redis, beside a runner at work."""

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from domain.ballot import VoteCast
from domain.event import Id
from domain.follow import AccountFollowed
from domain.ids import ballot_id, derived, relation_id
from infra.event_store import postgres_store
from infra.postgres import connect
from infra.secrets import load_secrets
from infra.settings import ROOT, Settings
from infra.signals import RedisPublisher, late
from projections.catalogue import ALL
from streams import dead_letters
from streams.cli import doctor_fleet
from streams.runner import Runner, RunnerLimits
from tests.equivalence.histories import Happened
from tests.equivalence.recording import Filler, recorded
from tests.equivalence.test_equivalence import all_rows, straight
from tests.serving import environment, moot
from tests.stack.roles import until

SECONDS = 30.0
LIMITS = RunnerLimits(retry_seconds_min=0.01, idle_seconds=0.05, bulk_events_min=10**9)
SICK, WELL, PLACE = derived("sick"), derived("well"), derived("place")
ANN, BEN = derived("ann"), derived("ben")


class Site:
    """A log with a runner at work, and the ``moot`` command on it."""

    def __init__(self, settings: Settings) -> None:
        url, redis_url = settings.engine_urls()
        self.connection = connect(url)
        self.happened: list[Happened] = []
        self.redis = redis.Redis.from_url(redis_url)
        self.variables = {
            "MOOT_DATABASE_URL": url,
            "MOOT_REDIS_URL": redis_url,
            "MOOT_DATA_DIR": str(settings.data_dir),
        }
        self.store = postgres_store(url, load_secrets(settings.data_dir).master_key)
        self._filler = Filler(self.connection, self.store.codec)
        self.runner = Runner(url, self.store, ALL.values(), RedisPublisher(self.redis), limits=LIMITS)
        self.runner.start()
        assert self.runner.settled(SECONDS)

    def close(self) -> None:
        assert self.runner.stop(SECONDS)
        self.store.close()
        self.connection.close()
        self.redis.close()

    def add(self, *happened: Happened) -> int:
        """Record these; the position of the last."""
        self.happened += happened
        return self._filler.fill(happened)

    def folded(self, *happened: Happened) -> int:
        """Record these, and wait until they are in every view; the position of the last."""
        position = self.add(*happened)
        assert self.runner.wait(position, SECONDS), self.runner.trouble
        return position

    def moot(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return moot("projections", *words, **self.variables)

    def json(self, *words: str, code: int = 0) -> Any:
        done = self.moot(*words, "--output", "json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def waiting(self, view: str, key: Any) -> list[int]:
        return dead_letters.positions(self.connection, view, key)

    def score(self, target: Id) -> tuple[Any, ...] | None:
        return self.connection.execute("SELECT up, down FROM views.scores WHERE target_id = %s", (target,)).fetchone()


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    opened = Site(settings)
    yield opened
    opened.close()


def voted(number: int, target: Id) -> Happened:
    voter = derived("voter", str(number))
    event = VoteCast(voter, target, "post", target, PLACE, None, 0, 1)
    return Happened(ballot_id(voter, target), event, datetime(2026, 1, 1, tzinfo=UTC), voter)


def followed(who: Id, whom: Id) -> Happened:
    return Happened(relation_id(who, whom), AccountFollowed(who, whom), datetime(2026, 1, 1, tzinfo=UTC), who)


def poison(site: Site, up: int = 2) -> list[int]:
    """The fault: no score may be larger than that. Five votes on each of two posts; the positions that are parked."""
    site.connection.execute(
        f"ALTER TABLE views.scores ADD CONSTRAINT planted CHECK (up <= {up} OR target_id <> '{SICK}')"
    )
    site.folded(*(voted(number, post) for number in range(5) for post in (SICK, WELL)))
    return list(range(2 * up + 1, 10, 2))


def mend(site: Site) -> None:
    site.connection.execute("ALTER TABLE views.scores DROP CONSTRAINT planted")


def test_what_is_parked_is_shown_by_key_with_its_reason(site: Site) -> None:
    assert site.json("parked") == {"parked": [], "more": False}
    parked = poison(site)
    shown = site.json("parked", code=2)
    (one,) = shown["parked"]
    assert (one["projection"], one["key"], one["events"]) == ("scores", SICK, 3)
    assert (one["first_position"], one["last_position"]) == (parked[0], parked[-1])
    assert "planted" in one["error"]
    assert datetime.fromisoformat(one["parked_at"]) <= datetime.now(UTC)
    table = site.moot("parked", "scores")
    assert table.returncode == 2
    assert SICK in table.stdout
    assert "moot projections retry VIEW KEY" in table.stderr
    assert site.json("parked", "karma") == {"parked": [], "more": False}


def test_keys_are_listed_up_to_a_count_and_it_is_said_that_there_are_more(site: Site) -> None:
    site.connection.execute("ALTER TABLE views.scores ADD CONSTRAINT planted CHECK (up < 1)")
    site.folded(voted(1, WELL), voted(1, SICK))
    shown = site.json("parked", "--count", "1", code=2)
    assert ([one["key"] for one in shown["parked"]], shown["more"]) == ([WELL], True)
    assert "more keys" in site.moot("parked", "--count", "1").stderr
    assert site.json("parked", "--count", "2", code=2)["more"] is False


def test_a_retry_before_the_cause_is_gone_changes_nothing_and_says_why(site: Site) -> None:
    parked = poison(site)
    site.folded(voted(6, SICK))
    for which in (SICK, "--all"):
        (one,) = site.json("retry", "scores", which, code=2)["retried"]
        assert (one["key"], one["applied"], one["left"]) == (SICK, 0, 4)
        assert "planted" in one["error"]
        assert site.waiting("scores", SICK) == [*parked, 11]
        assert site.score(SICK) == (2, 0)


def test_a_retry_applies_them_in_order_and_whoever_follows_is_told(site: Site) -> None:
    parked = poison(site)
    with site.redis.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(f"score:{SICK}")
        mend(site)
        done = site.json("retry", "scores", SICK)
        assert done == {
            "projection": "scores",
            "retried": [{"key": SICK, "applied": 3, "left": 0, "moved": 0, "error": None}],
            "told": True,
        }
        said = [message["data"] for _ in range(20) if (message := heard.get_message(timeout=0.5))]
        assert str(late(parked[0])).encode() in said, "nobody was told"
    site.folded(voted(6, SICK))
    assert all_rows(site.variables["MOOT_DATABASE_URL"]) == straight(recorded(site.happened))
    assert site.json("retry", "scores", "--all")["retried"] == []


def test_a_retry_without_redis_applies_them_and_says_that_nobody_was_told(site: Site) -> None:
    poison(site)
    mend(site)
    site.variables["MOOT_REDIS_URL"] = "redis://127.0.0.1:1"
    done = site.moot("retry", "scores", SICK, "--output", "json")
    assert (done.returncode, json.loads(done.stdout)["told"]) == (0, False)
    assert "Redis did not answer" in done.stderr
    assert site.score(SICK) == (5, 0)


def test_keys_are_retried_while_the_runner_folds_into_them(site: Site) -> None:
    poison(site)
    stopping = threading.Event()

    def go_on() -> None:
        number = 100
        while not stopping.is_set():
            site.folded(voted(number, SICK), voted(number, WELL))
            number += 1

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        assert site.moot("retry", "scores", SICK).returncode == 2
        mend(site)
        assert site.json("retry", "scores", "--all")["retried"][0]["left"] == 0
        assert site.json("parked") == {"parked": [], "more": False}
    finally:
        stopping.set()
        writer.join()
    assert len(site.happened) > 10
    assert all_rows(site.variables["MOOT_DATABASE_URL"]) == straight(recorded(site.happened))


def test_what_is_parked_while_a_retry_waits_is_retried_with_it(site: Site) -> None:
    poison(site)
    assert site.runner.stop(SECONDS)
    mend(site)
    last = site.add(voted(6, SICK))
    url, done = site.variables["MOOT_DATABASE_URL"], list[dead_letters.Retried]()

    def retry() -> None:
        with connect(url) as connection:
            done.append(dead_letters.retry(connection, site.store, ALL["scores"], SICK))

    thread = threading.Thread(target=retry)
    with connect(url) as folding, folding.transaction():
        folding.execute("SELECT FROM views.checkpoints WHERE projection = 'scores' FOR UPDATE")
        thread.start()
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        until(lambda: site.connection.execute(waiting).fetchone() == (1,))
        folding.execute(
            "INSERT INTO views.dead_letters (projection, key, position, error) VALUES ('scores', %s, %s, 'it waits')",
            (json.dumps(SICK), last),
        )
        folding.execute("UPDATE views.checkpoints SET position = %s WHERE projection = 'scores'", (last,))
    thread.join(SECONDS)
    assert [(one.applied, one.left) for one in done] == [(4, 0)]
    assert site.score(SICK) == (6, 0)


def test_a_key_of_several_fields_is_typed_as_it_is_shown(site: Site) -> None:
    site.connection.execute("ALTER TABLE views.follows ADD CONSTRAINT planted CHECK (follower_id <> followed_id)")
    site.folded(followed(ANN, BEN), followed(BEN, BEN))
    (one,) = site.json("parked", "follows", code=2)["parked"]
    site.connection.execute("ALTER TABLE views.follows DROP CONSTRAINT planted")
    (done,) = site.json("retry", "follows", one["key"])["retried"]
    assert (done["key"], done["applied"]) == (one["key"], 1)
    assert site.json("parked") == {"parked": [], "more": False}


def test_a_view_of_another_version_is_not_folded_into(site: Site) -> None:
    parked = poison(site)
    assert site.runner.stop(SECONDS)
    mend(site)
    site.connection.execute("UPDATE views.checkpoints SET version = version + 1 WHERE projection = 'scores'")
    done = site.moot("retry", "scores", "--all")
    assert done.returncode == 3
    assert "fix: moot projections rebuild scores" in done.stderr
    assert site.waiting("scores", SICK) == parked


def test_a_view_that_others_hold_is_not_waited_for_without_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    parked = poison(site)
    monkeypatch.setattr(dead_letters, "LOCK_SECONDS_MAX", 0.2)
    with connect(site.variables["MOOT_DATABASE_URL"]) as another, another.transaction():
        another.execute("SELECT FROM views.checkpoints WHERE projection = 'scores' FOR UPDATE")
        with pytest.raises(dead_letters.ViewHeld, match="scores"):
            dead_letters.retry(site.connection, site.store, ALL["scores"], SICK)
        with pytest.raises(dead_letters.ViewHeld, match="scores"):
            dead_letters.discard(site.connection, "scores", SICK)
    assert site.waiting("scores", SICK) == parked


def test_discarding_asks_and_without_a_terminal_refuses(site: Site) -> None:
    parked = poison(site)
    done = site.moot("discard", "scores", SICK)
    assert (done.returncode, done.stdout) == (3, "")
    for words in ("3 events", f"positions {parked[0]} to {parked[-1]}", "rebuild scores", "fix: Say so with --yes."):
        assert words in done.stderr
    assert at_terminal(site, "n\n", "discard", "scores", SICK) == 3
    assert site.waiting("scores", SICK) == parked
    assert at_terminal(site, "y\n", "discard", "scores", SICK) == 0
    assert site.json("parked") == {"parked": [], "more": False}
    mend(site)
    site.folded(voted(6, SICK))
    assert site.score(SICK) == (3, 0)
    assert site.moot("rebuild", "scores").returncode == 0
    assert site.score(SICK) == (6, 0)


def test_the_poison_one_alone_is_discarded_and_the_others_are_retried(site: Site) -> None:
    parked = poison(site)
    done = site.json("discard", "scores", SICK, "--position", str(parked[0]), "--yes")
    assert done == {"projection": "scores", "key": SICK, "discarded": 1, "left": 2}
    mend(site)
    assert site.json("retry", "scores", SICK)["retried"][0]["applied"] == 2
    assert site.score(SICK) == (4, 0)


def test_what_is_not_there_is_an_error_with_a_fix(site: Site) -> None:
    parked = poison(site)
    for words, says in (
        (("parked", "scored"), "There is no projection called scored."),
        (("retry", "scores", WELL), "scores has no dead letters under"),
        (("retry", "scores", SICK, "--all"), "Which key?"),
        (("discard", "scores", WELL, "--yes"), "scores has no dead letters under"),
        (("discard", "scores", SICK, "--position", "2", "--yes"), "The event 2 is not parked in scores"),
    ):
        done = site.moot(*words)
        assert (done.returncode, done.stdout) == (1, ""), words
        assert says in done.stderr
        assert "\nfix: " in done.stderr
    assert site.waiting("scores", SICK) == parked


def test_the_doctor_names_the_commands_and_counts_no_table_that_was_put_aside(site: Site, settings: Settings) -> None:
    poison(site)
    finding = doctor_fleet.CHECKS["dead letters"](settings)
    assert (finding.ok, finding.found) == (False, "3 in scores")
    assert "moot projections parked" in finding.fix
    assert "moot projections retry VIEW --all" in finding.fix
    # The table that is made anew knows no such bound; what the old one lacks goes aside with it.
    assert site.moot("rebuild", "scores").returncode == 0
    assert doctor_fleet.CHECKS["dead letters"](settings).found == "none"
    assert site.json("parked") == {"parked": [], "more": False}


def test_events_that_are_far_apart_are_read_without_what_lies_between(site: Site) -> None:
    read: list[int] = []

    class Log:
        def read_sync(self, after: int, limit: int) -> Any:
            read.append(limit)
            return site.store.read_sync(after, limit)

    site.folded(*(voted(number, WELL) for number in range(2_100)))
    found = dead_letters._events(Log(), [1, 3, 1000, 2050])
    assert sorted(found) == [1, 3, 1000, 2050]
    assert all(event.position == position for position, event in found.items())
    assert read == [1000, 1]


def at_terminal(site: Site, answer: str, *words: str) -> int:
    """The exit code of the command in front of somebody who answers so."""
    here, there = pty.openpty()
    try:
        os.write(here, answer.encode())
        return subprocess.run(
            [sys.executable, "-P", "-m", "streams.cli", "projections", *words],
            cwd=ROOT,
            env=environment(PYTHONPATH=str(ROOT), **site.variables),
            stdin=there,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode
    finally:
        os.close(here)
        os.close(there)
