"""``moot chat``: talk in a channel, over the public API and its WebSocket."""

import asyncio
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.chat import places
from streams.chat.places import NoSuchServer, Place, invitation
from streams.chat.texts import one_line
from streams.chat.wire import opened
from streams.cli.client import Client
from streams.cli.console import OK, DataDir, Output, OutputOption, counted, show_json, show_table, words
from streams.cli.post import As


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("chat")(chat)


def chat(
    place: Annotated[
        str | None, typer.Argument(help="Where. [default: list where one is]", metavar="SERVER/CHANNEL")
    ] = None,
    account: As = None,
    *,
    invite: Annotated[str | None, typer.Option("--invite", help="Join with this code first.", metavar="CODE")] = None,
    create: Annotated[bool, typer.Option("--create", help="Open the server if one is in none so called.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines, as in a pipe, instead of a screen.")] = False,
    data_dir: DataDir = None,
    output: OutputOption = Output.TABLE,
) -> int:
    """Talk in a channel. Without a place: list one's servers and channels.

    Needs a running moot up, or the API of a fleet (MOOT_API_URL).
    """
    client = Client(data_dir)
    name = client.become(account)
    if place is None and invite is None:
        asyncio.run(_list(client, name, output))
        return OK
    screen = not plain and output is Output.TABLE and _is_terminal()
    found = _found(client, name, place or "", invite, create=create)
    _tell_invite(found, data_dir)
    if screen:
        from streams.chat.screen import converse as on_screen  # noqa: PLC0415 - half of the start is its library

        return asyncio.run(on_screen(client, name, found))
    from streams.chat.plain import converse  # noqa: PLC0415

    return asyncio.run(converse(client, name, found, output))


def _found(client: Client, name: str, typed: str, invite: str | None, *, create: bool) -> Place:
    """The channel; where there is no such server and somebody can be asked, as he says."""

    async def find(code: str | None, *, make: bool) -> Place:
        async with opened(client.instance.websocket, client.token) as wire:
            return await (places.find(wire, typed, create=make) if code is None else places.join(wire, code, typed))

    try:
        return asyncio.run(find(invite, make=create))
    except NoSuchServer as missing:
        if not (os.isatty(0) and os.isatty(2)):
            raise
        words.print(
            f"{name} is in no server called {one_line(missing.name)}.\n"
            "Paste an invite code to join it, or press Enter to open a new server of that name. Ctrl-C ends this.",
            highlight=False,
            markup=False,
        )
        code = typer.prompt("Invite code", default="", show_default=False, err=True).strip()
        return asyncio.run(find(code or None, make=True))


def _tell_invite(place: Place, data_dir: Path | None) -> None:
    if place.invite is not None:
        where = f" --data-dir {shlex.quote(str(data_dir))}" if data_dir else ""
        words.print(
            f"{one_line(place.server)} is open. Others join with:\n\n"
            f"  {invitation(place, place.invite)}{where}\n\nA new invite: /invite",
            highlight=False,
            markup=False,
        )


async def _list(client: Client, name: str, output: Output) -> None:
    async with opened(client.instance.websocket, client.token) as wire:
        servers = await places.mine(wire)
    if output is Output.JSON:
        show_json({"account": name, "servers": servers})
        return
    if not servers:
        words.print(
            f"{name} is in no server yet. Open one: ./task moot chat Den/general\n"
            "Or join one, with a code that somebody in it got by /invite: ./task moot chat --invite CODE",
            highlight=False,
        )
        return
    words.print(f"{name} is in {counted(len(servers), 'server')}:", highlight=False)
    show_table(
        ("PLACE", "UNREAD", "MENTIONS", "MEMBERS"), list(_rows(servers)), right=("UNREAD", "MENTIONS", "MEMBERS")
    )


def _rows(servers: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            one_line(f"{server['name']}/{channel['name']}"),
            channel["unread"]["count"],
            channel["unread"]["mentions"],
            server["memberCount"],
        )
        for server in servers
        for channel in server["channels"]
    ]


def _is_terminal() -> bool:
    return os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"
