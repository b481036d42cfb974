"""The message log: history by cursor in both directions and around a message, and what changed since a position.

``MessageLog`` is where the messages themselves are read from; which there are in a channel, and when each last changed,
PostgreSQL says in any case.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import ClassVar, Protocol, TypeVar

from msgspec import Struct

from domain import snowflake
from domain.event import Id
from domain.limits import EMOJI_TOLD_MAX
from infra.queries.rows import Connection, Page, Slice, columns, fetch, sliced
from infra.single_flight import SingleFlight
from projections.message_counts import MONTH
from projections.messages import Message
from projections.reaction_counts import ReactionCount

T = TypeVar("T")

_MESSAGE = columns(Message, "m")
_NEWEST = 2**63 - 1


class Reader(Protocol):
    """How PostgreSQL is read: ``infra.reads.Reading``, or one connection (``On``)."""

    @property
    def server(self) -> str | None:
        """Which server is read. Whoever reads the same one may share a read; ``None``: with nobody."""
        ...

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What ``read`` gives, on a connection."""
        ...


class On(Struct, frozen=True):
    """A ``Reader`` on one connection."""

    connection: Connection
    server: ClassVar[None] = None

    async def run(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """See ``Reader``."""
        return await read(self.connection)


class MessageLog(Protocol):
    """Reads the messages of a channel or conversation. Who may see them is asked elsewhere. Ids are Snowflakes."""

    async def page(self, reader: Reader, channel_id: Id, where: Slice) -> Page[Message]:
        """Messages, the newest first, deleted ones among them. The cursor is an id."""
        ...

    async def by_ids(self, reader: Reader, channel_id: Id, message_ids: Sequence[int]) -> Mapping[int, Message]:
        """Those of the messages that there are."""
        ...

    async def by_keys(self, reader: Reader, keys: Sequence[tuple[Id, int]]) -> Mapping[tuple[Id, int], Message]:
        """Those that there are of messages of any channels, by channel and id."""
        ...


async def around(log: MessageLog, reader: Reader, channel_id: Id, message_id: int, size: int) -> Page[Message]:
    """So many messages with that one in their middle, the newest first; it need not be there itself."""
    newer = await log.page(reader, channel_id, Slice(size // 2, message_id, backward=True))
    older = await log.page(reader, channel_id, Slice(size - len(newer.items), message_id + 1))
    return Page([*newer.items, *older.items], older.has_next, newer.has_previous)


class _Asked(Struct, frozen=True):
    """A page that several may ask for, of the same server; by which of them it is read makes no difference."""

    server: str
    channel_id: Id
    where: Slice
    reader: Reader

    def __hash__(self) -> int:
        return hash((self.server, self.channel_id, self.where))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Asked):
            return NotImplemented
        return (self.server, self.channel_id, self.where) == (other.server, other.channel_id, other.where)


class PostgresMessages:
    """``MessageLog`` in a view of PostgreSQL. For one event loop."""

    def __init__(self) -> None:
        self._pages: SingleFlight[_Asked, Page[Message]] = SingleFlight(
            lambda asked: self._page(asked.reader, asked.channel_id, asked.where)
        )

    async def page(self, reader: Reader, channel_id: Id, where: Slice) -> Page[Message]:
        """See ``MessageLog``. Those who ask for the same page at the same time share one read."""
        server = reader.server
        if server is None:
            return await self._page(reader, channel_id, where)
        return await self._pages.ask(_Asked(server, channel_id, where, reader))

    async def _page(self, reader: Reader, channel_id: Id, where: Slice) -> Page[Message]:
        """Primary key: a month is a part of the id."""
        cursor = where.cursor
        if cursor is None:
            cursor = -1 if where.backward else _NEWEST
        compared, order = (">", "ASC") if where.backward else ("<", "DESC")
        sql = f"""SELECT {_MESSAGE} FROM views.messages m WHERE m.channel_id = %(channel)s::uuid
            AND (m.month, m.message_id) {compared} (%(month)s::bigint, %(cursor)s::bigint)
            ORDER BY m.month {order}, m.message_id {order} LIMIT %(limit)s"""
        parameters = {
            "channel": channel_id,
            "month": snowflake.month(cursor),
            "cursor": cursor,
            "limit": where.size + 1,
        }
        return sliced(await reader.run(lambda connection: fetch(connection, sql, parameters, Message)), where)

    async def by_ids(self, reader: Reader, channel_id: Id, message_ids: Sequence[int]) -> Mapping[int, Message]:
        """See ``MessageLog``. Primary key."""
        found = await self.by_keys(reader, [(channel_id, one) for one in message_ids])
        return {message_id: message for (_, message_id), message in found.items()}

    async def by_keys(self, reader: Reader, keys: Sequence[tuple[Id, int]]) -> Mapping[tuple[Id, int], Message]:
        """See ``MessageLog``. Primary key; one statement."""
        sql = f"""SELECT {_MESSAGE} FROM unnest(%(channels)s::uuid[], %(months)s::bigint[], %(ids)s::bigint[])
            AS k(channel_id, month, message_id) JOIN views.messages m USING (channel_id, month, message_id)"""
        parameters = {
            "channels": [channel_id for channel_id, _ in keys],
            "months": [snowflake.month(one) for _, one in keys],
            "ids": [one for _, one in keys],
        }
        found = await reader.run(lambda connection: fetch(connection, sql, parameters, Message))
        return {(message.channel_id, message.message_id): message for message in found}


async def months(connection: Connection, channel_id: Id) -> Sequence[int]:
    """The months in which the channel has messages, deleted ones included, in ascending order. Primary key."""
    sql = f"""SELECT c.number FROM views.message_counts c
        WHERE c.channel_id = %(id)s::uuid AND c.level = {MONTH} ORDER BY c.number"""
    return await fetch(connection, sql, {"id": channel_id}, int)


class Changed(Struct, frozen=True):
    """A message, the position of the last event about it, and that of the last event of the message itself."""

    message_id: int
    position: int
    said: int


async def changed_after(connection: Connection, channel_id: Id, position: int, limit: int) -> list[Changed]:
    """At most ``limit`` messages of the channel that changed after that position, the first change first. Index."""
    sql = """SELECT c.message_id, c.changed, c.said FROM views.channel_messages c
        WHERE c.channel_id = %(id)s::uuid AND c.changed > %(position)s AND c.author_id IS NOT NULL
        ORDER BY c.changed LIMIT %(limit)s"""
    return await fetch(connection, sql, {"id": channel_id, "position": position, "limit": limit}, Changed)


async def reactions(connection: Connection, message_ids: Collection[int]) -> dict[int, list[ReactionCount]]:
    """The most frequent reactions to each of the messages, these first. Primary key."""
    sql = f"""SELECT {columns(ReactionCount, "r")} FROM unnest(%(ids)s::bigint[]) AS m(id) CROSS JOIN LATERAL (
        SELECT * FROM views.reaction_counts c WHERE c.message_id = m.id
        ORDER BY c.count DESC, c.emoji LIMIT {EMOJI_TOLD_MAX}) r ORDER BY r.message_id, r.count DESC, r.emoji"""
    by_message: dict[int, list[ReactionCount]] = {}
    for one in await fetch(connection, sql, {"ids": list(message_ids)}, ReactionCount):
        by_message.setdefault(one.message_id, []).append(one)
    return by_message


async def reactors(
    connection: Connection, message_ids: Collection[int], limit: int
) -> Mapping[int, Mapping[str, Collection[Id]]] | None:
    """Who reacts to each of the messages, by emoji; ``None`` where these are more than ``limit``. Index."""
    sql = """SELECT r.message_id, r.emoji, r.account_id FROM views.reactions r
        WHERE r.message_id = ANY(%(ids)s::bigint[]) LIMIT %(limit)s"""
    found = await fetch(connection, sql, {"ids": list(message_ids), "limit": limit + 1}, lambda *row: row)
    if len(found) > limit:
        return None
    of: dict[int, dict[str, set[Id]]] = {}
    for message_id, emoji, account_id in found:
        of.setdefault(message_id, {}).setdefault(emoji, set()).add(account_id)
    return of


async def reacted(connection: Connection, viewer_id: Id, message_ids: Collection[int]) -> dict[int, set[str]]:
    """With what the viewer reacts to each of the messages. Index (message_id, account_id)."""
    sql = """SELECT r.message_id, r.emoji FROM views.reactions r
        WHERE r.message_id = ANY(%(ids)s::bigint[]) AND r.account_id = %(viewer)s::uuid"""
    by_message: dict[int, set[str]] = {}
    parameters = {"ids": list(message_ids), "viewer": viewer_id}
    for message_id, emoji in await fetch(connection, sql, parameters, lambda *row: row):
        by_message.setdefault(message_id, set()).add(emoji)
    return by_message
