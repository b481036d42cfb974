"""What is told to whoever follows what he has not read, where the views are folded partition by partition."""

import asyncio

from domain import snowflake
from domain.event import Id
from domain.message import MessageSent
from infra.postgres import pool
from infra.rows import transaction
from infra.signals import MemorySignals
from infra.tables import Table
from projections.catalogue import ALL
from projections.core import touched_keys
from projections.stepping import fold_into
from read_api.live.following import NOW, Event, Follower, FollowLimits
from read_api.live.registry import Topics
from read_api.live.sources import UnreadSource
from schemas.envelope import Recorded
from tests.queries.site import Site, ident

SERVER, HERE, THERE, BOB, ADA = (ident("unread", n) for n in range(5))


def sent(where: Id, number: int) -> MessageSent:
    return MessageSent(snowflake.as_id(number << 22), where, SERVER, ADA, None, b"", "x", "")


def fold(site: Site, event: Recorded) -> dict[str, int]:
    """Fold one event that comes from a partition of its own, and say which channel to wake."""
    projection = ALL["channel_activity"]
    with transaction(site._connection, {projection.name: Table(projection)}) as opened:
        fold_into(projection, [event], opened.rows(projection.name), touched_keys(projection, [event]))
    return {f"activity:{SERVER}": event.position}


def test_what_a_partition_brings_late_is_told_as_well(site: Site) -> None:
    """The message of a partition that is behind has a lower position than what was told last."""
    site.happen(sent(HERE, 1))
    site.happen(sent(THERE, 2))
    behind, ahead = site.log

    class Admitting(UnreadSource, frozen=True):
        async def admitted(self, *_: object) -> None:
            return None

    async def scene() -> None:
        pooled, signals = pool(site.conninfo), MemorySignals()
        await pooled.open(wait=True)
        topics = Topics(signals, pooled, FollowLimits())
        heard: asyncio.Queue[Event] = asyncio.Queue()

        async def ready() -> None: ...

        source = Admitting(BOB, SERVER, lambda _, position: position, 0.0)
        async with topics.following(source, Follower(BOB, NOW, heard.put_nowait), ready):
            assert (await asyncio.wait_for(heard.get(), 10)).payload == 0
            for event in (ahead, behind):
                signals.publish(fold(site, event), event.position)
                told = await asyncio.wait_for(heard.get(), 10)
                assert told.payload == ahead.position, "the cursor is the furthest that was told"
        await pooled.close()

    asyncio.run(scene())
