"""Servers and channels by the names that people type: found, joined by invite, or made."""

import secrets
from typing import Any, Final

from msgspec import Struct

from streams.chat.wire import Wire
from streams.cli.console import Refused

SERVERS_PAGE: Final = 20
"""Servers asked for at once: each comes with all its channels."""
SERVERS_MAX: Final = 200
"""Servers among which a name is looked for; who is in more names one by its id."""
FIRST_CHANNEL: Final = "general"
"""What the first channel of a new server is called where nobody named one."""

_SERVER = "id name memberCount viewerPermissions channels { id name topic unread { count mentions } }"
_MINE = f"""query ($first: Int, $after: String) {{ viewer {{ servers(first: $first, after: $after) {{
  nodes {{ {_SERVER} }} pageInfo {{ endCursor hasNextPage }} }} }} }}"""
_ERRORS = "errors { code message retryAfterSeconds } position"
_CREATE = f"""mutation ($input: CreateServerInput!) {{ createServer(input: $input) {{
  server {{ {_SERVER} }} {_ERRORS} }} }}"""
_JOIN = f"mutation ($input: InviteInput!) {{ joinServer(input: $input) {{ server {{ {_SERVER} }} {_ERRORS} }} }}"
_CHANNEL = f"""mutation ($input: CreateChannelInput!) {{ createChannel(input: $input) {{
  channel {{ id name topic }} {_ERRORS} }} }}"""
_INVITE = f"mutation ($input: CreateInviteInput!) {{ createInvite(input: $input) {{ invite {{ code }} {_ERRORS} }} }}"


class Place(Struct, frozen=True):
    """A channel to talk in. ``invite`` is a code for others, where the server was opened just now."""

    server_id: str
    server: str
    channel_id: str
    channel: str
    topic: str = ""
    invite: str | None = None

    @property
    def name(self) -> str:
        """As it is typed."""
        return f"{self.server}/{self.channel}"


class NoSuchServer(Refused):
    """One is in no server of that name. ``name`` is the server's, ``channel`` the rest of what was typed."""

    def __init__(self, name: str, channel: str) -> None:
        super().__init__(
            f"You are in no server called {name}.",
            "A server is entered by an invite of somebody who is in it; or you open a new one, which is yours.",
            f"moot chat {name}/{channel or FIRST_CHANNEL} --invite CODE, or --create",
        )
        self.name = name
        self.channel = channel


def split(typed: str) -> tuple[str, str]:
    """The server and the channel of what was typed; the channel is empty where none was named."""
    server, slash, channel = typed.rpartition("/")
    return (server.strip(), channel.strip().lstrip("#")) if slash else (typed.strip(), "")


async def mine(wire: Wire) -> list[dict[str, Any]]:
    """The servers that one is in, last joined first, with their channels."""
    found: list[dict[str, Any]] = []
    after = None
    while len(found) < SERVERS_MAX:
        viewer = (await wire.ask(_MINE, {"first": SERVERS_PAGE, "after": after}))["viewer"]
        found += viewer["servers"]["nodes"]
        if not viewer["servers"]["pageInfo"]["hasNextPage"]:
            break
        after = viewer["servers"]["pageInfo"]["endCursor"]
    return found


async def find(wire: Wire, typed: str, *, create: bool = False) -> Place:
    """The channel of that name, made where one may and with ``create`` in a new server.

    Raises ``NoSuchServer``, ``SaidNo`` and ``Refused``.
    """
    servers = await mine(wire)
    whole = [one for one in servers if _called(one, typed.strip())]
    name, channel = (typed.strip(), "") if whole else split(typed)
    if not name:
        raise Refused("Which server?", "It is named first, then the channel.", "moot chat SERVER/CHANNEL")
    named = [one for one in servers if _called(one, name)]
    if len(named) > 1:
        ids = ", ".join(one["id"] for one in named)
        raise Refused(
            f"You are in {len(named)} servers called {name}.", f"Their ids are {ids}.", "moot chat ID/CHANNEL"
        )
    if named:
        return await _channel(wire, named[0], channel)
    if not create:
        raise NoSuchServer(name, channel)
    made = await wire.change(_CREATE, {"name": name, "idempotencyKey": secrets.token_urlsafe(18)})
    server = _seen(made["server"], name)
    place = await _channel(wire, server, channel)
    return Place(
        place.server_id, place.server, place.channel_id, place.channel, place.topic, await invite(wire, server["id"])
    )


async def join(wire: Wire, code: str, typed: str) -> Place:
    """The channel of that name in the server that an invite leads to; its first channel where none is named."""
    form = {"code": code.strip(), "idempotencyKey": secrets.token_urlsafe(18)}
    server = _seen((await wire.change(_JOIN, form))["server"], "It")
    channel = "" if _called(server, typed.strip()) else split(typed)[1]
    return await _channel(wire, server, channel)


async def invite(wire: Wire, server_id: str) -> str:
    """The code of a new invite, which holds a week. Raises ``SaidNo``."""
    form = {"serverId": server_id, "idempotencyKey": secrets.token_urlsafe(18)}
    made = (await wire.change(_INVITE, form))["invite"]
    return str(_seen(made, "The invite")["code"])


async def _channel(wire: Wire, server: dict[str, Any], name: str) -> Place:
    channels = server["channels"]
    wanted = name or (channels[0]["name"] if channels else FIRST_CHANNEL)
    found = next((one for one in channels if one["name"].casefold() == wanted.casefold()), None)
    if found is None and not {"MANAGE_CHANNELS", "ADMINISTRATOR"} & set(server["viewerPermissions"]):
        there = ", ".join(one["name"] for one in channels) or "none that you may see"
        raise Refused(
            f"{server['name']} has no channel called {wanted}.",
            f"Its channels are: {there}. You may not make one.",
            "Name one of these, or ask for one.",
        )
    if found is None:
        form = {"serverId": server["id"], "name": wanted, "idempotencyKey": secrets.token_urlsafe(18)}
        found = _seen((await wire.change(_CHANNEL, form))["channel"], wanted)
    return Place(server["id"], server["name"], found["id"], found["name"], found["topic"])


def _called(server: dict[str, Any], name: str) -> bool:
    return name in {server["id"], server["name"]} or str(server["name"]).casefold() == name.casefold()


def _seen(made: dict[str, Any] | None, name: str) -> dict[str, Any]:
    if made is None:
        raise Refused(
            f"{name} is there, but the views have not seen it yet.", "See: moot projections list", "Try again."
        )
    return made
