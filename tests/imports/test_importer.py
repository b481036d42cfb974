"""Importing archives into a real event store, with the views running behind."""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from commands.archive import comment_id, post_id
from commands.ports import Append
from domain import name
from domain.comment import CommentEdited, CommentSubmitted, segment
from domain.event import Id
from domain.ids import derived
from domain.limits import Limits
from infra.event_store import GroupCommitStore, postgres_store
from infra.migrate import migrate
from infra.postgres import connect
from projections.catalogue import ALL
from schemas.envelope import Metadata
from streams.archive_files import ArchiveFile, CutOffError
from streams.attaching import attach
from streams.importer import Imported, Importer, Rejected
from streams.runner import Runner
from tests.imports.archives import Month, lines, write

KEY = bytes(32)
RUN = derived("test", "run")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAY = Month(2014, 5, posts=300, comments=900, authors=80)
JUNE = Month(2014, 6, posts=300, comments=900, authors=80)


class Site:
    """A store, its views, and an importer: what ``moot import`` puts together."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.folder = folder
        self.store: GroupCommitStore = postgres_store(dsn, KEY)
        self.connection = connect(dsn)
        self.runner = Runner(dsn, self.store, ALL.values())
        self.runner.start()
        self.rejected: list[Rejected] = []

    def load(
        self, content: Iterable[bytes], filename: str = "archive", *, attached: bool = True, **options: Any
    ) -> Imported:
        """Import these lines and attach what can be attached; the views have caught up afterwards."""
        with ArchiveFile(write(self.folder / filename, content)) as archive:
            importer = Importer(self.store, name_key=KEY, run_id=RUN, at=NOW, limits=Limits())
            done = importer.run(archive, on_reject=self.rejected.append, **options)
        self.catch_up()
        if attached:
            self.attach()
        return done

    def attach(self, store: Any = None) -> int:
        """Attach orphans."""
        return attach(store or self.store, self.connection, self.catch_up, run_id=RUN, at=NOW, limits=Limits())

    def catch_up(self) -> None:
        """Wait until the views stand at the head of the log."""
        assert self.runner.wait(self.store.head_sync(), 60.0)

    def rows(self, query: str, *params: object) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self.connection.execute(query, params).fetchall()  # type: ignore[arg-type]

    def close(self) -> None:
        """Stop everything."""
        self.runner.stop()
        self.connection.close()
        self.store.close()


@pytest.fixture
def site(database: str, tmp_path: Path) -> Iterator[Site]:
    migrate(database)
    opened = Site(database, tmp_path)
    yield opened
    opened.close()


def records(month: Month) -> list[dict[str, Any]]:
    return [*month.submissions(), *month.comments()]


def tree(site: Site) -> list[tuple[Any, ...]]:
    """The threads as they are shown, whatever the order of the import."""
    return site.rows(
        "SELECT comment_id, parent_id, path, depth, orphan, body FROM views.comments"
        " WHERE submitted_at IS NOT NULL ORDER BY comment_id"
    )


def test_everything_of_a_month_is_in_the_views_with_its_own_time(site: Site) -> None:
    content = records(MAY)
    done = site.load(lines(content))
    assert (done.lines, done.submissions, done.comments, done.rejected) == (1200, 300, 900, 0)
    posts = [record for record in content if "title" in record]
    times = {post_id(post["id"]): datetime.fromtimestamp(int(post["created_utc"]), UTC) for post in posts}
    assert dict(site.rows("SELECT post_id, submitted_at FROM views.posts")) == times
    scores = {post_id(post["id"]): post["score"] for post in posts}
    assert dict(site.rows("SELECT post_id, up - down FROM views.feed")) == scores
    authors = {record["author"] for record in content} - {"[deleted]"}
    assert {name for (name,) in site.rows("SELECT name FROM views.profiles")} == authors
    assert done.accounts == len(authors)
    assert {name for (name,) in site.rows("SELECT name FROM views.communities")} == set(MAY.communities)


def test_importing_again_adds_nothing(site: Site) -> None:
    content = list(lines(records(MAY)))
    site.load(content)
    head = site.store.head_sync()
    done = site.load(reversed(content))
    assert (done.records, done.accounts, done.communities, done.known) == (0, 0, 0, 1200)
    assert site.store.head_sync() == head
    assert site.load([*content[:5], *content[:5]]).known == 10


@pytest.mark.parametrize(
    "order", ["comments first", "backwards", "later month first", "replies first", "in order", "shuffled"]
)
def test_the_order_of_files_and_lines_makes_no_difference(site: Site, order: str) -> None:
    may, june = list(lines(records(MAY))), list(lines(records(JUNE)))
    links = [
        {"id": "cjune0", "link_id": first["link_id"], "parent_id": f"t1_{first['id']}", "body": "late", "score": 1}
        | {"subreddit": first["subreddit"], "author": "late", "created_utc": "1402000000"}
        for first in [next(MAY.comments())]
    ]
    links += _astray(links[0])
    straight = [*may, *june, *lines(links)]
    expected = Expected(straight)
    if order == "comments first":
        content = sorted(straight, key=lambda line: b'"link_id"' not in line)
    elif order == "backwards":
        content = straight[::-1]
    elif order == "later month first":
        content = [*june, *lines(links), *may]
    elif order == "replies first":
        content = [*may, *june, *lines(links[::-1])]
    elif order == "in order":
        content = straight
    else:
        content = random.Random(4).sample(straight, len(straight))
    half = len(content) // 2
    site.load(content[:half], "first")
    site.load(content[half:], "second.zst")
    assert tree(site) == expected.tree()
    assert site.attach() == 0


def _astray(link: dict[str, Any]) -> list[dict[str, Any]]:
    """An answer to a comment of another post, as no real archive should have it, and an answer to that."""
    other = next(post for post in MAY.submissions() if f"t3_{post['id']}" != link["link_id"])
    stray = link | {"id": "cstray0", "link_id": f"t3_{other['id']}", "parent_id": f"t1_{link['id']}"}
    return [stray, stray | {"id": "cstray1", "parent_id": f"t1_{stray['id']}"}]


class Expected:
    """The threads that some lines should make, by plain recursion over all of them."""

    def __init__(self, content: Sequence[bytes]) -> None:
        self.comments = {r["id"]: r for r in map(json.loads, content) if "link_id" in r}

    def tree(self) -> list[tuple[Any, ...]]:
        rows = []
        for own, record in self.comments.items():
            parent = record["parent_id"]
            path = self.path(own)
            orphan = parent.startswith("t1_") and self.parent(record) is None
            body = "" if record["body"] in ("[deleted]", "[removed]") else record["body"].replace("&gt;", ">").strip()
            parent_id = comment_id(parent[3:]) if parent.startswith("t1_") else None
            rows.append((comment_id(own), parent_id, path, len(path) // 10, orphan, body))
        return sorted(rows)

    def path(self, own: str) -> bytes:
        record = self.comments[own]
        parent = self.parent(record)
        above = b"" if parent is None else self.path(parent)
        milliseconds = int(record["created_utc"]) * 1000
        return above[:990] + milliseconds.to_bytes(6, "big") + bytes.fromhex(comment_id(own)[:8])

    def parent(self, record: dict[str, Any]) -> str | None:
        """The comment of the same post that it answers, if there is one."""
        found: str = record["parent_id"].removeprefix("t1_")
        same = found in self.comments and self.comments[found]["link_id"] == record["link_id"]
        return found if same else None


def test_a_reply_in_a_later_file_needs_no_attaching(site: Site) -> None:
    content = list(lines(records(MAY)))
    known = Expected(content)
    missing = sum(row[4] for row in known.tree())
    assert site.load(content[:700]).orphans + site.load(content[700:]).orphans == missing
    assert tree(site) == known.tree()
    assert site.rows("SELECT count(*) FROM log.stored_events WHERE topic = 'comment.attached@1'") == [(0,)]


def test_a_chain_deeper_than_the_limit_is_kept_at_the_limit(site: Site) -> None:
    post = {"id": "deep", "title": "t", "subreddit": "a", "created_utc": 1400000000, "author": "x"}
    chain = [
        {"id": f"c{i}", "link_id": "t3_deep", "parent_id": f"t1_c{i - 1}" if i else "t3_deep", "body": "b"}
        | {"subreddit": "a", "created_utc": 1400000000 + i, "author": "x"}
        for i in range(150)
    ]
    content = list(lines([post, *chain]))
    site.load(content[::-1])
    assert tree(site) == Expected(content).tree()
    assert max(depth for *_, depth, _, _ in tree(site)) == 100


class Meanwhile:
    """The store of a site, where something happens between what attaching has read and what it records first."""

    def __init__(self, store: GroupCommitStore, happen: Callable[[], object]) -> None:
        self._store = store
        self._happen: Callable[[], object] | None = happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append_many(self, commands: Sequence[Any]) -> Any:
        """As the store does, too late."""
        if commands and self._happen is not None:
            happen, self._happen = self._happen, None
            happen()
        return self._store.append_many(commands)


LATE = {"link_id": "t3_x", "subreddit": "a", "created_utc": 1400000000, "author": "x", "body": "b"}


@pytest.fixture
def waiting(site: Site) -> Site:
    """A site with an imported comment, ``t1_child``, whose parent, ``t1_parent``, has just arrived."""
    site.load(lines([LATE | {"id": "child", "parent_id": "t1_parent"}]))
    site.load(lines([LATE | {"id": "parent", "parent_id": "t3_x"}]), attached=False)
    return site


def under(site: Site, *chain: Id) -> bool:
    """Whether each of these comments stands directly below the one before."""
    found = dict(site.rows("SELECT comment_id, path FROM views.comments"))
    return all(found[below][:-10] == found[above] for above, below in pairwise(chain))


def test_a_comment_that_is_edited_meanwhile_finds_its_place(waiting: Site) -> None:
    site, child = waiting, comment_id("child")
    edited = CommentEdited(comment_id=child, post_id=post_id("x"), community_id=RUN, author_id=RUN, body="new")
    meta = Metadata(RUN, RUN, None, None, NOW, NOW)
    store = Meanwhile(site.store, lambda: site.store.append_sync([Append(child, 1, (edited,))], meta))
    assert site.attach(store) == 1
    assert under(site, comment_id("parent"), child)
    assert site.attach() == 0


def test_replies_that_are_written_meanwhile_follow_what_they_reply_to(waiting: Site) -> None:
    site, child = waiting, comment_id("child")
    reply, answer = derived("test", "reply"), derived("test", "answer")
    meta = Metadata(RUN, RUN, None, None, NOW, NOW)

    def write() -> None:
        path = bytes(site.rows("SELECT path FROM views.comments WHERE comment_id = %s", child)[0][0])
        for depth, (above, own) in enumerate(((child, reply), (reply, answer)), 2):
            path += segment(own, NOW)
            said = CommentSubmitted(own, post_id("x"), RUN, RUN, above, None, path, depth, "live")
            site.store.append_sync([Append(own, 0, (said,))], meta)

    assert site.attach(Meanwhile(site.store, write)) == 3
    assert under(site, comment_id("parent"), child, reply, answer)
    assert site.attach() == 0


def test_comments_that_are_each_others_parents_stay_where_they_are(site: Site) -> None:
    circle = [
        {"id": own, "link_id": "t3_x", "parent_id": f"t1_{parent}", "body": own, "author": "x"}
        | {"subreddit": "a", "created_utc": 1400000000}
        for own, parent in [("a", "b"), ("b", "a")]
    ]
    site.load(lines(circle))
    assert sorted(row[3] for row in tree(site)) == [1, 2]
    assert site.attach() == 0


def test_bad_lines_are_reported_by_number_and_passed_over(site: Site) -> None:
    content = list(lines(records(MAY)))[:20]
    content[3:3] = [b'{"id":"abc","title":"cut o\n', b"\n", b'{"title":"\xff\xfe"}\n']
    done = site.load([*content, content[0][:50]])
    assert (done.submissions, done.rejected) == (20, 3)
    assert [(line.number, line.reason.split(",")[0].split(":")[0]) for line in site.rejected] == [
        (4, "not JSON"),
        (6, "not UTF-8"),
        (24, "not JSON"),
    ]


def test_an_import_goes_on_after_the_last_batch_that_was_kept(site: Site) -> None:
    content = list(lines(records(MAY)))
    site.load(content[:700])
    done = site.load(content, skip_lines=700)
    assert (done.lines, done.records, done.known) == (1200, 500, 0)


def test_a_file_cut_off_gives_all_that_is_before_the_cut(site: Site) -> None:
    path = write(site.folder / "RS.gz", lines(MAY.submissions()))
    path.write_bytes(path.read_bytes()[:-2000])
    importer = Importer(site.store, name_key=KEY, run_id=RUN, at=NOW, limits=Limits())
    seen: list[int] = []
    with ArchiveFile(path) as archive, pytest.raises(CutOffError):
        importer.run(archive, on_batch=lambda done: seen.append(done.submissions))
    site.catch_up()
    assert seen
    assert site.rows("SELECT count(*) FROM views.posts WHERE title <> ''") == [(seen[-1],)]


def test_a_name_that_somebody_here_has_gets_a_suffix(site: Site) -> None:
    holder = derived("somebody", "here")
    meta = Metadata(RUN, RUN, None, None, NOW, NOW)
    for kind, wanted in (("account", "guido"), ("community", "python")):
        claim = name.NameClaimed(kind=kind, holder_id=holder)  # type: ignore[arg-type]
        site.store.append_sync([Append(name.claim_id(kind, wanted, KEY), 0, (claim,))], meta)  # type: ignore[arg-type]
    record = {"id": "x", "title": "t", "subreddit": "Python", "created_utc": 1400000000, "author": "Guido"}
    site.load(lines([record, record | {"id": "y"}]))
    assert site.rows("SELECT name FROM views.profiles") == [("Guido_reddit",)]
    assert site.rows("SELECT name FROM views.communities") == [("Python_reddit",)]
    assert site.load(lines([record, record | {"id": "z", "author": "GUIDO"}])).accounts == 0


def test_a_name_that_is_kept_for_the_site_gets_a_suffix(site: Site) -> None:
    record = {"id": "x", "title": "t", "subreddit": "moderators", "created_utc": 1400000000, "author": "Admin"}
    site.load(lines([record]))
    assert site.rows("SELECT name FROM views.profiles") == [("Admin_reddit",)]
    assert site.rows("SELECT name FROM views.communities") == [("moderators_reddit",)]
