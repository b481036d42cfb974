"""One channel with 1,000, 5,000 and 10,000 subscribers in one gateway process, and ten messages a second.

Each subscriber is a member with a session and a socket of its own. Another process takes the messages and keeps the
views. What is timed is each message, from its acknowledgement until the last client has it. For the baseline 1,000 of
them follow by Strawberry's own handler over the same topics, in a gateway of its own: one execution and one
serialisation for each client. Everything shares this machine's cores: gateway, API, views, database, clients.
"""

from typing import Any

import uvloop

from tests.bench.chat import Followers, Room, Timed, Writing, chat_server, fill, timed
from tests.bench.serving import Served, empty_site, said

SUBSCRIBERS = (1_000, 5_000, 10_000)
PER_SECOND = 10.0
STOCK_PER_SECOND, STOCK_MESSAGES = 0.5, 3
"""What stock Strawberry bears with 1,000 subscribers; at more it is only further behind."""
SECONDS, SECONDS_LONG = 5.0, 30.0
GOAL_SECONDS = 1.0
GOAL_RATIO = 10.0
MEMBERS = SUBSCRIBERS[-1] + 100


class _Found:
    """What was measured of one handler."""

    def __init__(self) -> None:
        self.timed: dict[int, Timed] = {}
        self.bytes_per_socket = 0.0


def run(long: bool) -> list[dict[str, Any]]:
    """The results ``p99_1000`` to ``p99_10000``, with their ``p50``, ``cpu_per_delivery`` and ``memory_per_socket``."""
    messages = int(PER_SECOND * (SECONDS_LONG if long else SECONDS))
    with empty_site() as settings:
        (room,) = uvloop.run(fill(settings, [(MEMBERS, SUBSCRIBERS[-1])]))
        said(f"{MEMBERS:,} members have joined")
        with chat_server(settings) as api:
            with chat_server(settings, "gateway") as gateway:
                stock = uvloop.run(
                    _measure(api, gateway, room, "/stock", SUBSCRIBERS[:1], STOCK_MESSAGES, STOCK_PER_SECOND)
                )
            with chat_server(settings, "gateway") as gateway:
                ours = uvloop.run(_measure(api, gateway, room, "/graphql", SUBSCRIBERS, messages, PER_SECOND))
    return list(_results(ours, stock))


async def _measure(
    api: Served,
    gateway: Served,
    room: Room,
    path: str,
    subscribers: tuple[int, ...],
    messages: int,
    per_second: float,
) -> _Found:
    found, before = _Found(), gateway.memory_bytes
    followers, writing = Followers(room, path), Writing(room, api.port)
    await writing.write(1, per_second)
    for number in subscribers:
        await followers.grow(gateway.port, number, writing.position)
        said(f"{number:,} sockets are open")
        one = found.timed[number] = await timed(gateway, followers, writing, messages, per_second)
        said(
            f"{path:<9} {number:>6,} subscribers: p50 {one.milliseconds(50):7.1f} ms, p99 {one.milliseconds(99):7.1f}"
            f" ms, {one.per_delivery * 1e6:6.1f} µs a delivery, {gateway.memory_bytes / 2**20:,.0f} MiB"
        )
    found.bytes_per_socket = (gateway.memory_bytes - before) / len(followers)
    followers.close()
    return found


def _results(ours: _Found, stock: _Found) -> Any:
    few = SUBSCRIBERS[0]
    for number, one in ours.timed.items():
        for percent in (50, 99):
            value = one.milliseconds(percent)
            baseline = stock.timed[few].milliseconds(percent) if number == few else None
            yield {
                "name": f"p{percent}_{number}",
                "value": round(value, 1),
                "unit": "ms",
                "baseline": None if baseline is None else round(baseline, 1),
                "ratio": None if baseline is None else round(baseline / value, 2),
                "goal": f"p99 under {GOAL_SECONDS:.0f} s with {SUBSCRIBERS[-1]:,} sockets",
                "holds": value < 1000 * GOAL_SECONDS,
            }
    ratio = stock.timed[few].per_delivery / ours.timed[few].per_delivery
    yield {
        "name": "cpu_per_delivery",
        "value": round(ours.timed[few].per_delivery * 1e6, 2),
        "unit": "µs",
        "baseline": round(stock.timed[few].per_delivery * 1e6, 2),
        "ratio": round(ratio, 2),
        "goal": f"at least {GOAL_RATIO:.0f} times less than stock Strawberry at {few:,}",
        "holds": ratio >= GOAL_RATIO,
    }
    yield {
        "name": "memory_per_socket",
        "value": round(ours.bytes_per_socket / 1024, 1),
        "unit": "KiB",
        "baseline": round(stock.bytes_per_socket / 1024, 1),
        "ratio": round(stock.bytes_per_socket / ours.bytes_per_socket, 2),
        "goal": "printed",
        "holds": True,
    }
