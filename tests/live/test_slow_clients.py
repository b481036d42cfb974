"""A client that does not keep up is given up, may resume, and slows nobody else."""

import asyncio
import gc
import json
import socket as sockets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from infra.embedded import Engines
from read_api.live.outbox import Outbox
from read_api.live.sockets import SocketProtocol
from tests.api.stack import Client, Stack
from tests.live.conftest import served
from tests.live.forum import a_community, comment, submit_post
from tests.live.socket import PROTOCOL, SECONDS, Socket, signed_in
from tests.live.watching import COMMENTS, followers

HEAVY = COMMENTS.replace("body", " ".join(f"b{n}: body" for n in range(40)))
BODY = "x" * 9_000
NUMBER = 40
"""Of comments: 14 MB in all, more than the buffers of any operating system between the two."""


@pytest.fixture(scope="module")
def narrow(engines: Engines) -> Iterator[Stack]:
    """A stack whose clients must keep up."""
    with served(engines, websocket_queue_messages_max=10, websocket_close_seconds_max=3.0) as running:
        yield running


@asynccontextmanager
async def taking_little(stack: Stack) -> AsyncIterator[Socket]:
    """A socket that takes next to nothing from the network unless it is read from."""
    host, _, port = stack.url.removeprefix("http://").partition(":")
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 8192)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    url = stack.url.replace("http", "ws", 1) + "/graphql"
    subprotocols: Any = [PROTOCOL]
    async with connect(
        url, sock=raw, subprotocols=subprotocols, proxy=None, max_queue=1, max_size=None, close_timeout=1
    ) as opened:
        yield Socket(opened)


async def drained(socket: Socket) -> tuple[list[str], int | None]:
    """The cursors of all that still comes, and the code of the close frame; ``None`` if it was cut off without."""
    seen = []
    try:
        while True:
            message = json.loads(await asyncio.wait_for(socket.raw.recv(), SECONDS))
            seen.append(message["payload"]["data"]["commentAdded"]["cursor"])
    except ConnectionClosed as closed:
        return seen, closed.rcvd.code if closed.rcvd else None


class Thread:
    """A post, and somebody who comments on it at length."""

    def __init__(self, stack: Stack) -> None:
        self.author = Client(stack).appear()
        self.post = submit_post(self.author, a_community(self.author))
        self.begin = self.author.position

    def write(self) -> None:
        with self.author:
            for _ in range(NUMBER):
                comment(self.author, self.post, BODY)


def test_a_slow_client_is_closed_with_a_code_of_its_own_and_resumes(narrow: Stack) -> None:
    thread = Thread(narrow)

    async def scene() -> None:
        variables = {"id": thread.post, "after": thread.begin}
        async with taking_little(narrow) as slow, signed_in(narrow, max_size=None) as fast:
            await slow.init()
            await slow.subscribe("s", HEAVY, variables=variables)
            await fast.subscribe("f", HEAVY, variables=variables)
            await followers(narrow, 2)
            writing = asyncio.create_task(asyncio.to_thread(thread.write))
            told = [(await fast.next("f"))["commentAdded"]["cursor"] for _ in range(NUMBER)]
            await followers(narrow, 1)  # the slow one was given up
            seen, code = await drained(slow)
            await writing
        assert code == 4290
        assert seen == told[: len(seen)]
        assert len(seen) < NUMBER
        async with signed_in(narrow) as again:
            last = seen[-1] if seen else thread.begin
            await again.subscribe("r", COMMENTS, variables={"id": thread.post, "after": last})
            rest = [(await again.next("r"))["commentAdded"]["cursor"] for _ in range(NUMBER - len(seen))]
            assert seen + rest == told

    asyncio.run(scene())


def test_a_client_that_reads_nothing_any_more_is_cut_off(narrow: Stack) -> None:
    thread = Thread(narrow)

    async def scene() -> None:
        async with taking_little(narrow) as deaf:
            await deaf.init()
            await deaf.subscribe("s", HEAVY, variables={"id": thread.post, "after": thread.begin})
            await followers(narrow, 1)
            (server_side,) = [protocol for protocol in gc.get_objects() if _is_open(protocol)]
            await asyncio.to_thread(thread.write)
            await followers(narrow, 0)

            await until(narrow, lambda: server_side.disconnected)

    asyncio.run(scene())


def _is_open(found: object) -> bool:
    return type(found) is SocketProtocol and found.handshake_complete and not found.disconnected


def test_what_was_missed_waits_for_a_slow_client(narrow: Stack) -> None:
    """Backfill is no push: it goes at the client's pace, however slow, and ends nothing."""
    thread = Thread(narrow)
    thread.write()

    async def scene() -> None:
        async with taking_little(narrow) as slow:
            await slow.init()
            await slow.subscribe("s", HEAVY, variables={"id": thread.post, "after": thread.begin})
            await followers(narrow, 0)
            cursors = [(await slow.next("s"))["commentAdded"]["cursor"] for _ in range(NUMBER)]
            assert len(set(cursors)) == NUMBER
            await followers(narrow, 1)
            await slow.alive()

    asyncio.run(scene())


def test_what_waits_of_a_completed_operation_is_not_sent_any_more(narrow: Stack) -> None:
    thread = Thread(narrow)
    thread.write()

    async def scene() -> None:
        async with taking_little(narrow) as slow:
            await slow.init()
            outboxes = [found for found in gc.get_objects() if type(found) is Outbox]
            await slow.subscribe("s", HEAVY, variables={"id": thread.post, "after": thread.begin})
            await until(narrow, lambda: any(outbox._waiting for outbox in outboxes))
            await slow.send({"type": "complete", "id": "s"})
            await until(narrow, lambda: not any(outbox._waiting for outbox in outboxes))

    asyncio.run(scene())


async def until(stack: Stack, holds: Callable[[], bool]) -> None:
    """Wait until something of the server holds."""

    async def look() -> None:
        async with asyncio.timeout(SECONDS):
            while not holds():  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0)

    await asyncio.to_thread(stack.run, look())
