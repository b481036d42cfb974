"""``moot explain``: the events behind a post's score, its author's karma and its place in the feed."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from msgspec import Struct
from psycopg import Connection
from rich.markup import escape

from domain.ballot import VoteCast
from domain.comment import CommentDeleted, CommentImported, CommentSubmitted
from domain.event import Id
from domain.post import PostDeleted, PostImported, PostStickied, PostSubmitted, PostUnstickied
from infra.event_store import GroupCommitStore
from infra.failures import Failure
from infra.postgres import connect, connect_async
from infra.queries import formulas
from infra.queries import log as log_queries
from infra.secrets import load_secrets
from projections import ranking
from schemas.envelope import Recorded
from streams.cli.console import OK, DataDir, Output, OutputOption, out, show_json, show_table, words
from streams.cli.decoded import wire_of
from streams.cli.events import open_log
from streams.cli.session import engines
from streams.cli.subjects import find_subject

EVENTS_MAX = 100_000
"""Events of one post that are looked at."""


class NotAPost(Failure):
    """What was named is no post, or no view has seen it yet."""


class Why(Struct, frozen=True):
    """One event and what it did to the post: to its up and down votes, its comments and its author's karma."""

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


class Standing(Struct, frozen=True):
    """Where the sums put the post now. ``place`` counts from 1 in its community's Hot feed, stickied posts apart."""

    up: int
    down: int
    comments: int
    karma: int
    submitted_at: datetime | None
    hot: float
    place: int | None
    of: int
    sticky: bool
    deleted: bool
    agrees: bool
    """Whether the view holds the same numbers as the events add up to."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    explain = typer.Typer(no_args_is_help=True, help="Why something is as it is: the events behind it.")
    explain.command("post")(explain_post)
    app.add_typer(explain, name="explain")


def explain_post(
    name: Annotated[str, typer.Argument(help="The post's id, from the API or the log.", metavar="ID")],
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show the events behind a post's score, its author's karma and its place in the feed."""
    with engines(data_dir) as settings, open_log(settings) as log:
        database_url, _ = settings.engine_urls()
        post_id = find_subject(name, log, database_url, load_secrets(settings.data_dir).name_key)
        positions = asyncio.run(_positions(database_url, post_id))
        reasons = _reasons(post_id, _read(log, positions))
        if not any(reason.event.startswith("post.") for reason in reasons):
            raise NotAPost(
                f"No view knows a post {name}.",
                "It may be another kind of thing, or newer than the views.",
                "moot doctor",
            )
        with connect(database_url) as connection:
            standing = _standing(connection, post_id, reasons)
    if output is Output.JSON:
        show_json({"post_id": post_id, "events": [_plain(reason) for reason in reasons], "now": _plain(standing)})
    else:
        _show(reasons, standing)
    return OK


async def _positions(database_url: str, post_id: Id) -> Sequence[int]:
    connection = await connect_async(database_url)
    async with connection:
        return await log_queries.positions(connection, post_id, limit=EVENTS_MAX)


def _read(log: GroupCommitStore, positions: Sequence[int]) -> list[Recorded]:
    """The events at these positions, neighbours in one query."""
    found: list[Recorded] = []
    start = 0
    for end in range(1, len(positions) + 1):
        if end == len(positions) or positions[end] != positions[end - 1] + 1:
            found += log.read_sync(positions[start] - 1, end - start)
            start = end
    return found


def _reasons(post_id: Id, events: Sequence[Recorded]) -> list[Why]:
    reasons: list[Why] = []
    score = 0
    for recorded in events:
        effect = _effect(post_id, recorded.event)
        if effect is None:
            continue
        up, down, comments, karma, said = effect
        score += up - down
        reasons.append(
            Why(recorded.position, recorded.occurred_at, wire_of(recorded), up, down, comments, karma, said, score)
        )
    return reasons


def _effect(post_id: Id, event: Any) -> tuple[int, int, int, int, str] | None:
    """What an event adds to up votes, down votes, comments and karma, and in words; ``None``: nothing of the post."""
    if getattr(event, "post_id", None) != post_id:
        return None
    match event:
        case VoteCast(target_id=target) if target == post_id:
            up = (event.value > 0) - (event.previous > 0)
            down = (event.value < 0) - (event.previous < 0)
            karma = event.value - event.previous if event.author_id is not None else 0
            return up, down, 0, karma, f"vote {_signed(event.previous)} → {_signed(event.value)}"
        case PostImported():
            karma = event.up - event.down if event.author_id is not None else 0
            return event.up, event.down, 0, karma, "imported with its archive's totals"
        case CommentSubmitted() | CommentImported():
            return 0, 0, 1, 0, "a comment"
        case CommentDeleted():
            return 0, 0, -1, 0, "a comment less"
    return (0, 0, 0, 0, _SAID[type(event)]) if type(event) in _SAID else None


_SAID: dict[type[Any], str] = {
    PostSubmitted: "submitted; Hot counts its age from here",
    PostStickied: "on top of its community's feed from here",
    PostUnstickied: "in its ordinary place again",
    PostDeleted: "in no feed any more",
}
_FEED_ROW = """
SELECT community_id::text, submitted_at, up, down, comments, sticky, deleted
FROM views.feed WHERE post_id = %(post)s::uuid
"""
_PLACE = f"""
SELECT count(*), count(*) FILTER (WHERE (rank, submitted_at, post_id) > (%(hot)s, %(at)s, %(post)s::uuid)) + 1
FROM (
    SELECT {formulas.hot("up", "down", "submitted_at", "%(now)s::timestamptz")} AS rank, submitted_at, post_id
    FROM views.feed
    WHERE community_id = %(community)s::uuid AND submitted_at IS NOT NULL AND NOT deleted AND NOT sticky
) AS ranked
"""  # noqa: S608 - our own formulas; everything else is a parameter


def _standing(connection: Connection[Any], post_id: Id, reasons: Sequence[Why]) -> Standing:
    now = datetime.now(UTC)
    up, down = sum(reason.up for reason in reasons), sum(reason.down for reason in reasons)
    comments, karma = sum(reason.comments for reason in reasons), sum(reason.karma for reason in reasons)
    row = connection.execute(_FEED_ROW, {"post": post_id}).fetchone()
    if row is None:
        return Standing(up, down, comments, karma, None, 0.0, None, 0, sticky=False, deleted=False, agrees=False)
    community_id, submitted_at, *counted, sticky, deleted = row
    hot = ranking.hot(up, down, submitted_at, now) if submitted_at else 0.0
    place, of = None, 0
    if submitted_at and not deleted:
        asked = {"hot": hot, "at": submitted_at, "post": post_id, "community": community_id, "now": now}
        found = connection.execute(_PLACE, asked).fetchone()
        assert found is not None
        of, place = found[0], None if sticky else found[1]
    agrees = counted == [up, down, comments]
    return Standing(
        up, down, comments, karma, submitted_at, hot, place, of, sticky=sticky, deleted=deleted, agrees=agrees
    )


def _show(reasons: Sequence[Why], now: Standing) -> None:
    columns = ("position", "occurred", "event", "up", "down", "comments", "karma", "score", "effect")
    rows = [
        (
            reason.position,
            f"{reason.occurred_at:%Y-%m-%d %H:%M:%S}",
            reason.event,
            *(_signed(value) for value in (reason.up, reason.down, reason.comments, reason.karma)),
            reason.score,
            reason.effect,
        )
        for reason in reasons
    ]
    show_table(columns, rows, right=("position", "up", "down", "comments", "karma", "score"))
    out.print()
    lines = {
        "score": f"{now.up - now.down} = {now.up} up - {now.down} down",
        "karma": f"{now.karma:+} for the author from this post",
        "comments": f"{now.comments}",
        "place": _place(now),
    }
    for name, line in lines.items():
        out.print(f"[bold]{name:<9}[/] {escape(line)}", highlight=False)
    if not now.agrees:
        words.print("The view does not hold these numbers (yet). See: moot projections list")


def _place(now: Standing) -> str:
    if now.deleted:
        return "in no feed: it is deleted"
    if now.submitted_at is None:
        return "in no feed: its own first event is missing"
    score = max(ranking.HOT_SCORE_ADDED, now.up - now.down + ranking.HOT_SCORE_ADDED)
    formula = (
        f"Hot {now.hot:.6f} = log10({score}) / (hours since {now.submitted_at:%Y-%m-%d %H:%M:%S} UTC"
        f" + {ranking.HOT_HOURS_ADDED:g})^{ranking.HOT_GRAVITY:g}"
    )
    where = "stickied, on top" if now.sticky else f"place {now.place:,} of {now.of:,} in its community"
    return f"{where}; {formula}"


def _signed(value: int) -> str:
    return f"{value:+}" if value else "0"


def _plain(value: Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
