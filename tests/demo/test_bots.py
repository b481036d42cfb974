"""The demo's bots over real engines."""

import asyncio

import psycopg

from domain.message import MessageSent
from infra.composition import Moot, open_moot, utc_now
from infra.settings import Settings
from projections.catalogue import ALL
from streams.demo.bots import Bots
from streams.demo.week import Size, Week
from streams.runner import Runner

SMALL = Size(people=20, posts=60, comments=60, votes=60, follows=10, joins=10, chats=60)


async def acts(bots: Bots, more: int) -> None:
    """Wait until the bots have done so many things more."""
    enough = bots.acts + more
    while bots.acts < enough:
        await asyncio.wait_for(heard.get(), 30)


heard: asyncio.Queue[str] = asyncio.Queue()


async def watched(moot: Moot) -> None:
    week = Week(moot.store, name_key=moot.secrets.name_key, limits=moot.settings.rules, until=utc_now(), size=SMALL)
    await week.play()
    runner = Runner(moot.database_url, moot.store, ALL.values())
    runner.start()
    try:
        assert await asyncio.to_thread(runner.wait, await moot.store.head(), 60.0)
        before = await moot.store.head()
        bots = Bots(moot.commands, moot.pool, week.people, hall=week.hall, pause_seconds=0.01)
        working = asyncio.create_task(bots.run(heard.put_nowait))
        await acts(bots, 30)
        with psycopg.connect(moot.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await acts(bots, 30)
        assert not working.done()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        recorded = await moot.store.read(before, 10_000)
        assert any(isinstance(r.event, MessageSent) for r in recorded), "one of them chats"
        authors = {r.meta.actor_id for r in recorded}
        assert authors <= set(week.people)
        assert len(authors) > 5
    finally:
        runner.stop()


def test_they_live_through_an_outage_and_act_as_people_of_the_demo(settings: Settings) -> None:
    async def run() -> None:
        async with open_moot(settings) as moot:
            await watched(moot)

    asyncio.run(run())
