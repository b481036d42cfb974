"""A chat server with people in it, by the API's mutations, and what is watched there."""

from collections.abc import Callable
from typing import Any

from tests.api.stack import Client

PRESENCE = "subscription($id: ID!) { presenceChanged(serverId: $id) { begins people { accountId state } } }"
TYPING = "subscription($id: ID!) { typingChanged(channelId: $id) { accounts { name } } }"


def done(who: Client, what: str, kind: str, fields: str = "", /, **given: Any) -> dict[str, Any]:
    """The payload of a mutation that must not be refused."""
    answer = who.do(what, fields, kind_of_input=kind, **given)
    assert answer["errors"] == [], answer
    return answer


def codes(who: Client, what: str, kind: str, /, **given: Any) -> list[str]:
    """Why it is refused."""
    return [error["code"] for error in who.do(what, kind_of_input=kind, **given)["errors"]]


class Den:
    """Ada's server with one channel, and those whom she invites."""

    def __init__(self, ada: Client, *others: Client) -> None:
        self.ada = ada
        made = done(ada, "createServer", "CreateServerInput", "server { id roles { id } }", name="Den")["server"]
        self.id: str = made["id"]
        self.everyone: str = made["roles"][0]["id"]
        self.channel: str = done(
            ada, "createChannel", "CreateChannelInput", "channel { id }", serverId=self.id, name="general"
        )["channel"]["id"]
        self.code: str = done(ada, "createInvite", "CreateInviteInput", "invite { code }", serverId=self.id)["invite"][
            "code"
        ]
        for other in others:
            self.join(other)

    def join(self, who: Client) -> None:
        """Let somebody in; the views have seen it."""
        who.position = self.ada.position
        done(who, "joinServer", "InviteInput", "server { id }", code=self.code)
        self.ada.position = who.position


def is_now(who: Client, state: str, device: str = "tests") -> dict[str, Any]:
    """Somebody chooses a state."""
    return done(who, "setPresence", "SetPresenceInput", "presence", state=state, device=device)


def beat(who: Client, device: str = "tests") -> dict[str, Any]:
    """A heartbeat."""
    return done(who, "heartbeat", "HeartbeatInput", "presence nextHeartbeatSeconds", device=device)


def types(who: Client, channel: str) -> dict[str, Any]:
    """Somebody types."""
    return done(who, "startTyping", "TypingInput", "repeatSeconds", channelId=channel)


Somebody = Callable[[], Client]
