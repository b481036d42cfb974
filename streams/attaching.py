"""Imported comments that came before their parents find their place, once the parents are there.

Reads the view of comments to find out which, and decides by their streams: nothing is recorded for a comment that
is in its place already, so this may run at any time, and again.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
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


def attach(store: GroupCommitStore, connection: Connection[Any], *, run_id: Id, at: datetime, limits: Limits) -> int:
    """Give all imported comments their place below parents that have arrived. Returns how many moved.

    The view of comments must have caught up with the import. ``run_id`` becomes the correlation id, ``at`` is now.
    """
    moved = 0
    batch: list[CommentAttached] = []
    for attached in _attachments(connection, limits.comment_depth_max):
        batch.append(attached)
        if len(batch) >= BATCH_EVENTS:
            moved += _record(store, batch, run_id, at)
            batch = []
    return moved + _record(store, batch, run_id, at)


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
                below_it = connection.execute(
                    "SELECT comment_id, path FROM views.comments"
                    " WHERE post_id = %s AND path >= %s AND path < %s ORDER BY path",
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


def _record(store: GroupCommitStore, batch: Sequence[CommentAttached], run_id: Id, at: datetime) -> int:
    """Record those of the places that are news to their comments; how many were."""
    streams = store.load_sync([attached.comment_id for attached in batch])
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
        commands.append(([Append(attached.comment_id, len(events), (attached,))], meta))
    return sum(not isinstance(outcome, Conflict) for outcome in store.append_many(commands))


def _waits(event: object) -> bool:
    return isinstance(event, comments.CommentImported) and event.orphan
