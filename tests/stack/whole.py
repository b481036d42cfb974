"""A whole fleet on real servers, and the question whether log, topics, views and answers say the same."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import httpx

from infra.event_store import postgres_store
from infra.postgres import connect
from infra.secrets import load_secrets
from infra.stack import Stack
from projections.catalogue import ALL
from read_api.cursors import Sealer
from schemas.envelope import Recorded
from tests.api.stack import Client
from tests.databases import new_database
from tests.equivalence.test_equivalence import all_rows, straight
from tests.live.forum import a_community, submit_post
from tests.stack.crowd import Crowd, Forum
from tests.stack.roles import Role, Roles, proxied, until

PEOPLE = 4
PAGE_EVENTS = 5_000
CAUGHT_UP_SECONDS_MAX = 90.0


class Whole:
    """Two API processes, the first of them behind the fault proxy, a relay and two workers. A context manager.

    With ``behind_proxy`` every process is, with each of its connections. Settings are those of all processes.
    """

    def __init__(self, stack: Stack, folder: Path, *, behind_proxy: bool = False, **settings: object) -> None:
        self.stack = stack
        self.conninfo = new_database(stack.postgres.url)
        given = {
            "position_wait_seconds_max": 5,
            "pool_answer_seconds_max": 2,
            "pool_wait_seconds_max": 3,
            "store_answer_seconds_max": 2,
            "store_lock_seconds_max": 5,
            "sign_ins_per_account_max": 3,
            "sign_ins_per_account_seconds": 600,
            **settings,
        }
        conninfo = proxied(self.conninfo, stack) if behind_proxy else self.conninfo
        self.fleet = Roles(stack, conninfo, folder, proxied=behind_proxy, **given).set_up()
        self.secrets = load_secrets(folder / "secrets.json")
        self.sealer = Sealer(self.secrets.cursor_key)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with self._opened:
            self._begin()
            self._opened = self._opened.pop_all()  # what began stays
        return self

    def _begin(self) -> None:
        self._opened.enter_context(self.fleet)
        behind_proxy = {
            "MOOT_DATABASE_URL": proxied(self.conninfo, self.stack),
            "MOOT_REDIS_URL": self.stack.redis.proxied_url,
        }
        self.apis = [self.fleet.api(**behind_proxy), self.fleet.api()]
        self.relay, self.workers = self.fleet.relay(), [self.fleet.worker() for _ in range(2)]
        until(lambda: all(role.ready() for role in (self.relay, *self.workers)))
        self.people = [self.client(number).sign_up() for number in range(PEOPLE)]
        owner = self.people[0]
        self.community = a_community(owner)
        self.locked = submit_post(owner, self.community)
        assert not owner.do("lockPost", kind_of_input="PostInput", postId=self.locked)["errors"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def client(self, number: int) -> Client:
        """Somebody at one of the API processes."""
        return self._opened.enter_context(Client(at(self.apis[number % len(self.apis)])))

    def same(self, who: Client, number: int) -> Client:
        """Somebody at one of the API processes who signed in at any."""
        client = self.client(number)
        client.name, client.id, client.position = who.name, who.id, who.position
        client.http.headers["Authorization"] = who.http.headers["Authorization"]
        return client

    def crowd(self, *, asks_again: bool = False) -> Forum:
        """The people, about to be busy at all of the API processes, with posts that none of them has voted on."""
        urls, posts = [api.url for api in self.apis], [submit_post(self.people[0], self.community) for _ in range(6)]
        return Forum(
            urls, self.people, community=self.community, posts=posts, locked=self.locked, asks_again=asks_again
        )

    def again(self, gone: Role) -> None:
        """An API process that was killed comes back at the same port."""
        self.fleet.roles.remove(gone)
        self.apis[self.apis.index(gone)] = self.fleet.api(MOOT_PORT=gone.url.rpartition(":")[2])

    def head(self) -> int:
        """The position of the newest event."""
        with connect(self.conninfo) as connection:
            row = connection.execute("SELECT coalesce(max(notification_id), 0) FROM log.stored_events").fetchone()
        assert row is not None
        return int(row[0])

    def log(self) -> list[Recorded]:
        """All events there are."""
        store = postgres_store(self.conninfo, self.secrets.master_key)
        try:
            found: list[Recorded] = []
            while page := store.read_sync(len(found), PAGE_EVENTS):
                found += page
        finally:
            store.close()
        assert [recorded.position for recorded in found] == list(range(1, len(found) + 1))
        return found

    @contextmanager
    def appending_waits(self) -> Iterator[Callable[[int], Any]]:
        """Inside, whoever appends to the log waits in PostgreSQL. Gives a function that waits until so many do."""
        with connect(self.conninfo, autocommit=False) as holding, connect(self.conninfo) as looking:
            holding.execute("LOCK TABLE log.stored_events IN EXCLUSIVE MODE")
            asked = "SELECT count(*) >= %s FROM pg_locks WHERE relation = 'log.stored_events'::regclass AND NOT granted"
            yield lambda count: until(lambda: looking.execute(asked, (count,)).fetchone() == (True,))
            holding.rollback()

    def end_an_append(self) -> None:
        """One of those that wait in PostgreSQL is never recorded: its connection ends there."""
        asked = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE relation = 'log.stored_events'::regclass AND NOT granted LIMIT 1"
        )
        with connect(self.conninfo) as connection:
            assert connection.execute(asked).fetchone() == (True,)

    def caught_up(self) -> int:
        """Wait until all that is recorded by now is in every view; gives up to where that is."""
        head = self.head()

        def reached() -> bool:
            with connect(self.conninfo) as connection:
                row = connection.execute("SELECT views.reached(%s)", (list(ALL),)).fetchone()
            assert row is not None
            return int(row[0]) >= head

        until(reached, CAUGHT_UP_SECONDS_MAX)
        return head

    def assert_right(self, crowd: Crowd, after: int) -> None:
        """What ``crowd`` was told since that position, the log, the topics and the views all say the same."""
        head = self.caught_up()
        log = self.log()
        assert len(log) == head
        crowd.assert_kept(log, after, self.sealer)
        self.assert_topics(head)
        self.assert_views(log)

    def assert_topics(self, head: int) -> None:
        """Every event up to that position, which is the newest, is in Kafka once, as ``moot log audit`` says it."""
        audited = until(lambda: (one := self.fleet.run("log", "audit", "--output", "json")).returncode != 2 and one)
        found = json.loads(audited.stdout)
        assert (audited.returncode, found["perfect"], found["records"]) == (0, True, head), found

    def assert_views(self, log: Sequence[Recorded], names: Collection[str] = ALL) -> None:
        """Every row of these views is as if the log had been folded straight, and nothing is parked."""
        expected, rows = straight(log), all_rows(self.conninfo, names)
        for name in names:
            assert rows[name] == expected[name], name
        with connect(self.conninfo) as connection:
            assert connection.execute("SELECT * FROM views.dead_letters LIMIT 3").fetchall() == []

    def all_alive(self) -> bool:
        """Whether no process has ended and all of them are well."""
        serving = all(httpx.get(f"{api.url}/readyz", timeout=10).status_code == 200 for api in self.apis)
        return serving and all(role.process.poll() is None and role.ready() for role in self.fleet.roles)


def at(api: Role) -> Any:
    """That process as the helpers of other tests take it."""
    return SimpleNamespace(url=api.url)
