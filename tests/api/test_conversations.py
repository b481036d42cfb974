"""Conversations through the API: between two people, and in groups; nobody else learns of them."""

from collections.abc import Callable
from typing import Any

import pytest

from domain.event import Id
from domain.ids import direct_id
from read_api.ids import Kind, global_id, subject_id
from tests.api.stack import Client
from tests.api.test_servers import done, refused
from tests.api.test_work_done import counted

FIELDS = "id group name owner { name } memberCount viewerPermissions members { account { name } addedBy { name } }"
MADE = f"conversation {{ {FIELDS} }}"
READ, WRITE = "VIEW_CHANNELS", ["VIEW_CHANNELS", "SEND_MESSAGES", "ADD_REACTIONS", "ATTACH_FILES"]


class World:
    """Ada, Bob and Cleo. What one of them does is seen by the others at once."""

    def __init__(self, somebody: Callable[[], Client]) -> None:
        self.ada, self.bob, self.cleo = self.all = somebody(), somebody(), somebody()
        self.look()

    def look(self) -> None:
        """All read what was done last, by whomever."""
        newest = self.cleo.position
        for one in self.all:
            one.position = newest

    def do(self, who: Client, what: str, kind: str, **fields: Any) -> Any:
        found = done(who, what, MADE, kind, **fields)["conversation"]
        for one in self.all:
            one.position = who.position
        return found

    def open(self, who: Client, other: Client) -> Any:
        return self.do(who, "openDirect", "OpenDirectInput", accountId=other.id)

    def group(self, *others: Client, name: str = "") -> Any:
        return self.do(
            self.ada, "createGroup", "CreateGroupInput", accountIds=[other.id for other in others], name=name
        )

    def seen(self, who: Client, conversation_id: str) -> Any:
        query = f"""query($id: ID!) {{ conversation(id: $id) {{ {FIELDS} }}
            node(id: $id) {{ ... on Conversation {{ {FIELDS} }} }} }}"""
        found = who.ask(query, id=conversation_id)
        assert found["conversation"] == found["node"]
        return found["conversation"]

    def listed(self, who: Client) -> list[str]:
        found = who.ask("{ viewer { conversations(first: 10) { nodes { id } } } }")["viewer"]["conversations"]["nodes"]
        return [node["id"] for node in found]


@pytest.fixture
def world(somebody: Callable[[], Client]) -> World:
    return World(somebody)


def test_two_people_have_one_conversation(world: World, visitor: Client) -> None:
    made = world.open(world.ada, world.bob)
    assert made["viewerPermissions"] == WRITE
    assert (made["group"], made["name"], made["owner"], made["memberCount"]) == (False, "", None, 2)
    assert {member["account"]["name"] for member in made["members"]} == {world.ada.name, world.bob.name}
    assert {member["addedBy"]["name"] for member in made["members"]} == {world.ada.name}
    assert world.open(world.bob, world.ada) == made
    assert world.seen(world.ada, made["id"]) == world.seen(world.bob, made["id"]) == made
    assert world.listed(world.ada) == world.listed(world.bob) == [made["id"]]
    assert world.seen(world.cleo, made["id"]) is world.seen(visitor, made["id"]) is None
    assert world.listed(world.cleo) == []
    assert refused(world.cleo, "leaveGroup", "GroupInput", conversationId=made["id"]) == "CONVERSATION_NOT_FOUND"


def test_nobody_learns_from_an_id_that_he_worked_out(world: World) -> None:
    ids = [subject_id(one.id, Kind.ACCOUNT) for one in (world.ada, world.bob)]
    known: Id = direct_id(*ids)
    theirs = global_id(Kind.CONVERSATION, known)
    ask = {"conversationId": theirs, "accountId": world.cleo.id}
    before = (world.seen(world.cleo, theirs), refused(world.cleo, "addToGroup", "GroupMemberInput", **ask))
    made = world.open(world.ada, world.bob)
    assert made["id"] == theirs
    assert before == (None, "CONVERSATION_NOT_FOUND")
    assert (world.seen(world.cleo, theirs), refused(world.cleo, "addToGroup", "GroupMemberInput", **ask)) == before


@pytest.mark.parametrize("which", [0, 1], ids=["blocks", "blocked"])
def test_a_block_leaves_what_was_said_and_lets_nothing_be_added(world: World, which: int) -> None:
    made = world.open(world.ada, world.bob)
    who, other = [(world.ada, world.bob), (world.bob, world.ada)][which]
    done(who, "blockAccount", "position", "AccountInput", accountId=other.id)
    for one in world.all:
        one.position = who.position
    assert world.seen(world.ada, made["id"])["viewerPermissions"] == [READ]
    assert world.seen(world.bob, made["id"])["viewerPermissions"] == [READ]
    assert world.open(world.ada, world.bob)["id"] == made["id"]
    assert refused(world.ada, "createGroup", "CreateGroupInput", accountIds=[world.bob.id]) == "BLOCKED"
    assert world.group(world.cleo)["memberCount"] == 2


def test_a_group_is_seen_by_those_who_are_in_it(world: World) -> None:
    made = world.group(world.bob, name="Trip")
    assert (made["group"], made["name"], made["owner"]) == (True, "Trip", {"name": world.ada.name})
    assert [member["account"]["name"] for member in made["members"]] == [world.ada.name, world.bob.name]
    where = {"conversationId": made["id"]}
    assert world.seen(world.cleo, made["id"]) is None
    more = world.do(world.bob, "addToGroup", "GroupMemberInput", **where, accountId=world.cleo.id)
    assert more["members"][2] == {"account": {"name": world.cleo.name}, "addedBy": {"name": world.bob.name}}
    assert world.seen(world.cleo, made["id"]) == more
    assert world.do(world.cleo, "renameGroup", "RenameGroupInput", **where, name="")["name"] == ""
    assert refused(world.bob, "removeFromGroup", "GroupMemberInput", **where, accountId=world.cleo.id) == (
        "PERMISSION_DENIED"
    )
    world.do(world.ada, "removeFromGroup", "GroupMemberInput", **where, accountId=world.cleo.id)
    assert world.seen(world.cleo, made["id"]) is None
    assert world.listed(world.cleo) == []
    given = world.do(world.ada, "handOverGroup", "GroupMemberInput", **where, accountId=world.bob.id)
    assert given["owner"] == {"name": world.bob.name}
    assert world.do(world.bob, "leaveGroup", "GroupInput", **where) is None
    assert world.seen(world.bob, made["id"]) is None
    left = world.seen(world.ada, made["id"])
    assert (left["owner"], left["memberCount"]) == ({"name": world.ada.name}, 1)
    world.do(world.ada, "leaveGroup", "GroupInput", **where)
    assert world.seen(world.ada, made["id"]) is None


def test_conversations_are_listed_by_when_one_came_to_them(world: World) -> None:
    first, second, third = world.group(name="1"), world.open(world.bob, world.ada), world.group(name="2")
    assert world.listed(world.ada) == [third["id"], second["id"], first["id"]]
    query = (
        "query($a: String) { viewer { conversations(first: 2, after: $a) { nodes { id } pageInfo { endCursor } } } }"
    )
    page = world.ada.ask(query)["viewer"]["conversations"]
    rest = world.ada.ask(query, a=page["pageInfo"]["endCursor"])["viewer"]["conversations"]
    assert [node["id"] for node in (*page["nodes"], *rest["nodes"])] == world.listed(world.ada)


@pytest.mark.parametrize(
    ("what", "kind", "fields", "code"),
    [
        ("openDirect", "OpenDirectInput", {"accountId": "ADA"}, "NOT_YOURSELF"),
        ("openDirect", "OpenDirectInput", {"accountId": "GROUP"}, "ID_OF_ANOTHER_TYPE"),
        ("createGroup", "CreateGroupInput", {"accountIds": ["x"]}, "INVALID_ID"),
        ("createGroup", "CreateGroupInput", {"name": "x" * 101}, "TOO_LONG"),
        ("renameGroup", "RenameGroupInput", {"conversationId": "ADA", "name": ""}, "ID_OF_ANOTHER_TYPE"),
        ("leaveGroup", "GroupInput", {"conversationId": "DIRECT"}, "NOT_A_GROUP"),
    ],
)
def test_bad_input_is_refused(world: World, what: str, kind: str, fields: dict[str, Any], code: str) -> None:
    known = {"ADA": world.ada.id}
    if "GROUP" in fields.values():
        known["GROUP"] = world.group()["id"]
    if "DIRECT" in fields.values():
        known["DIRECT"] = world.open(world.ada, world.bob)["id"]
    given = {name: known.get(value, value) if isinstance(value, str) else value for name, value in fields.items()}
    assert refused(world.ada, what, kind, **given) == code


def test_a_page_of_conversations_takes_a_few_statements(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = FIELDS.replace("members {", "members { presence")
    query = f"{{ viewer {{ conversations(first: 10) {{ nodes {{ {fields} }} }} }} }}"
    world.open(world.ada, world.bob)
    world.group(world.bob)
    with counted(monkeypatch) as few:
        world.ada.ask(query)
    world.open(world.ada, world.cleo)
    for _ in range(6):
        world.group(world.bob, world.cleo)
    with counted(monkeypatch) as many:
        found = world.ada.ask(query)["viewer"]["conversations"]["nodes"]
    assert len(found) == 9
    assert len(many) == len(few) <= 10, many


UNREAD = "unread { count mentions first { body } readUpTo { body } }"


def test_what_is_unread_takes_as_many_statements_in_any_number_of_conversations(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = f"{{ viewer {{ conversations(first: 30) {{ nodes {{ id {UNREAD} }} }} }} }}"
    ada, bob = world.ada, world.bob

    def write(place: str) -> None:
        said = [
            done(ada, "sendMessage", "message { id }", "SendMessageInput", channelId=place, body=body)["message"]
            for body in ("One", f"Two @{bob.name}")
        ]
        bob.position = ada.position
        done(bob, "markRead", "position", "MarkReadInput", channelId=place, messageId=said[0]["id"])
        ada.position = bob.position

    write(world.open(ada, bob)["id"])
    write(world.group(bob)["id"])
    with counted(monkeypatch) as few:
        bob.ask(query)
    for _ in range(10):
        write(world.group(bob)["id"])
    with counted(monkeypatch) as many:
        found = bob.ask(query)["viewer"]["conversations"]["nodes"]
    unread = {"count": 1, "mentions": 1, "first": {"body": f"Two @{bob.name}"}, "readUpTo": {"body": "One"}}
    assert [one["unread"] for one in found] == [unread] * 12
    assert len(many) == len(few), many
