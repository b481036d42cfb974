"""The whole stack, served: PostgreSQL, Redis, the runner, and the API behind uvicorn on a port of its own."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
import uvicorn

from commands.handling import Caller, Outcome
from domain.account import Register
from domain.event import Id
from infra.composition import Moot, open_moot, utc_now
from infra.sessions import Grant
from infra.settings import Settings
from projections.catalogue import ALL
from read_api.app import create_app
from read_api.cursors import Sealer, seal_position
from read_api.ids import Kind, global_id
from read_api.live.sockets import socket_options
from streams.runner import Runner

PATIENT = {"position_wait_seconds_max": 30.0}
"""A mutation answers with what it made once the views have it, and other tests run on the machine, too."""


class Stack:
    """A running server. ``moot`` and ``app`` belong to ``loop``, which runs on a thread of its own."""

    def __init__(self, url: str, moot: Moot, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.moot = moot
        self.app = app
        self.loop = loop

    def run(self, coroutine: Any) -> Any:
        """The result of a coroutine on the server's own loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


@contextlib.contextmanager
def serving(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Iterator[Stack]:
    """The stack over running engines, until the block is left."""
    ready: threading.Event = threading.Event()
    found: list[Any] = []

    async def run() -> None:
        async with open_moot(settings, clock) as moot:
            runner = Runner(moot.database_url, moot.store, ALL.values(), moot.publisher)
            runner.start()
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            app = create_app(moot)
            config = uvicorn.Config(
                app,
                loop="none",
                http="httptools",
                log_config=None,
                proxy_headers=False,
                **socket_options(settings),
            )
            server = uvicorn.Server(config)
            server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            found.extend([Stack(f"http://127.0.0.1:{listener.getsockname()[1]}", moot, app, loop), stop])
            with contextlib.ExitStack() as stack:
                stack.enter_context(_no_signals(server))
                task = asyncio.create_task(server.serve(sockets=[listener]))
                while not server.started:
                    if task.done():
                        task.result()
                    await asyncio.sleep(0)
                ready.set()
                await stop.wait()
                server.should_exit = True
                await task
            await asyncio.to_thread(runner.stop, 5)

    failed: list[BaseException] = []

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=main, name="stack")
    thread.start()
    ready.wait()
    if failed:
        raise failed[0]
    stack, stop = found
    try:
        yield stack
    finally:
        stack.loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failed:
        raise failed[0]


@contextlib.contextmanager
def _no_signals(server: uvicorn.Server) -> Iterator[None]:
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    yield


class Client:
    """Somebody with an HTTP client; signed in once ``sign_up`` was called."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.http = httpx.Client(base_url=stack.url, timeout=30, trust_env=False, verify=False)
        self.name = ""
        self.id = ""
        self.position: str | None = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def post(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The whole answer to an operation, which has seen this client's last mutation."""
        headers = {"Moot-Position": self.position} if self.position else {}
        answer = self.http.post("/graphql", json={"query": query, "variables": variables, **more}, headers=headers)
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an operation that must not fail."""
        answer = self.post(query, variables)
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def do(self, mutation: str, fields: str = "", **given: Any) -> dict[str, Any]:
        """The payload of a mutation, whose input type is named after it or given as ``kind``."""
        kind = given.pop("kind_of_input", mutation[0].upper() + mutation[1:] + "Input")
        query = (
            f"mutation($input: {kind}!) {{ {mutation}(input: $input) "
            f"{{ {fields} position clientMutationId errors {{ code message field }} }} }}"
        )
        payload: dict[str, Any] = self.ask(query, input=given)[mutation]
        if payload["position"]:
            self.position = payload["position"]
        return payload

    def sign_up(self, name: str | None = None) -> "Client":
        """Register through the API and stay signed in."""
        self.name = name or f"user_{uuid4().hex[:12]}"
        payload = self.do(
            "signUp",
            "accessToken account { id }",
            name=self.name,
            email=f"{self.name}@example.org",
            password=f"correct horse {self.name}",
        )
        assert not payload["errors"], payload
        self.id = payload["account"]["id"]
        self.http.headers["Authorization"] = f"Bearer {payload['accessToken']}"
        return self

    def appear(self) -> "Client":
        """The same by the commands alone: no password is hashed, and nobody counts how many come."""
        self.name = f"user_{uuid4().hex[:12]}"
        moot = self.stack.moot

        async def begin() -> tuple[Outcome, Grant]:
            caller = Caller(None, Id(str(uuid4())), str(uuid4()))
            outcome = await moot.commands.execute(Register(name=self.name, display_name=self.name.title()), caller)
            return outcome, await moot.sessions.begin(outcome.subject_id, "tests")

        outcome, grant = self.stack.run(begin())
        self.id = global_id(Kind.ACCOUNT, outcome.subject_id)
        self.position = seal_position(Sealer(moot.secrets.cursor_key), outcome.position)
        self.http.headers["Authorization"] = f"Bearer {grant.access_token}"
        return self
