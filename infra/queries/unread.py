"""What somebody has not read: how many messages of each channel, how many of them mention him, and the first of them.

Unread is what others, whom he does not block, wrote and did not delete, after where his marker stands or, as long as he
has not moved it since he joined, since he joined. After his marker is what has a larger id, and what has a smaller one
but came into the log after he moved it: he cannot have seen it. Since he joined is what came into the log after that,
whatever the clocks.

It is counted by months, days and minutes, and by single messages within one minute and for some minutes before where
it begins. So the cost of the number grows with how much he and those whom he blocks write, not with how much he missed.
Each mention is counted, `@everyone` among them, and the first is sought past what is deleted or theirs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from domain import snowflake
from domain.event import Id
from infra.queries.rows import Connection, fetch
from projections.message_counts import DAY, MINUTE, MONTH

LATE_SECONDS_MAX: Final = 120
"""So long after its id was made a message may come into the log and still be found behind a marker. It takes some
milliseconds, but for a process that was stopped in between; each second makes a count look at a second of messages."""

APART_SECONDS_MAX: Final = 60
"""How far the clock by which somebody joined may be from that of the ids."""


class Place(Struct, frozen=True):
    """A channel or conversation that he is in: since when, and by the event at which position.

    ``targets`` are the ids by which he is mentioned there: his own, those of his roles, that of everyone.
    """

    channel_id: Id
    joined_at: datetime
    joined_position: int
    targets: Sequence[Id]


class Unread(Struct, frozen=True):
    """What is unread in a channel. ``first_id`` is the Snowflake of the first such message.

    ``read_id`` is where the marker stands; ``None`` as long as he has not moved it since he joined.
    """

    count: int = 0
    mentions: int = 0
    first_id: int | None = None
    read_id: int | None = None


_MARKERS = """SELECT r.channel_id, r.message_id, r.position FROM views.read_markers r
    WHERE r.account_id = %(viewer)s::uuid AND r.channel_id = ANY(%(channels)s::uuid[])"""

_COUNTS = f"""
WITH asked AS (
    SELECT * FROM unnest(%(channels)s::uuid[], %(after)s::bigint[], %(since)s::bigint[], %(back)s::bigint[],
        %(month)s::bigint[], %(day)s::bigint[], %(days_end)s::bigint[],
        %(minute)s::bigint[], %(minutes_end)s::bigint[], %(minute_end)s::bigint[])
        AS a(channel_id, after, since, back, month, day, days_end, minute, minutes_end, minute_end)),
target AS (SELECT * FROM unnest(%(of)s::uuid[], %(targets)s::uuid[]) AS t(channel_id, target_id)),
unheard AS MATERIALIZED (
    SELECT ARRAY(SELECT b.blocked_id FROM views.blocks b WHERE b.blocker_id = %(viewer)s::uuid)
        || %(viewer)s::uuid AS authors),
late AS MATERIALIZED (
    SELECT m.channel_id, m.message_id FROM unheard u CROSS JOIN asked a
        JOIN views.channel_messages m ON m.channel_id = a.channel_id
        AND m.message_id > a.back AND m.message_id <= a.after AND m.position > a.since
        AND NOT m.deleted AND m.author_id <> ALL(u.authors))
SELECT a.channel_id,
    (SELECT coalesce(sum(c.live), 0) FROM views.message_counts c
        WHERE c.channel_id = a.channel_id AND c.level = {MONTH} AND c.number > a.month)
    + (SELECT coalesce(sum(c.live), 0) FROM views.message_counts c
        WHERE c.channel_id = a.channel_id AND c.level = {DAY} AND c.number > a.day AND c.number < a.days_end)
    + (SELECT coalesce(sum(c.live), 0) FROM views.message_counts c
        WHERE c.channel_id = a.channel_id AND c.level = {MINUTE} AND c.number > a.minute AND c.number < a.minutes_end)
    + (SELECT count(*) FROM views.channel_messages m WHERE m.channel_id = a.channel_id
        AND m.message_id > a.after AND m.message_id < a.minute_end AND NOT m.deleted AND m.author_id IS NOT NULL)
    - (SELECT count(*) FROM views.channel_messages m WHERE m.channel_id = a.channel_id
        AND m.author_id = ANY(u.authors) AND m.message_id > a.after AND NOT m.deleted)
    + (SELECT count(*) FROM late l WHERE l.channel_id = a.channel_id),
    (SELECT count(DISTINCT n.message_id) FROM target t JOIN views.message_mentions n USING (channel_id, target_id)
        WHERE t.channel_id = a.channel_id AND n.message_id > a.after AND n.author_id <> ALL(u.authors))
    + (SELECT count(DISTINCT n.message_id) FROM late l JOIN target t USING (channel_id)
        JOIN views.message_mentions n USING (channel_id, target_id, message_id) WHERE l.channel_id = a.channel_id),
    least(
        (SELECT m.message_id FROM views.channel_messages m WHERE m.channel_id = a.channel_id
            AND m.message_id > a.after AND NOT m.deleted AND m.author_id <> ALL(u.authors)
            ORDER BY m.message_id LIMIT 1),
        (SELECT min(l.message_id) FROM late l WHERE l.channel_id = a.channel_id))
FROM asked a CROSS JOIN unheard u"""


class _Since(Struct, frozen=True):
    """Unread are ids above ``after``, and those above ``back`` that came into the log after the position ``since``."""

    after: int
    since: int
    back: int


async def unread(connection: Connection, viewer_id: Id, places: Sequence[Place]) -> dict[Id, Unread]:
    """What the viewer has not read in each of the places. Two statements. Primary keys and indexes.

    Read it as of one moment (``servers.one_moment``), or a message can be in one of its counts and not in another.
    """
    if not places:
        return {}
    named = {"viewer": viewer_id, "channels": [place.channel_id for place in places]}
    found = await fetch(connection, _MARKERS, named, lambda *row: row)
    positions = {place.channel_id: place.joined_position for place in places}
    markers = {
        channel_id: (message_id, position)
        for channel_id, message_id, position in found
        if position > positions[channel_id]
    }
    begun = [_since(place, markers.get(place.channel_id)) for place in places]
    counted = await fetch(connection, _COUNTS, {**named, **_bounds(begun), **_targets(places)}, lambda *row: row)
    return {
        channel_id: Unread(int(count), mentions, first_id, markers[channel_id][0] if channel_id in markers else None)
        for channel_id, count, mentions, first_id in counted
    }


def _since(place: Place, marker: tuple[int, int] | None) -> _Since:
    if marker is not None:
        after, since = marker
        return _Since(after, since, _back(after, LATE_SECONDS_MAX))
    # The clock by which he joined need not be that of the ids: well above both, the log alone says what came first.
    after = snowflake.first_at(place.joined_at + timedelta(seconds=APART_SECONDS_MAX)) - 1
    return _Since(after, place.joined_position, _back(after, LATE_SECONDS_MAX + 2 * APART_SECONDS_MAX))


def _back(after: int, seconds: int) -> int:
    return max(0, snowflake.made(snowflake.milliseconds(after) - seconds * 1000, 0, 0)) - 1


def _bounds(begun: Sequence[_Since]) -> Mapping[str, Sequence[int]]:
    """Where each of them begins, of its id the minute, day and month, and where each of these ends."""
    after = [one.after for one in begun]
    months = [snowflake.month(one) for one in after]
    days, minutes = [snowflake.day(one) for one in after], [snowflake.minute(one) for one in after]
    return {
        "after": after,
        "since": [one.since for one in begun],
        "back": [one.back for one in begun],
        "month": months,
        "day": days,
        "days_end": [snowflake.day(snowflake.first_of_month(month + 1)) for month in months],
        "minute": minutes,
        "minutes_end": [(day + 1) * 24 * 60 for day in days],
        "minute_end": [snowflake.first_of_minute(minute + 1) for minute in minutes],
    }


def _targets(places: Sequence[Place]) -> Mapping[str, Sequence[Id]]:
    named = [(place.channel_id, target_id) for place in places for target_id in place.targets]
    return {"of": [channel_id for channel_id, _ in named], "targets": [target_id for _, target_id in named]}


async def last_change(connection: Connection, viewer_id: Id, server_id: Id) -> int:
    """The position of the last message, edit or deletion in the server, or move of the viewer's markers. Indexes."""
    sql = """SELECT greatest(0,
        (SELECT max(a.position) FROM views.channel_activity a WHERE a.server_id = %(server)s::uuid),
        (SELECT max(r.position) FROM views.read_markers r WHERE r.account_id = %(viewer)s::uuid))"""
    (position,) = await fetch(connection, sql, {"server": server_id, "viewer": viewer_id}, int)
    return position
