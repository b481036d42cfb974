"""What is watched in these tests, and waiting for it."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.routing import WebSocketRoute

from read_api.live.operations import Operations
from tests.api.stack import Client, Stack
from tests.live.socket import Socket

SCORE = (
    "subscription($id: ID!, $after: String) { scoreChanged(targetId: $id, after: $after) { cursor score { up down } } }"
)
COMMENTS = (
    "subscription($id: ID!, $after: String) { commentAdded(postId: $id, after: $after) "
    "{ cursor comment { id body author { name } } } }"
)
POSTS = (
    "subscription($id: ID!, $after: String) { postAdded(communityId: $id, after: $after) "
    "{ cursor post { id title author { name } community { name } } } }"
)
REPLIES = (
    "subscription($after: String) { notificationAdded(after: $after) "
    "{ cursor notification { actor { name } comment { id } } } }"
)
Somebody = Callable[[], Client]


async def told(what: Callable[..., Any], *given: Any, **more: Any) -> Any:
    """Do something in the forum while the sockets are served."""
    return await asyncio.to_thread(what, *given, **more)


async def followers(stack: Stack, number: int) -> None:
    """Wait until so many subscriptions are live: a client is not told."""

    async def following() -> None:
        topics = operations_of(stack).topics
        while sum(len(shared.topic._followers) for shared in topics._shared.values()) != number:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)

    await asyncio.to_thread(stack.run, following())


def operations_of(stack: Stack) -> Operations:
    """What the connections of that server share."""
    found: Operations = next(r.endpoint for r in stack.app.routes if isinstance(r, WebSocketRoute)).operations
    return found


async def refused(socket: Socket, code: str) -> None:
    message = await socket.receive()
    assert message["type"] == "error", message
    assert [error["extensions"]["code"] for error in message["payload"]] == [code]
    await socket.alive()


async def idle(stack: Stack) -> None:
    """Wait until nobody follows anything."""
    async with asyncio.timeout(10):
        signals, topics = stack.moot.signals, operations_of(stack).topics
        while len(topics) or {c for c in signals.channels if not c.startswith("moot:")}:  # noqa: ASYNC110
            await asyncio.sleep(0)
