"""``moot watch``: a score as it changes, over the same WebSocket as any other client.

Speaks graphql-transport-ws. When the connection drops it comes back, and goes on from the last cursor it got.
"""

import json
import time
from typing import Annotated, Any

import typer
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from streams.cli.client import Client, refuse
from streams.cli.console import OK, DataDir, Output, OutputOption, out, show_json, words
from streams.cli.vote import last_post

_NOW = """
query ($id: ID!) {
  node(id: $id) { id ... on Post { title } }
}
"""
_CHANGES = """
subscription ($id: ID!, $after: String) {
  scoreChanged(targetId: $id, after: $after) { cursor score { up down total } }
}
"""
RETRY_SECONDS = 1.0
"""Between attempts to come back after the connection was lost."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    target: Annotated[
        str | None, typer.Argument(help="A post or comment. [default: the last post made here]", metavar="ID")
    ] = None,
    *,
    count: Annotated[int | None, typer.Option("--count", "-n", help="End after so many lines.", min=1)] = None,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Show a score now and whenever it changes, until Ctrl-C.

    Needs a running moot up, or the API of a fleet (MOOT_API_URL).
    """
    client = Client(data_dir)
    target = last_post(client, target)
    # Without an account one sees what everybody sees; with one, also what is for members.
    if client.saved.passwords:
        client.become(None)
    found = client.ask(_NOW, {"id": target})["node"]
    refuse([] if found else [{"message": "There is nothing with this id to watch.", "code": "NOT_FOUND"}], "moot post")
    if output is Output.TABLE:
        words.print(f"Watching {found.get('title') or 'a comment'} - vote on it in another terminal. Ctrl-C ends this.")
    try:
        _follow(client, target, count, output)
    except KeyboardInterrupt:
        return OK
    return OK


def _follow(client: Client, target: str, count: int | None, output: Output) -> None:
    cursor: str | None = None
    seen = 0
    while count is None or seen < count:
        try:
            with connect(client.instance.websocket, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
                _begin(socket, client, {"id": target, "after": cursor})
                while count is None or seen < count:
                    message = _receive(socket)
                    if message["type"] == "next":
                        refuse(message["payload"].get("errors") or [], "See what the server says: moot doctor")
                        change = message["payload"]["data"]["scoreChanged"]
                        cursor = change["cursor"]
                        seen += 1
                        _show(change["score"], output)
                    elif message["type"] == "error":
                        refuse(message["payload"], "Watch something else: moot watch ID")
                    elif message["type"] == "complete":
                        return
        except (ConnectionClosed, InvalidHandshake, OSError) as error:
            words.print(f"The connection was lost ({error}); coming back …")
            time.sleep(RETRY_SECONDS)


def _begin(socket: ClientConnection, client: Client, variables: dict[str, Any]) -> None:
    payload = {"authorization": f"Bearer {client.token}"} if client.token else {}
    socket.send(json.dumps({"type": "connection_init", "payload": payload}))
    while _receive(socket)["type"] != "connection_ack":
        pass
    operation = {"query": _CHANGES, "variables": variables}
    socket.send(json.dumps({"type": "subscribe", "id": "score", "payload": operation}))


def _receive(socket: ClientConnection) -> dict[str, Any]:
    """The next message, after answering pings."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv())
        if message["type"] != "ping":
            return message
        socket.send(json.dumps({"type": "pong"}))


def _show(score: dict[str, int], output: Output) -> None:
    if output is Output.JSON:
        show_json(score)
        return
    clock = time.strftime("%H:%M:%S")
    out.print(f"{clock}  score {score['total']:>4}   up {score['up']:>4}   down {score['down']:>4}", highlight=False)
