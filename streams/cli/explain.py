"""``moot explain``: the events behind the score of a post or comment, its author's karma and its place."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Struct
from psycopg import Connection
from rich.markup import escape

from domain.event import Id
from domain.limits import LEADING_POSTS_MAX
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
from streams.cli.reasons import (
    CommentStanding,
    Told,
    add_up,
    comment_effect,
    comment_standing,
    lines_of,
    post_effect,
    signed,
)
from streams.cli.session import engines
from streams.cli.subjects import find_subject

POSITIONS_AT_ONCE = 100_000
"""Positions of events that one query gives."""
EVENTS_AT_ONCE = 10_000
"""Events that are in memory at a time."""


class NotExplained(Failure):
    """What was named is of another kind than was asked for, or the log has nothing by that id."""


class Standing(Struct, frozen=True):
    """Where the sums put the post now.

    ``place`` counts from 1 in its community's Hot feed, after the sticky posts that lead it. Those have none.
    """

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
    parked: bool
    """Whether a view could not take an event of it: then the view's numbers wait for the cause to be gone."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    explain = typer.Typer(no_args_is_help=True, help="Why something is as it is: the events behind it.")
    explain.command("post")(explain_post)
    explain.command("comment")(explain_comment)
    app.add_typer(explain, name="explain")


def explain_post(
    name: Annotated[str, typer.Argument(help="The post's id, from the API or the log.", metavar="ID")],
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show the events behind a post's score, its author's karma and its place in the feed."""
    with _events_of("post", name, data_dir) as (post_id, events, connection):
        told = add_up(post_id, events, post_effect)
        standing = _standing(connection, post_id, told, parked=_parked(connection, events))
    if output is Output.JSON:
        show_json({"post_id": post_id, **_events(told), "now": _plain(standing)})
    else:
        _show(told, standing)
    return OK


def explain_comment(
    name: Annotated[str, typer.Argument(help="The comment's id, from the API or the log.", metavar="ID")],
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show the events behind a comment's score, its author's karma and its place among its siblings by Best."""
    with _events_of("comment", name, data_dir) as (comment_id, events, connection):
        told = add_up(comment_id, events, comment_effect)
        standing = comment_standing(connection, comment_id, told, parked=_parked(connection, events))
    if output is Output.JSON:
        show_json({"comment_id": comment_id, **_events(told), "now": _plain(standing)})
    else:
        _show_events(told)
        _show_lines(standing, lines_of(standing))
    return OK


@contextmanager
def _events_of(kind: str, name: str, data_dir: Path | None) -> Iterator[tuple[Id, "_Events", Connection[Any]]]:
    """The events that touch what is named, and a connection to its views. Raises ``NotExplained``."""
    with engines(data_dir) as settings, open_log(settings) as log:
        database_url, _ = settings.engine_urls()
        subject_id = find_subject(name, log, database_url, load_secrets(settings.secrets_place).name_key)
        own = log.load_sync([subject_id])[subject_id]
        _check_kind(kind, name, own)
        positions = asyncio.run(_positions(database_url, subject_id))
        # Its own events also where the index of subjects has not seen them, or could not take them.
        positions = sorted({*positions, *(recorded.position for recorded in own)})
        with connect(database_url) as connection:
            yield subject_id, _Events(log, positions), connection


class _Events:
    """The events at those positions of the log, in order, read as they are asked for."""

    def __init__(self, log: GroupCommitStore, positions: Sequence[int]) -> None:
        self._log = log
        self.positions = positions

    def __iter__(self) -> Iterator[Recorded]:
        start, positions = 0, self.positions
        for end in range(1, len(positions) + 1):
            # Neighbours in one query.
            last = end == len(positions) or positions[end] != positions[end - 1] + 1
            if last or end - start == EVENTS_AT_ONCE:
                yield from self._log.read_sync(positions[start] - 1, end - start)
                start = end


def _check_kind(kind: str, name: str, own: Sequence[Recorded]) -> None:
    if not own:
        raise NotExplained(
            f"There is no {kind} {name}.", "The log has no event of that id.", "Find one: moot events tail"
        )
    found = wire_of(own[0]).partition(".")[0]
    if found != kind:
        fix = f"moot explain {found} {name}" if found in ("post", "comment") else f"moot events stream {name}"
        raise NotExplained(
            f"{name} is no {kind}: it is of the kind {found}.", "Each kind is explained by other sums.", fix
        )


def _parked(connection: Connection[Any], events: _Events) -> bool:
    """Whether a view that this command reads has one of the events among its dead letters."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM views.dead_letters WHERE projection = ANY(%s) AND position = ANY(%s))",
        (["feed", "comments", "scores", "subjects"], list(events.positions)),
    ).fetchone()
    return row is not None and bool(row[0])


async def _positions(database_url: str, subject_id: Id) -> Sequence[int]:
    found: list[int] = []
    connection = await connect_async(database_url)
    async with connection:
        while True:
            after = found[-1] if found else 0
            page = await log_queries.positions(connection, subject_id, after=after, limit=POSITIONS_AT_ONCE)
            found += page
            if len(page) < POSITIONS_AT_ONCE:
                return found


_FEED_ROW = """
SELECT community_id::text, submitted_at, up, down, comments, sticky, deleted
FROM views.feed WHERE post_id = %(post)s::uuid
"""
_PLACE = f"""
WITH shown AS (
    SELECT post_id, submitted_at, up, down, sticky FROM views.feed
    WHERE community_id = %(community)s::uuid AND submitted_at IS NOT NULL AND NOT deleted
), lead AS (
    SELECT post_id FROM shown WHERE sticky ORDER BY submitted_at DESC, post_id DESC LIMIT {LEADING_POSTS_MAX}
)
SELECT count(*),
    count(*) FILTER (WHERE (rank, submitted_at, post_id) > (%(hot)s, %(at)s, %(post)s::uuid)) + 1,
    EXISTS (SELECT FROM lead WHERE post_id = %(post)s::uuid)
FROM (
    SELECT {formulas.hot("up", "down", "submitted_at", "%(now)s::timestamptz")} AS rank, submitted_at, post_id
    FROM shown WHERE post_id NOT IN (SELECT post_id FROM lead)
) AS ranked
"""  # noqa: S608 - our own formulas; everything else is a parameter


def _standing(connection: Connection[Any], post_id: Id, told: Told, *, parked: bool) -> Standing:
    now = datetime.now(UTC)
    up, down, comments, karma = told.up, told.down, told.comments, told.karma
    row = connection.execute(_FEED_ROW, {"post": post_id}).fetchone()
    if row is None:
        return Standing(
            up, down, comments, karma, None, 0.0, None, 0, sticky=False, deleted=False, agrees=False, parked=parked
        )
    community_id, submitted_at, *counted, sticky, deleted = row
    hot = ranking.hot(up, down, submitted_at, now) if submitted_at else 0.0
    place, of = None, 0
    if submitted_at and not deleted:
        asked = {"hot": hot, "at": submitted_at, "post": post_id, "community": community_id, "now": now}
        found = connection.execute(_PLACE, asked).fetchone()
        assert found is not None
        of, place = found[0], None if found[2] else found[1]
    agrees = counted == [up, down, comments]
    return Standing(
        up,
        down,
        comments,
        karma,
        submitted_at,
        hot,
        place,
        of,
        sticky=sticky,
        deleted=deleted,
        agrees=agrees,
        parked=parked,
    )


def _show_events(told: Told) -> None:
    columns = ("position", "occurred", "event", "up", "down", "comments", "karma", "score", "effect")
    rows = [
        (
            reason.position,
            f"{reason.occurred_at:%Y-%m-%d %H:%M:%S}",
            reason.event,
            *(signed(value) for value in (reason.up, reason.down, reason.comments, reason.karma)),
            reason.score,
            reason.effect,
        )
        for reason in told.shown
    ]
    if told.earlier:
        out.print(f"{told.earlier:,} earlier events, added up below", highlight=False)
    show_table(columns, rows, right=("position", "up", "down", "comments", "karma", "score"))
    out.print()


def _show(told: Told, now: Standing) -> None:
    _show_events(told)
    lines = {
        "score": f"{now.up - now.down} = {now.up} up - {now.down} down",
        "karma": f"{now.karma:+} for the author from this post",
        "comments": f"{now.comments}",
        "place": _place(now),
    }
    _show_lines(now, lines)


def _show_lines(now: Standing | CommentStanding, lines: Mapping[str, str]) -> None:
    for name, line in lines.items():
        out.print(f"[bold]{name:<9}[/] {escape(line)}", highlight=False)
    if not now.agrees:
        words.print("The view does not hold these numbers (yet). See: moot projections list")


def _place(now: Standing) -> str:
    if now.deleted:
        return "in no feed: it is deleted"
    if now.submitted_at is None:
        # The events were found, so what is missing is in the view alone.
        return "in no feed: parked: see moot doctor" if now.parked else "in no feed yet: see moot projections list"
    score = max(ranking.HOT_SCORE_ADDED, now.up - now.down + ranking.HOT_SCORE_ADDED)
    formula = (
        f"Hot {now.hot:.6f} = log10({score}) / (hours since {now.submitted_at:%Y-%m-%d %H:%M:%S} UTC"
        f" + {ranking.HOT_HOURS_ADDED:g})^{ranking.HOT_GRAVITY:g}"
    )
    where = (
        "sticky, it leads its community" if now.place is None else f"place {now.place:,} of {now.of:,} in its community"
    )
    return f"{where}; {formula}"


def _events(told: Told) -> dict[str, Any]:
    return {"events": [_plain(why) for why in told.shown], "earlier_events": told.earlier}


def _plain(value: Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
