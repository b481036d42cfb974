"""What events did to a post or comment, and where that puts a comment."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import Connection

from domain.ballot import VoteCast
from domain.comment import CommentAttached, CommentDeleted, CommentImported, CommentSubmitted
from domain.event import Id
from domain.post import PostDeleted, PostImported, PostStickied, PostSubmitted, PostUnstickied
from infra.queries import formulas
from projections import ranking
from schemas.envelope import Recorded
from streams.cli.decoded import wire_of

Effect = tuple[int, int, int, int, str]
"""What an event adds to up votes, down votes, comments below and karma, and in words."""

SHOWN_MAX = 10_000
"""Events that are shown one by one. Where there are more, these are the newest; added up are all."""


class Why(Struct, frozen=True):
    """One event and what it did: to up and down votes, to comments below, and to the author's karma."""

    position: int
    occurred_at: datetime
    event: str
    up: int
    down: int
    comments: int
    karma: int
    effect: str
    score: int
    """After the event."""


class Told(Struct, frozen=True):
    """What the events of a post or comment did to it: all of them added up, and the newest one by one."""

    up: int
    down: int
    comments: int
    karma: int
    shown: Sequence[Why]
    earlier: int
    """How many came before those that are shown."""


def add_up(
    subject_id: Id,
    events: Iterable[Recorded],
    effect_of: Callable[[Id, Any], Effect | None],
    *,
    shown_max: int = SHOWN_MAX,
) -> Told:
    """What those events, in the order of the log, did to a subject. Takes memory for ``shown_max`` of them only."""
    shown: deque[Why] = deque(maxlen=shown_max)
    up = down = comments = karma = count = 0
    for recorded in events:
        effect = effect_of(subject_id, recorded.event)
        if effect is None:
            continue
        up, down, comments, karma = up + effect[0], down + effect[1], comments + effect[2], karma + effect[3]
        count += 1
        shown.append(Why(recorded.position, recorded.occurred_at, wire_of(recorded), *effect, score=up - down))
    return Told(up, down, comments, karma, tuple(shown), count - len(shown))


class CommentStanding(Struct, frozen=True):
    """Where the sums put a comment now. ``place`` counts from 1 among its siblings by Best."""

    up: int
    down: int
    replies: int
    karma: int
    submitted_at: datetime | None
    best: float
    place: int | None
    of: int
    deleted: bool
    agrees: bool
    """Whether the views hold the same numbers as the events add up to."""
    parked: bool
    """Whether a view could not take an event of it."""


def vote_effect(event: VoteCast) -> Effect:
    """What a vote adds to its target."""
    up = (event.value > 0) - (event.previous > 0)
    down = (event.value < 0) - (event.previous < 0)
    karma = event.value - event.previous if event.author_id is not None else 0
    return up, down, 0, karma, f"vote {signed(event.previous)} → {signed(event.value)}"


def post_effect(post_id: Id, event: Any) -> Effect | None:
    """What an event adds to the post; ``None``: nothing."""
    if getattr(event, "post_id", None) != post_id:
        return None
    match event:
        case VoteCast(target_id=target) if target == post_id:
            return vote_effect(event)
        case PostImported():
            karma = event.up - event.down if event.author_id is not None else 0
            return event.up, event.down, 0, karma, "imported with its archive's totals"
        case CommentImported(removed=True):
            return 0, 0, 0, 0, "a comment that its archive has without a text"
        case CommentSubmitted() | CommentImported() | CommentDeleted():
            gone = isinstance(event, CommentDeleted)
            return 0, 0, -1 if gone else 1, 0, "a comment less" if gone else "a comment"
    return (0, 0, 0, 0, _SAID_OF_POSTS[type(event)]) if type(event) in _SAID_OF_POSTS else None


def comment_effect(comment_id: Id, event: Any) -> Effect | None:
    """What an event adds to the comment; ``None``: nothing."""
    match event:
        case VoteCast(target_id=target) if target == comment_id:
            return vote_effect(event)
        case CommentSubmitted() | CommentImported() if event.parent_id == comment_id:
            return 0, 0, 1, 0, "a reply"
        case CommentImported() if event.comment_id == comment_id:
            karma = event.up - event.down if event.author_id is not None else 0
            return event.up, event.down, 0, karma, "imported with its archive's totals"
    said = _SAID.get(type(event)) if getattr(event, "comment_id", None) == comment_id else None
    return None if said is None else (0, 0, 0, 0, said)


_SAID_OF_POSTS: dict[type[Any], str] = {
    PostSubmitted: "submitted; Hot counts its age from here",
    PostStickied: "leads its community's Hot feed from here",
    PostUnstickied: "in its ordinary place again",
    PostDeleted: "in no feed any more",
}
_SAID: dict[type[Any], str] = {
    CommentSubmitted: "submitted; of equal rank, the newest is first",
    CommentAttached: "below its parent from here",
    CommentDeleted: "without its text from here; shown while it has replies",
}
_ROW = """
SELECT c.submitted_at, coalesce(s.up, 0), coalesce(s.down, 0), c.replies, c.deleted
FROM views.comments c LEFT JOIN views.scores s ON s.target_id = c.comment_id WHERE c.comment_id = %(comment)s::uuid
"""
_PLACE = f"""
WITH ranked AS (
    SELECT {formulas.best("coalesce(s.up, 0)", "coalesce(s.down, 0)")} AS rank, c.submitted_at, c.comment_id
    FROM views.comments own JOIN views.comments c ON c.post_id = own.post_id
        AND CASE WHEN own.depth = 1 THEN c.depth = 1 ELSE c.parent_id = own.parent_id AND NOT c.orphan END
    LEFT JOIN views.scores s ON s.target_id = c.comment_id
    WHERE own.comment_id = %(comment)s::uuid AND c.submitted_at IS NOT NULL AND (NOT c.deleted OR c.replies > 0))
SELECT count(*), count(*) FILTER (WHERE (r.rank, r.submitted_at, r.comment_id) > (o.rank, o.submitted_at, o.comment_id))
    + 1
FROM ranked r JOIN ranked o ON o.comment_id = %(comment)s::uuid
"""  # noqa: S608 - our own formulas; everything else is a parameter


def comment_standing(connection: Connection[Any], comment_id: Id, told: Told, *, parked: bool) -> CommentStanding:
    """What the events add up to, beside what the views hold."""
    up, down, replies, karma = told.up, told.down, told.comments, told.karma
    best = ranking.best(up, down)
    row = connection.execute(_ROW, {"comment": comment_id}).fetchone()
    if row is None:
        return CommentStanding(
            up, down, replies, karma, None, best, None, 0, deleted=False, agrees=False, parked=parked
        )
    submitted_at, *counted, deleted = row
    found = connection.execute(_PLACE, {"comment": comment_id}).fetchone()
    of, place = found if found is not None and found[0] else (0, None)
    agrees = counted == [up, down, replies]
    return CommentStanding(
        up, down, replies, karma, submitted_at, best, place, of, deleted=deleted, agrees=agrees, parked=parked
    )


def lines_of(now: CommentStanding) -> Mapping[str, str]:
    """The sums in words, by what they are."""
    return {
        "score": f"{now.up - now.down} = {now.up} up - {now.down} down",
        "karma": f"{now.karma:+} for the author from this comment",
        "replies": f"{now.replies}",
        "place": _place(now),
    }


def _place(now: CommentStanding) -> str:
    if now.submitted_at is None:
        return "in no thread: parked: see moot doctor" if now.parked else "in no thread yet: see moot projections list"
    if now.place is None:
        return "in no thread: it is deleted and has no replies"
    share = f"Best {now.best:.6f}, the least share of up votes that {now.up} of {now.up + now.down} votes make likely"
    return f"place {now.place:,} of {now.of:,} among its siblings; {share}"


def signed(value: int) -> str:
    """With its sign, but for 0."""
    return f"{value:+}" if value else "0"
