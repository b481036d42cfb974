"""What somebody has not read: how many messages of each channel, how many of them mention him, and the first of them.

Unread is what others wrote and did not delete, after where his marker stands or, as long as he has not moved it since
he joined, since he joined. It is counted by months, days and minutes, and by single messages within one minute alone,
so the cost grows with how much he writes himself, not with how much he missed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from domain import snowflake
from domain.event import Id
from infra.queries.rows import Connection, fetch
from projections.message_counts import DAY, MINUTE, MONTH


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
    SELECT * FROM unnest(%(channels)s::uuid[], %(after)s::bigint[], %(month)s::bigint[], %(day)s::bigint[],
        %(days_end)s::bigint[], %(minute)s::bigint[], %(minutes_end)s::bigint[], %(minute_end)s::bigint[])
        AS a(channel_id, after, month, day, days_end, minute, minutes_end, minute_end)),
target AS (SELECT * FROM unnest(%(of)s::uuid[], %(targets)s::uuid[]) AS t(channel_id, target_id))
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
        AND m.author_id = %(viewer)s::uuid AND m.message_id > a.after AND NOT m.deleted),
    (SELECT count(DISTINCT n.message_id) FROM target t JOIN views.message_mentions n USING (channel_id, target_id)
        WHERE t.channel_id = a.channel_id AND n.message_id > a.after AND n.author_id <> %(viewer)s::uuid),
    (SELECT m.message_id FROM views.channel_messages m WHERE m.channel_id = a.channel_id
        AND m.message_id > a.after AND NOT m.deleted AND m.author_id <> %(viewer)s::uuid
        ORDER BY m.message_id LIMIT 1)
FROM asked a"""


async def unread(connection: Connection, viewer_id: Id, places: Sequence[Place]) -> dict[Id, Unread]:
    """What the viewer has not read in each of the places. Two statements. Primary keys and indexes.

    Read it as of one moment (``servers.one_moment``), or a message can be in one of its counts and not in another.
    """
    if not places:
        return {}
    named = {"viewer": viewer_id, "channels": [place.channel_id for place in places]}
    found = await fetch(connection, _MARKERS, named, lambda *row: row)
    markers = {channel_id: (message_id, position) for channel_id, message_id, position in found}
    read = {place.channel_id: _read(place, markers.get(place.channel_id)) for place in places}
    after = [
        snowflake.first_at(place.joined_at) - 1 if (marker := read[place.channel_id]) is None else marker
        for place in places
    ]
    counted = await fetch(connection, _COUNTS, {**named, **_bounds(after), **_targets(places)}, lambda *row: row)
    return {
        channel_id: Unread(int(count), mentions, first_id, read[channel_id])
        for channel_id, count, mentions, first_id in counted
    }


def _read(place: Place, marker: tuple[int, int] | None) -> int | None:
    return marker[0] if marker is not None and marker[1] > place.joined_position else None


def _bounds(after: Sequence[int]) -> Mapping[str, Sequence[int]]:
    """Of each of these ids the minute, day and month, and where each of them ends."""
    months = [snowflake.month(one) for one in after]
    days, minutes = [snowflake.day(one) for one in after], [snowflake.minute(one) for one in after]
    return {
        "after": after,
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
