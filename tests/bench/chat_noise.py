"""What a quiet channel feels of a flood in another one, whose server has 50,000 members.

Both are followed through one gateway process: the quiet channel by 100 people, the flooded one by the 500 of its
members who are there; the others are offline, and their unread counts grow. What is timed is each message of the quiet
channel, from its acknowledgement until the last of the 100 has it; the baseline is the same before the flood.
"""

import asyncio
from typing import Any

import uvloop

from tests.bench.chat import Followers, Room, Timed, Writing, chat_server, fill, timed
from tests.bench.serving import Served, empty_site, said

MEMBERS = 50_000
PRESENT, QUIET = 500, 100
FLOOD_PER_SECOND, QUIET_PER_SECOND = 50.0, 10.0
SECONDS, SECONDS_LONG = 8.0, 30.0
WARM_UP = 20
"""Messages before those that are timed: at first connections are opened and views of 50,000 joinings finish."""
GOAL_RATIO = 2.0


def run(long: bool) -> list[dict[str, Any]]:
    """The result ``p99_quiet``."""
    seconds = SECONDS_LONG if long else SECONDS
    with empty_site() as settings:
        large, small = uvloop.run(fill(settings, [(MEMBERS, PRESENT), (QUIET + 50, QUIET)]))
        said(f"{MEMBERS:,} members have joined")
        with chat_server(settings) as api, chat_server(settings, "gateway") as gateway:
            idle, flooded = uvloop.run(_measure(api, gateway, large, small, seconds))
    value, before = flooded.milliseconds(99), idle.milliseconds(99)
    return [
        {
            "name": "p99_quiet",
            "value": round(value, 1),
            "unit": "ms",
            "baseline": round(before, 1),
            "ratio": round(before / value, 2),
            "goal": f"at most {GOAL_RATIO:.0f} times its value without the flood",
            "holds": value <= GOAL_RATIO * before,
        }
    ]


async def _measure(api: Served, gateway: Served, large: Room, small: Room, seconds: float) -> tuple[Timed, Timed]:
    quiet, crowd = Followers(small), Followers(large)
    writing, flooding = Writing(small, api.port, connections=2), Writing(large, api.port)
    for followers, by, number in ((quiet, writing, QUIET), (crowd, flooding, PRESENT)):
        await by.write(1, QUIET_PER_SECOND)
        await followers.grow(gateway.port, number, by.position)
    messages = int(seconds * QUIET_PER_SECOND)
    idle = await timed(gateway, quiet, writing, messages, QUIET_PER_SECOND, WARM_UP)
    said(f"idle: p50 {idle.milliseconds(50):.1f} ms, p99 {idle.milliseconds(99):.1f} ms")
    flood_seconds = seconds + 1 + WARM_UP / QUIET_PER_SECOND
    flood = asyncio.create_task(flooding.write(int(FLOOD_PER_SECOND * flood_seconds), FLOOD_PER_SECOND))
    flooded = await timed(gateway, quiet, writing, messages, QUIET_PER_SECOND, WARM_UP)
    said(f"flooded: p50 {flooded.milliseconds(50):.1f} ms, p99 {flooded.milliseconds(99):.1f} ms")
    sent = await flood
    await crowd.have(crowd.messages + len(sent))
    quiet.close()
    crowd.close()
    return idle, flooded
