"""Imported comments that came before their parents find their place, once the parents are there.

Reads the view of comments to find out which, and decides by their streams: nothing is recorded for a comment that
is in its place already, so this may run at any time, and again.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from msgspec import Struct
from psycopg import Connection

from commands.ports import Append, Conflict
from domain import comment as comments
from domain.comment import SEGMENT_BYTES, CommentAttached
from domain.event import Id
from domain.ids import derived
from domain.limits import Limits
from infra.event_store import GroupCommitStore
from schemas.envelope import Metadata
from streams.importer import Place, below

BATCH_EVENTS = 2_000
"""Comments that are given their place together."""


class _Orphan(Struct, frozen=True):
    """A comment that stands directly below its post for want of its parent, which has arrived since."""

    comment_id: Id
    post_id: Id
    path: bytes
    parent_path: bytes


def attach(
    store: GroupCommitStore,
    connection: Connection[Any],
    catch_up: Callable[[], object],
    *,
    run_id: Id,
    at: datetime,
    limits: Limits,
) -> int:
    """Give all imported comments their place below parents that have arrived. Returns how many comments moved.

    ``catch_up`` waits until the view of comments stands where the log ends; it is called before each look. ``run_id``
    becomes the correlation id, ``at`` is now. Whoever replies to a comment while it moves may have been told its old
    place: the threads in which something moved are looked through until each comment is below its parent.
    """
    depth_max = limits.comment_depth_max
    moved = 0
    threads: set[Id] = set()
    while True:
        catch_up()
        now = _recorded(store, _attachments(connection, depth_max), threads, run_id, at)
        if not now:
            looked_at, threads = threads, set()
            now = _recorded(store, _misplaced(connection, looked_at, depth_max), threads, run_id, at)
        if not now:
            return moved
        moved += now


def _recorded(
    store: GroupCommitStore, attachments: Iterator[CommentAttached], threads: set[Id], run_id: Id, at: datetime
) -> int:
    """Record what is news, a batch at a time; gives how much that was, and adds the posts of it to ``threads``."""
    count = 0
    while batch := list(islice(attachments, BATCH_EVENTS)):
        found = _record(store, batch, run_id, at)
        threads.update(attached.post_id for attached in found)
        count += len(found)
    return count


def _attachments(connection: Connection[Any], depth_max: int) -> Iterator[CommentAttached]:
    """Where each comment belongs that is not there: the orphans, and all that stands below them.

    Post by post, so that one thread at a time is in memory.
    """
    with connection.transaction(), connection.cursor(name="orphans") as cursor:
        cursor.execute(
            "SELECT c.comment_id, c.post_id, c.path, p.path FROM views.comments c"
            " JOIN views.comments p ON p.comment_id = c.parent_id AND p.post_id = c.post_id"
            " WHERE c.orphan AND p.submitted_at IS NOT NULL ORDER BY c.post_id, c.path"
        )
        for post_id, rows in groupby((_Orphan(*row) for row in cursor), lambda orphan: orphan.post_id):
            for old, new in _moves(list(rows), depth_max).items():
                yield from _moved(connection, post_id, old, new, depth_max)


def _misplaced(connection: Connection[Any], threads: Collection[Id], depth_max: int) -> Iterator[CommentAttached]:
    """Where each comment of these threads belongs that is not below its parent, and all that stands below it."""
    rows = connection.execute(
        "SELECT c.post_id, c.path, p.path FROM views.comments c"
        " JOIN views.comments p ON p.comment_id = c.parent_id AND p.post_id = c.post_id"
        " WHERE c.post_id = ANY(%(threads)s::uuid[]) AND NOT c.orphan"
        " AND c.submitted_at IS NOT NULL AND p.submitted_at IS NOT NULL"
        " AND substr(c.path, 1, length(c.path) - %(own)s) <> substr(p.path, 1, %(most)s) ORDER BY c.post_id, c.path",
        {"threads": list(threads), "own": SEGMENT_BYTES, "most": (depth_max - 1) * SEGMENT_BYTES},
    ).fetchall()
    done: tuple[Id | None, bytes] = (None, b"")
    for post_id, old, above in rows:
        if post_id == done[0] and old.startswith(done[1]):
            continue  # it moves with what is above it; if that is not enough, the next look tells
        done = post_id, old
        yield from _moved(connection, post_id, old, below(Place(above, 0), old[-SEGMENT_BYTES:], depth_max), depth_max)


def _moved(
    connection: Connection[Any], post_id: Id, old: bytes, new: Place, depth_max: int
) -> Iterator[CommentAttached]:
    """The new places of a comment and of all that stands below it."""
    below_it = connection.execute(
        "SELECT comment_id, path FROM views.comments WHERE post_id = %s AND path >= %s AND path < %s ORDER BY path",
        (post_id, old, old[:-1] + bytes([old[-1] + 1]) if old[-1] < 255 else old + b"\xff"),
    )
    for comment_id, path in below_it:
        place = _under(new, path[len(old) :], depth_max)
        yield CommentAttached(comment_id=comment_id, post_id=post_id, path=place.path, depth=place.depth)


def _moves(orphans: Sequence[_Orphan], depth_max: int) -> dict[bytes, Place]:
    """The place of each orphan of one post, by its path until now.

    An orphan's parent may itself stand below another orphan, which moves too. Orphans that are each other's
    ancestors, as no real archive has them, stay where they are.
    """
    by_path = {orphan.path: orphan for orphan in orphans}
    places: dict[bytes, Place] = {}
    for orphan in orphans:
        chain: list[_Orphan] = []
        current: _Orphan | None = orphan
        while current is not None and current.path not in places and current not in chain:
            chain.append(current)
            current = by_path.get(current.parent_path[:SEGMENT_BYTES])
        if current is not None and current.path not in places:
            continue
        for link in reversed(chain):
            root = places.get(link.parent_path[:SEGMENT_BYTES])
            rest = link.parent_path[SEGMENT_BYTES:]
            parent = Place(link.parent_path, 0) if root is None else _under(root, rest, depth_max)
            places[link.path] = below(parent, link.path, depth_max)
    return places


def _under(place: Place, rest: bytes, depth_max: int) -> Place:
    for start in range(0, len(rest), SEGMENT_BYTES):
        place = below(place, rest[start : start + SEGMENT_BYTES], depth_max)
    return place


def _record(
    store: GroupCommitStore, batch: Sequence[CommentAttached], run_id: Id, at: datetime
) -> list[CommentAttached]:
    """Record those of the places that are news to their comments; gives these. Each conflict is decided again."""
    found: list[CommentAttached] = []
    while batch:
        streams = store.load_sync([attached.comment_id for attached in batch])
        news: list[CommentAttached] = []
        commands: list[tuple[Sequence[Append], Metadata]] = []
        for attached in batch:
            events = streams.get(attached.comment_id, ())
            comment = comments.START
            for recorded in events:
                comment = comments.evolve(comment, recorded.event)
            if comment is None or (comment.path == attached.path and not _waits(events[-1].event)):
                continue
            meta = Metadata(
                command_id=derived("attach", run_id, attached.comment_id),
                correlation_id=run_id,
                causation_id=run_id,
                actor_id=None,
                occurred_at=at,
                recorded_at=at,
            )
            news.append(attached)
            commands.append(([Append(attached.comment_id, len(events), (attached,))], meta))
        outcomes = list(zip(news, store.append_many(commands), strict=True))
        found += [attached for attached, outcome in outcomes if not isinstance(outcome, Conflict)]
        batch = [attached for attached, outcome in outcomes if isinstance(outcome, Conflict)]
    return found


def _waits(event: object) -> bool:
    return isinstance(event, comments.CommentImported) and event.orphan
