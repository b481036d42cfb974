"""Chat servers through the API: a server is opened, people are let in, and see what they may."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.stack import Client
from tests.api.test_work_done import counted

SERVER = "server { id name memberCount viewerPermissions channels { id name } roles { id name everyone } }"
CHANNEL = "channel { id name topic kind slowModeSeconds viewerPermissions overrides { role { name } allow deny } }"
SEEN = """query($id: ID!) { node(id: $id) { ... on Server { name memberCount viewerPermissions
  channels { id name } members(first: 10) { nodes { account { name } roles { name } } }
  bans(first: 10) { nodes { account { name } reason until } } invites(first: 10) { nodes { code uses } } } } }"""


def done(who: Client, what: str, selection: str, kind: str, **fields: Any) -> dict[str, Any]:
    answer = who.do(what, selection, kind_of_input=kind, **fields)
    assert answer["errors"] == [], answer
    return answer


def refused(who: Client, what: str, kind: str, **fields: Any) -> str:
    answer = who.do(what, "position", kind_of_input=kind, **fields)
    (error,) = answer["errors"]
    code: str = error["code"]
    return code


class World:
    """A server of Ada's, with one channel, and an invite."""

    def __init__(self, somebody: Callable[[], Client]) -> None:
        self.ada, self.bob = somebody(), somebody()
        self.server = done(self.ada, "createServer", SERVER, "CreateServerInput", name="Den")["server"]
        self.id = self.server["id"]
        self.channel = self.make("general")
        invite = done(self.ada, "createInvite", "invite { code }", "CreateInviteInput", serverId=self.id)["invite"]
        self.code = invite["code"]

    def make(self, name: str) -> str:
        made = done(self.ada, "createChannel", CHANNEL, "CreateChannelInput", serverId=self.id, name=name)
        found: str = made["channel"]["id"]
        return found

    def let_in(self) -> None:
        self.bob.position = self.ada.position
        done(self.bob, "joinServer", SERVER, "InviteInput", code=self.code)
        self.ada.position = self.bob.position

    def role(self, name: str, *permissions: str) -> str:
        made = done(
            self.ada,
            "createRole",
            "role { id permissions }",
            "CreateRoleInput",
            serverId=self.id,
            name=name,
            permissions=list(permissions),
        )["role"]
        assert made["permissions"] == list(permissions)
        self.bob.position = self.ada.position
        found: str = made["id"]
        return found

    def kicks(self, who: Client) -> Any:
        who.position = self.ada.position
        kicks = "kicks(first: 5) { nodes { account { name } moderator { name } reason } }"
        found = who.ask(f"query($id: ID!) {{ node(id: $id) {{ ... on Server {{ {kicks} }} }} }}", id=self.id)["node"]
        return found["kicks"] and found["kicks"]["nodes"]

    def seen(self, who: Client) -> Any:
        who.position = self.ada.position
        return who.ask(SEEN, id=self.id)["node"]


@pytest.fixture
def world(somebody: Callable[[], Client]) -> World:
    return World(somebody)


def test_a_server_is_seen_by_those_who_are_in_it(world: World, visitor: Client) -> None:
    assert "ADMINISTRATOR" in world.server["viewerPermissions"]
    assert world.server["roles"] == [{"id": world.server["roles"][0]["id"], "name": "everyone", "everyone": True}]
    assert world.seen(world.bob) is None
    assert world.seen(visitor) is None
    told = visitor.ask("query($c: String!) { invite(code: $c) { serverName memberCount } }", c=world.code)["invite"]
    assert told == {"serverName": "Den", "memberCount": 1}
    world.let_in()
    found = world.seen(world.bob)
    assert found["memberCount"] == 2
    assert found["channels"] == [{"id": world.channel, "name": "general"}]
    assert "MANAGE_SERVER" not in found["viewerPermissions"]
    assert {node["account"]["name"] for node in found["members"]["nodes"]} == {world.ada.name, world.bob.name}
    assert found["bans"] is None
    assert found["invites"]["nodes"] == []
    assert world.seen(world.ada)["invites"]["nodes"] == [{"code": world.code, "uses": 1}]
    mine = world.bob.ask("{ viewer { servers(first: 5) { nodes { name channels { name } } } } }")["viewer"]
    assert mine == {"servers": {"nodes": [{"name": "Den", "channels": [{"name": "general"}]}]}}


def test_a_channel_that_is_hidden_from_everyone_is_seen_with_a_role(world: World) -> None:
    world.let_in()
    everyone = world.server["roles"][0]["id"]
    staff = world.role("Staff")
    hidden = {"channelId": world.channel, "targetId": everyone, "deny": ["VIEW_CHANNELS"]}
    made = done(world.ada, "setOverride", CHANNEL, "SetOverrideInput", **hidden)["channel"]
    assert made["overrides"] == [{"role": {"name": "everyone"}, "allow": [], "deny": ["VIEW_CHANNELS"]}]
    assert world.seen(world.bob)["channels"] == []
    by_id = "query($id: ID!) { node(id: $id) { ... on Channel { name } } }"
    assert world.bob.ask(by_id, id=world.channel) == {"node": None}
    assert refused(world.bob, "editChannel", "EditChannelInput", channelId=world.channel, name="x") == (
        "CHANNEL_NOT_FOUND"
    )
    late = hidden | {"deny": ["SEND_MESSAGES"], "saw": {}}
    assert refused(world.ada, "setOverride", "SetOverrideInput", **late) == "OVERRIDE_CHANGED"
    shown = {"channelId": world.channel, "targetId": staff, "allow": ["VIEW_CHANNELS"]}
    done(world.ada, "setOverride", CHANNEL, "SetOverrideInput", **shown)
    member = {"serverId": world.id, "accountId": world.bob.id, "roleId": staff}
    done(world.ada, "grantRole", SERVER, "MemberRoleInput", **member)
    found = world.seen(world.bob)
    assert found["channels"] == [{"id": world.channel, "name": "general"}]
    assert [node["roles"] for node in found["members"]["nodes"] if node["account"]["name"] == world.bob.name] == [
        [{"name": "Staff"}]
    ]
    assert world.bob.ask(by_id, id=world.channel) == {"node": {"name": "general"}}


def test_a_channel_is_private_from_its_beginning_on(world: World) -> None:
    world.let_in()
    everyone = world.server["roles"][0]["id"]
    overrides = [
        {"targetId": everyone, "deny": ["VIEW_CHANNELS"]},
        {"targetId": world.ada.id, "allow": ["VIEW_CHANNELS"]},
    ]
    fields = {"serverId": world.id, "name": "secret", "overrides": overrides}
    made = done(world.ada, "createChannel", CHANNEL, "CreateChannelInput", **fields)["channel"]
    assert {one["role"] and one["role"]["name"] for one in made["overrides"]} == {"everyone", None}
    assert [one["name"] for one in world.seen(world.bob)["channels"]] == ["general"]
    assert [one["name"] for one in world.seen(world.ada)["channels"]] == ["general", "secret"]
    wrong = fields | {"overrides": [{"targetId": world.channel}]}
    assert refused(world.ada, "createChannel", "CreateChannelInput", **wrong) == "ID_OF_ANOTHER_TYPE"


def test_channels_and_roles_are_ordered(world: World) -> None:
    news, off = world.make("news"), world.make("off-topic")
    done(world.ada, "moveChannel", CHANNEL, "MoveChannelInput", serverId=world.id, channelId=off)
    order = [world.channel, news, off]
    assert [channel["id"] for channel in world.seen(world.ada)["channels"]] == [off, world.channel, news]
    done(world.ada, "moveChannel", CHANNEL, "MoveChannelInput", serverId=world.id, channelId=off, afterId=news)
    assert [channel["id"] for channel in world.seen(world.ada)["channels"]] == order
    low, lower = world.role("Low"), world.role("Lower")
    done(world.ada, "moveRole", "role { name }", "MoveRoleInput", serverId=world.id, roleId=lower, aboveId=low)
    roles = world.ada.ask("query($id: ID!) { node(id: $id) { ... on Server { roles { name } } } }", id=world.id)
    assert [role["name"] for role in roles["node"]["roles"]] == ["Lower", "Low", "everyone"]
    gone = done(world.ada, "deleteChannel", CHANNEL, "ChannelInput", channelId=news)
    assert gone["channel"] is None
    assert [channel["id"] for channel in world.seen(world.ada)["channels"]] == [world.channel, off]


def test_whoever_is_banned_sees_nothing_and_stays_out(world: World) -> None:
    world.let_in()
    member = {"serverId": world.id, "accountId": world.bob.id}
    assert refused(world.bob, "banServerMember", "BanMemberInput", serverId=world.id, accountId=world.ada.id) == (
        "PERMISSION_DENIED"
    )
    done(world.ada, "banServerMember", SERVER, "BanMemberInput", **member, reason="Spam")
    assert world.seen(world.bob) is None
    assert refused(world.bob, "joinServer", "InviteInput", code=world.code) == "BANNED"
    bans = world.seen(world.ada)["bans"]["nodes"]
    assert bans == [{"account": {"name": world.bob.name}, "reason": "Spam", "until": None}]
    done(world.ada, "unbanServerMember", SERVER, "ServerMemberInput", **member)
    world.let_in()
    done(world.ada, "kickServerMember", SERVER, "KickMemberInput", **member, reason="Noise")
    assert world.seen(world.bob) is None
    assert world.kicks(world.ada) == [
        {"account": {"name": world.bob.name}, "moderator": {"name": world.ada.name}, "reason": "Noise"}
    ]
    world.let_in()
    assert world.kicks(world.ada) == []
    assert world.kicks(world.bob) is None
    done(world.bob, "leaveServer", SERVER, "ServerInput", serverId=world.id)
    assert refused(world.bob, "leaveServer", "ServerInput", serverId=world.id) == "SERVER_NOT_FOUND"
    assert refused(world.ada, "leaveServer", "ServerInput", serverId=world.id) == "OWNER_STAYS"


def test_a_server_that_is_deleted_is_gone(world: World) -> None:
    world.let_in()
    done(world.ada, "deleteServer", "server { id }", "ServerInput", serverId=world.id)
    assert world.seen(world.ada) is None
    world.bob.position = world.ada.position
    assert world.bob.ask("{ viewer { servers(first: 5) { nodes { id } } } }") == {"viewer": {"servers": {"nodes": []}}}
    invite = world.bob.ask("query($c: String!) { invite(code: $c) { serverName } }", c=world.code)
    assert invite == {"invite": None}
    assert refused(world.bob, "joinServer", "InviteInput", code=world.code) == "INVITE_NOT_FOUND"


@pytest.mark.parametrize(
    ("what", "kind", "fields", "code"),
    [
        ("editServer", "EditServerInput", {"serverId": "CHANNEL"}, "ID_OF_ANOTHER_TYPE"),
        ("editServer", "EditServerInput", {"serverId": "x"}, "INVALID_ID"),
        ("joinServer", "InviteInput", {"code": "\x00"}, "INVITE_NOT_FOUND"),
        ("revokeInvite", "InviteInput", {"code": "x"}, "INVITE_NOT_FOUND"),
        ("setOverride", "SetOverrideInput", {"channelId": "CHANNEL", "targetId": "CHANNEL"}, "ID_OF_ANOTHER_TYPE"),
        ("createInvite", "CreateInviteInput", {"serverId": "SERVER", "usesMax": 0}, "INVALID_VALUE"),
        (
            "banServerMember",
            "BanMemberInput",
            {"serverId": "SERVER", "accountId": "BOB", "until": "2020-01-01T00:00:00"},
            "INVALID_VALUE",
        ),
        ("createChannel", "CreateChannelInput", {"serverId": "SERVER", "name": "\x00"}, "INVALID_CHARACTERS"),
    ],
)
def test_bad_input_is_refused(world: World, what: str, kind: str, fields: dict[str, Any], code: str) -> None:
    known = {"SERVER": world.id, "CHANNEL": world.channel, "BOB": world.bob.id}
    given = {name: known.get(value, value) if isinstance(value, str) else value for name, value in fields.items()}
    assert refused(world.ada, what, kind, **given) == code


def test_a_page_of_servers_takes_a_few_statements(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        done(world.ada, "createServer", SERVER, "CreateServerInput", name=f"Den {number}")
    query = """{ viewer { servers(first: 10) { nodes { name viewerPermissions roles { name }
      channels { name overrides { allow } } owner { name } } } } }"""
    with counted(monkeypatch) as few:
        world.ada.ask(query)
    for number in range(3, 9):
        done(world.ada, "createServer", SERVER, "CreateServerInput", name=f"Den {number}")
    with counted(monkeypatch) as many:
        found = world.ada.ask(query)["viewer"]["servers"]["nodes"]
    assert len(found) == 10
    assert len(many) == len(few) <= 9, many
