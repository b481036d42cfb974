"""Messages through the API: writing, reading in both directions, editing, deleting, reacting, and what is unread."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.stack import Client, Stack
from tests.api.test_servers import CHANNEL, SERVER, World, done, refused
from tests.api.test_work_done import counted

MESSAGE = """message { id snowflake body bodyHtml deleted sentAt editedAt author { name } replyTo { id body }
  mentionedAccounts { name } mentionedRoles { name everyone } mentionsViewer
  attachments { url name mediaType sizeBytes } reactions { emoji count viewerReacted } history { body } }"""
HISTORY = """query($id: ID!, $first: Int, $after: String, $last: Int, $before: String, $around: ID) {
  node(id: $id) { ... on Channel { messages(first: $first, after: $after, last: $last, before: $before, around: $around)
  { nodes { id body } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } } } } }"""
UNREAD = """query($id: ID!) { node(id: $id) { ... on Channel {
  unread { count mentions first { body } readUpTo { body } } } } }"""


class Unheld:
    """A pace that lets everybody write as fast as he likes."""

    async def take(self, *_: Any, **__: Any) -> None: ...


class Talk(World):
    """A server of Ada's in which Bob is."""

    def __init__(self, somebody: Callable[[], Client]) -> None:
        super().__init__(somebody)
        self.let_in()

    def say(self, who: Client, body: str, **more: Any) -> dict[str, Any]:
        answer = done(who, "sendMessage", MESSAGE, "SendMessageInput", channelId=self.channel, body=body, **more)
        self.ada.position = self.bob.position = who.position
        message: dict[str, Any] = answer["message"]
        return message

    def act(self, who: Client, what: str, kind: str, **fields: Any) -> Any:
        answer = done(who, what, MESSAGE, kind, **fields)
        self.ada.position = self.bob.position = who.position
        return answer["message"]

    def page(self, who: Client, **where: Any) -> tuple[list[str], dict[str, Any]]:
        found = who.ask(HISTORY, id=self.channel, **where)["node"]["messages"]
        return [node["body"] for node in found["nodes"]], found["pageInfo"]

    def unread(self, who: Client) -> tuple[int, int, str | None]:
        found = who.ask(UNREAD, id=self.channel)["node"]["unread"]
        return found["count"], found["mentions"], found["first"] and found["first"]["body"]

    def read(self, who: Client, message: dict[str, Any]) -> None:
        done(who, "markRead", "unread { count }", "MarkReadInput", channelId=self.channel, messageId=message["id"])


@pytest.fixture
def talk(somebody: Callable[[], Client]) -> Talk:
    return Talk(somebody)


def test_a_message_is_what_was_written(talk: Talk) -> None:
    first = talk.say(talk.ada, "Hello *you*")
    assert first["body"] == "Hello *you*"
    assert first["bodyHtml"] == "<p>Hello <em>you</em></p>\n"
    assert first["author"] == {"name": talk.ada.name}
    assert (first["deleted"], first["editedAt"], first["replyTo"]) == (False, None, None)
    assert 0 < int(first["snowflake"]) < 2**63
    picture = {"url": "https://example.org/a.png", "name": "a.png", "mediaType": "image/png", "sizeBytes": 5}
    reply = talk.say(talk.bob, "", replyToId=first["id"], attachments=[picture])
    assert reply["replyTo"] == {"id": first["id"], "body": "Hello *you*"}
    assert reply["attachments"] == [picture]
    assert int(reply["snowflake"]) > int(first["snowflake"])
    found = talk.bob.ask("query($id: ID!) { node(id: $id) { ... on Message { body } } }", id=first["id"])
    assert found == {"node": {"body": "Hello *you*"}}


def test_scripts_are_only_words(talk: Talk) -> None:
    said = talk.say(talk.ada, '<script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror="alert(1)">')
    assert "<script" not in said["bodyHtml"]
    assert "href" not in said["bodyHtml"]
    assert "<img" not in said["bodyHtml"]


def test_a_nonce_stands_for_one_message_of_a_channel(talk: Talk) -> None:
    first = talk.say(talk.ada, "Once", nonce="1")
    assert talk.say(talk.ada, "Twice?", nonce="1")["id"] == first["id"]
    talk.act(talk.ada, "deleteMessage", "MessageInput", messageId=first["id"])
    again = talk.say(talk.ada, "Once", nonce="1")
    assert (again["id"], again["deleted"]) == (first["id"], True)
    assert talk.say(talk.bob, "Bob's", nonce="1")["id"] != first["id"]
    other = talk.make("other")
    fields = {"channelId": other, "body": "Elsewhere", "nonce": "1"}
    assert done(talk.ada, "sendMessage", MESSAGE, "SendMessageInput", **fields)["message"]["body"] == "Elsewhere"
    for nonce in ("", " ", "x" * 101):
        wrong = {"channelId": other, "body": "x", "nonce": nonce}
        answer = talk.ada.do("sendMessage", kind_of_input="SendMessageInput", **wrong)
        (error,) = answer["errors"]
        assert (error["code"], error["field"]) == ("IDEMPOTENCY_KEY_INVALID", ["input", "nonce"])
    both = {"channelId": other, "body": "x", "nonce": "1", "idempotencyKey": "2"}
    assert refused(talk.ada, "sendMessage", "SendMessageInput", **both) == "BAD_REQUEST"


def test_edits_are_kept_and_deleting_takes_the_text_away(talk: Talk) -> None:
    said = talk.say(talk.ada, "One")
    edited = talk.act(talk.ada, "editMessage", "EditMessageInput", messageId=said["id"], body="Two")
    assert (edited["body"], edited["id"]) == ("Two", said["id"])
    assert edited["editedAt"] is not None
    assert [version["body"] for version in edited["history"]] == ["One", "Two"]
    assert refused(talk.bob, "editMessage", "EditMessageInput", messageId=said["id"], body="x") == "NOT_THE_AUTHOR"
    assert refused(talk.bob, "deleteMessage", "MessageInput", messageId=said["id"]) == "PERMISSION_DENIED"
    gone = talk.act(talk.ada, "deleteMessage", "MessageInput", messageId=said["id"])
    assert (gone["deleted"], gone["body"], gone["bodyHtml"], gone["history"]) == (True, None, None, [])
    assert talk.page(talk.bob, first=5)[0] == [None]


def test_the_log_is_asked_for_the_history_of_what_was_edited_alone(
    stack: Stack, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [talk.say(talk.ada, body) for body in ("One", "Two", "Three")]
    talk.act(talk.ada, "editMessage", "EditMessageInput", messageId=said[1]["id"], body="Two!")
    store, loaded = type(stack.moot.store), []
    real = store.load

    async def load(self: Any, ids: Any) -> Any:
        loaded.append(list(ids))
        return await real(self, ids)

    monkeypatch.setattr(store, "load", load)
    query = """query($id: ID!) { node(id: $id) { ... on Channel { messages(first: 9) { nodes {
      sentAt history { body since } } } } } }"""
    nodes = talk.bob.ask(query, id=talk.channel)["node"]["messages"]["nodes"]
    assert [[one["body"] for one in node["history"]] for node in nodes] == [["Three"], ["Two", "Two!"], ["One"]]
    assert all(node["history"][0]["since"] == node["sentAt"] for node in nodes)
    assert len(loaded) == 1


def test_mentions_by_name_role_and_everyone(talk: Talk) -> None:
    talk.role("Staff")
    said = talk.say(talk.ada, f"@{talk.bob.name} @staff @everyone @nobody")
    assert said["mentionedAccounts"] == [{"name": talk.bob.name}]
    assert sorted(role["name"] for role in said["mentionedRoles"]) == ["Staff", "everyone"]
    by_bob = talk.say(talk.bob, f"@everyone @{talk.ada.name}")
    assert by_bob["mentionedRoles"] == []
    assert not by_bob["mentionsViewer"]
    query = "query($id: ID!) { node(id: $id) { ... on Message { mentionsViewer } } }"
    assert talk.bob.ask(query, id=said["id"]) == {"node": {"mentionsViewer": True}}


def test_history_in_both_directions_and_around(talk: Talk) -> None:
    ids = [talk.say(talk.ada, str(number))["id"] for number in range(9)]
    newest, info = talk.page(talk.bob, first=4)
    assert newest == ["8", "7", "6", "5"]
    older, last = talk.page(talk.bob, first=9, after=info["endCursor"])
    assert older == ["4", "3", "2", "1", "0"]
    assert not last["hasNextPage"]
    newer, _ = talk.page(talk.bob, last=2, before=last["startCursor"])
    assert newer == ["6", "5"]
    middle, both = talk.page(talk.bob, first=4, around=ids[4])
    assert middle == ["6", "5", "4", "3"]
    assert both["hasNextPage"]
    assert both["hasPreviousPage"]
    assert talk.page(talk.bob, last=9, before=both["startCursor"])[0] == ["8", "7"]
    wrong = talk.bob.post(HISTORY, {"id": talk.channel, "first": 1, "around": talk.channel})
    assert wrong["errors"][0]["extensions"]["code"] == "ID_OF_ANOTHER_TYPE"


def test_reactions(talk: Talk) -> None:
    said = talk.say(talk.ada, "One")
    for who, emoji in ((talk.ada, "👍"), (talk.bob, "👍"), (talk.bob, "🐘")):
        reacted = talk.act(who, "addReaction", "ReactionInput", messageId=said["id"], emoji=emoji)
    assert reacted["reactions"] == [
        {"emoji": "👍", "count": 2, "viewerReacted": True},
        {"emoji": "🐘", "count": 1, "viewerReacted": True},
    ]
    left = talk.act(talk.bob, "removeReaction", "ReactionInput", messageId=said["id"], emoji="👍")
    assert left["reactions"] == [
        {"emoji": "🐘", "count": 1, "viewerReacted": True},
        {"emoji": "👍", "count": 1, "viewerReacted": False},
    ]
    assert refused(talk.bob, "addReaction", "ReactionInput", messageId=said["id"], emoji="yes") == "INVALID_VALUE"


def test_a_message_takes_twenty_different_emoji(talk: Talk) -> None:
    said = talk.say(talk.ada, "One")["id"]
    for number in range(20):
        who = (talk.ada, talk.bob)[number % 2]
        reacted = talk.act(who, "addReaction", "ReactionInput", messageId=said, emoji=chr(0x1F600 + number))
    assert len(reacted["reactions"]) == 20
    assert refused(talk.bob, "addReaction", "ReactionInput", messageId=said, emoji="🐘") == "TOO_MANY_EMOJI"
    joined = talk.act(talk.bob, "addReaction", "ReactionInput", messageId=said, emoji=chr(0x1F600))
    assert joined["reactions"][0] == {"emoji": chr(0x1F600), "count": 2, "viewerReacted": True}


def test_unread_is_what_others_wrote_after_the_marker(talk: Talk) -> None:
    assert talk.unread(talk.bob) == (0, 0, None)
    first, second = talk.say(talk.ada, "One"), talk.say(talk.ada, f"Two @{talk.bob.name}")
    talk.say(talk.bob, "Mine")
    assert talk.unread(talk.bob) == (2, 1, "One")
    talk.read(talk.bob, first)
    assert talk.unread(talk.bob) == (1, 1, f"Two @{talk.bob.name}")
    talk.act(talk.ada, "editMessage", "EditMessageInput", messageId=second["id"], body="Two")
    assert talk.unread(talk.bob) == (1, 0, "Two")
    talk.act(talk.ada, "deleteMessage", "MessageInput", messageId=second["id"])
    assert talk.unread(talk.bob) == (0, 0, None)
    third = talk.say(talk.ada, "Three @everyone")
    talk.read(talk.bob, third)
    assert talk.unread(talk.bob) == (0, 0, None)
    talk.read(talk.bob, first)
    assert talk.unread(talk.bob) == (1, 1, "Three @everyone")
    assert talk.unread(talk.ada) == (1, 0, "Mine")


def test_a_role_mentions_those_who_hold_it_now(talk: Talk) -> None:
    """Whoever gets it later is mentioned by what was said before; nobody is once it is taken away, or deleted."""
    staff = talk.role("Staff")
    member = {"serverId": talk.id, "accountId": talk.bob.id, "roleId": staff}
    said = talk.say(talk.ada, "One @staff")

    def mentioned() -> tuple[int, bool]:
        talk.bob.position = talk.ada.position
        query = "query($id: ID!) { node(id: $id) { ... on Message { mentionsViewer } } }"
        return talk.unread(talk.bob)[1], talk.bob.ask(query, id=said["id"])["node"]["mentionsViewer"]

    assert mentioned() == (0, False)
    done(talk.ada, "grantRole", SERVER, "MemberRoleInput", **member)
    assert mentioned() == (1, True)
    done(talk.ada, "revokeRole", SERVER, "MemberRoleInput", **member)
    assert mentioned() == (0, False)
    done(talk.ada, "grantRole", SERVER, "MemberRoleInput", **member)
    done(talk.ada, "deleteRole", "role { id }", "RoleInput", serverId=talk.id, roleId=staff)
    assert mentioned() == (0, False)


def test_strangers_are_told_nothing(talk: Talk, somebody: Callable[[], Client], visitor: Client) -> None:
    said = talk.say(talk.ada, "Secret")
    eve = somebody()
    eve.position = talk.ada.position
    for who in (eve, visitor):
        query = "query($id: ID!) { node(id: $id) { ... on Message { body } } }"
        assert who.ask(query, id=said["id"]) == {"node": None}
    assert refused(eve, "sendMessage", "SendMessageInput", channelId=talk.channel, body="x") == "CHANNEL_NOT_FOUND"
    assert refused(eve, "addReaction", "ReactionInput", messageId=said["id"], emoji="👍") == "MESSAGE_NOT_FOUND"
    marked = {"channelId": talk.channel, "messageId": said["id"]}
    assert refused(eve, "markRead", "MarkReadInput", **marked) == "CHANNEL_NOT_FOUND"
    nobody = {"channelId": talk.channel, "body": "x"}
    assert refused(visitor, "sendMessage", "SendMessageInput", **nobody) == "UNAUTHENTICATED"


def test_slow_mode_says_how_long_to_wait(talk: Talk) -> None:
    done(talk.ada, "editChannel", CHANNEL, "EditChannelInput", channelId=talk.channel, slowModeSeconds=60)
    talk.say(talk.bob, "One", nonce="1")
    fields = {"channelId": talk.channel, "body": "Two"}
    answer = talk.bob.do("sendMessage", "errors { code retryAfterSeconds }", kind_of_input="SendMessageInput", **fields)
    (error,) = answer["errors"]
    assert error["code"] == "SLOW_MODE"
    assert 55 <= error["retryAfterSeconds"] <= 60
    assert talk.say(talk.bob, "One", nonce="1")["body"] == "One"  # a retry is no second message
    assert talk.say(talk.ada, "Three")["body"] == "Three"
    assert talk.say(talk.ada, "Four")["body"] == "Four"


def test_whom_one_blocks_is_hidden(talk: Talk) -> None:
    said = talk.say(talk.ada, "One")
    answer = talk.bob.do("blockAccount", kind_of_input="AccountInput", accountId=talk.ada.id)
    assert answer["errors"] == []
    query = "query($id: ID!) { node(id: $id) { ... on Message { hidden body bodyHtml history { body } } } }"
    hidden = {"hidden": True, "body": None, "bodyHtml": None, "history": []}
    assert talk.bob.ask(query, id=said["id"]) == {"node": hidden}


def test_what_people_one_blocks_wrote_is_not_unread(talk: Talk) -> None:
    talk.say(talk.ada, f"One @{talk.bob.name}")
    assert talk.unread(talk.bob) == (1, 1, f"One @{talk.bob.name}")
    for what, unread in (("blockAccount", (0, 0, None)), ("unblockAccount", (1, 1, f"One @{talk.bob.name}"))):
        assert talk.bob.do(what, kind_of_input="AccountInput", accountId=talk.ada.id)["errors"] == []
        assert talk.unread(talk.bob) == unread


def test_who_leaves_reads_no_more(talk: Talk) -> None:
    said = talk.say(talk.bob, "Mine")
    done(talk.bob, "leaveServer", SERVER, "ServerInput", serverId=talk.id)
    query = "query($id: ID!) { node(id: $id) { ... on Message { body } } }"
    assert talk.bob.ask(query, id=said["id"]) == {"node": None}
    answer = talk.bob.do("deleteMessage", MESSAGE, kind_of_input="MessageInput", messageId=said["id"])
    assert (answer["errors"], answer["message"]) == ([], None)
    talk.ada.position = talk.bob.position
    assert talk.ada.ask("query($id: ID!) { node(id: $id) { ... on Message { deleted } } }", id=said["id"]) == {
        "node": {"deleted": True}
    }


TALK = """query($id: ID!) { node(id: $id) { ... on Conversation { messages(first: 9) { nodes { body author { name }
  channel { id } conversation { id } mentionsViewer } } unread { count mentions } } } }"""


def test_conversations_have_messages_too(somebody: Callable[[], Client]) -> None:
    ada, bob, eve = somebody(), somebody(), somebody()
    made = done(ada, "openDirect", "conversation { id }", "OpenDirectInput", accountId=bob.id)
    place = made["conversation"]["id"]
    said = done(ada, "sendMessage", MESSAGE, "SendMessageInput", channelId=place, body=f"Hi @{bob.name}", nonce="1")[
        "message"
    ]
    assert said["mentionedAccounts"] == [{"name": bob.name}]
    for who in (bob, eve):
        who.position = ada.position
    (there,) = bob.ask(TALK, id=place)["node"]["messages"]["nodes"]
    assert there == {
        "body": f"Hi @{bob.name}",
        "author": {"name": ada.name},
        "channel": None,
        "conversation": {"id": place},
        "mentionsViewer": True,
    }
    assert bob.ask(TALK, id=place)["node"]["unread"] == {"count": 1, "mentions": 1}
    marked = {"channelId": place, "messageId": said["id"]}
    answer = done(bob, "markRead", "unread { count readUpTo { id } }", "MarkReadInput", **marked)
    assert answer["unread"] == {"count": 0, "readUpTo": {"id": said["id"]}}
    assert eve.ask(TALK, id=place) == {"node": None}
    assert eve.ask("query($id: ID!) { node(id: $id) { ... on Message { body } } }", id=said["id"]) == {"node": None}
    assert refused(eve, "sendMessage", "SendMessageInput", channelId=place, body="x") == "CHANNEL_NOT_FOUND"


FULL = """query($id: ID!) { node(id: $id) { ... on Channel { messages(first: 50) { nodes {
  body author { name } replyTo { body author { name } } reactions { emoji count viewerReacted } mentionsViewer hidden
  mentionedAccounts { name } mentionedRoles { name } } } unread { count first { body } } } } }"""


def test_a_page_takes_as_many_queries_whatever_is_on_it(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(number: int) -> None:
        for _ in range(number):
            said = talk.say(talk.ada, f"@everyone @{talk.bob.name}")
            talk.say(talk.bob, f"@{talk.ada.name}", replyToId=said["id"])
            talk.act(talk.bob, "addReaction", "ReactionInput", messageId=said["id"], emoji="👍")

    fill(1)
    with counted(monkeypatch) as few:
        talk.bob.ask(FULL, id=talk.channel)
    fill(6)
    with counted(monkeypatch) as many:
        found = talk.bob.ask(FULL, id=talk.channel)["node"]
    assert len(found["messages"]["nodes"]) == 14
    assert len(many) == len(few) <= 22, many


BADGES = """query($id: ID!) { node(id: $id) { ... on Server { channels {
  unread { count first { body } readUpTo { body } } } } } }"""


def test_what_is_unread_takes_as_many_queries_in_any_number_of_channels(
    stack: Stack, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.moot.commands, "_pace", Unheld())

    def fill(channels: int) -> None:
        for number in range(channels):
            talk.channel = talk.make(f"channel-{number}")
            talk.read(talk.bob, talk.say(talk.ada, "One"))
            talk.say(talk.ada, "Two")

    fill(2)
    with counted(monkeypatch) as few:
        talk.bob.ask(BADGES, id=talk.id)
    fill(18)
    with counted(monkeypatch) as many:
        found = talk.bob.ask(BADGES, id=talk.id)["node"]["channels"]
    unread = {"count": 1, "first": {"body": "Two"}, "readUpTo": {"body": "One"}}
    assert [one["unread"] for one in found][1:] == [unread] * 20
    assert len(many) == len(few) <= 20, many
