"""Messages: who writes, edits, deletes and reacts to what, whom a text mentions, and how far one has read."""

from typing import Any

import pytest

from domain import snowflake
from domain.channel import ChannelDeleted, ChannelEdited, OverrideSet
from domain.command import Command
from domain.emoji_list import EmojiListed
from domain.event import Event, Id
from domain.ids import derived, packed, unpacked
from domain.limits import Limits
from domain.message import (
    Attachment,
    DeleteMessage,
    EditMessage,
    MessageDeleted,
    MessageEdited,
    MessageSent,
    SendMessage,
    attachments_of,
)
from domain.nonce import NonceUsed
from domain.permissions import Permission
from domain.reaction import AddReaction, ReactionAdded, ReactionRemoved, RemoveReaction
from domain.read_marker import MarkerMoved, MarkRead
from domain.refusal import Code
from domain.role import RoleEdited
from domain.server_member import MemberBanned, ServerLeft
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    GENERAL,
    MESSAGE,
    MODS,
    NEWS,
    REPLIED,
    SENT,
    SERVER,
    STAFF,
    chat,
    given,
    holds,
    named,
    opened,
    said,
)

HERE: tuple[Event, ...] = chat(ALICE, BOB)
NAMED = (named(ALICE, "alice"), named(BOB, "bob"), named(CAROL, "carol"))
IDS: dict[str, Any] = {"channel_id": GENERAL, "server_id": SERVER}
PICTURE = Attachment("https://example.org/a.png", "a.png", "image/png", 10)


def sent(body: str = "Hi", mentions: tuple[Id, ...] = (), **more: Any) -> tuple[MessageSent, NonceUsed]:
    message = MessageSent(
        message_id=SENT,
        **IDS,
        author_id=ALICE,
        **({"reply_to_id": None, "mentions": packed(mentions), "body": body, "attachments": ""} | more),
    )
    return message, NonceUsed(message_id=SENT, channel_id=GENERAL, author_id=ALICE)


def overridden(allow: int = 0, deny: int = 0, target_id: Id = SERVER) -> OverrideSet:
    return OverrideSet(
        **IDS, target_id=target_id, editor_id=CAROL, allow=allow, deny=deny, membership=int(target_id != SERVER)
    )


def deleted(message_id: Id = MESSAGE, mentions: tuple[Id, ...] = ()) -> MessageDeleted:
    return MessageDeleted(message_id=message_id, **IDS, author_id=ALICE, deleter_id=CAROL, mentioned=packed(mentions))


def test_a_member_writes() -> None:
    given(*HERE).when(SendMessage(GENERAL, "Hi")).then(*sent())


def test_a_reply_is_to_a_message_of_the_channel_that_is_there() -> None:
    there = given(*HERE, said(BOB))
    there.when(SendMessage(GENERAL, "Hi", MESSAGE)).then(*sent(reply_to_id=MESSAGE))
    given(*HERE).when(SendMessage(GENERAL, "Hi", MESSAGE)).then_refused(Code.MESSAGE_NOT_FOUND, "reply_to_id")
    gone = given(*HERE, said(), deleted())
    gone.when(SendMessage(GENERAL, "Hi", MESSAGE)).then_refused(Code.MESSAGE_DELETED, "reply_to_id")
    elsewhere = given(*HERE, opened(NEWS), said())
    elsewhere.when(SendMessage(NEWS, "Hi", MESSAGE)).then_refused(Code.MESSAGE_NOT_FOUND, "reply_to_id")


@pytest.mark.parametrize(
    "since",
    [
        ServerLeft(server_id=SERVER, account_id=ALICE),
        MemberBanned(server_id=SERVER, account_id=ALICE, moderator_id=CAROL, reason="", until=None, was_member=True),
        overridden(deny=int(Permission.VIEW_CHANNELS)),
        ChannelDeleted(**IDS, deleter_id=CAROL),
    ],
    ids=["left", "banned", "hidden", "deleted"],
)
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (SendMessage(GENERAL, "Hi"), Code.CHANNEL_NOT_FOUND),
        (EditMessage(MESSAGE, "New"), Code.MESSAGE_NOT_FOUND),
        (AddReaction(MESSAGE, "👍"), Code.MESSAGE_NOT_FOUND),
        (MarkRead(GENERAL, MESSAGE), Code.CHANNEL_NOT_FOUND),
    ],
)
def test_who_does_not_see_the_channel_does_nothing_in_it(since: Event, command: Command, code: Code) -> None:
    given(*HERE, said(), since).when(command).then_refused(code)


@pytest.mark.parametrize(
    ("denied", "command"),
    [
        (Permission.SEND_MESSAGES, SendMessage(GENERAL, "Hi")),
        (Permission.SEND_MESSAGES, EditMessage(MESSAGE, "New")),
        (Permission.ATTACH_FILES, SendMessage(GENERAL, "Hi", attachments=(PICTURE,))),
        (Permission.ADD_REACTIONS, AddReaction(MESSAGE, "👍")),
    ],
)
def test_each_act_needs_its_permission(denied: Permission, command: Command) -> None:
    there = given(*HERE, said(), overridden(deny=int(denied)))
    assert (denied.name or "") in there.when(command).then_refused(Code.PERMISSION_DENIED).message


def test_announcements_need_a_permission_of_their_own() -> None:
    place = opened()
    told = type(place)(**{**{name: getattr(place, name) for name in place.__struct_fields__}, "kind": "announcement"})
    before = tuple(told if event == place else event for event in HERE)
    given(*before).when(SendMessage(GENERAL, "Hi")).then_refused(Code.PERMISSION_DENIED)
    allowed = overridden(allow=int(Permission.ANNOUNCE), deny=int(Permission.SEND_MESSAGES))
    given(*before, allowed).when(SendMessage(GENERAL, "Hi")).then(*sent())


@pytest.mark.parametrize(
    ("body", "code"),
    [("", Code.TOO_SHORT), (" \n", Code.TOO_SHORT), ("x" * 4001, Code.TOO_LONG), ("\0", Code.INVALID_CHARACTERS)],
)
def test_a_text_is_checked(body: str, code: Code) -> None:
    given(*HERE).when(SendMessage(GENERAL, body)).then_refused(code, "body")
    given(*HERE, said()).when(EditMessage(MESSAGE, body)).then_refused(code, "body")


def test_attachments_are_references_and_need_no_text() -> None:
    then = given(*HERE).when(SendMessage(GENERAL, "", attachments=(PICTURE,)))
    assert then.refusal is None
    (message, _) = then.recorded
    assert isinstance(message.event, MessageSent)
    assert attachments_of(message.event.attachments) == (PICTURE,)
    for wrong, code in (
        ({"url": "javascript:alert(1)"}, Code.INVALID_URL),
        ({"name": ""}, Code.TOO_SHORT),
        ({"media_type": "png"}, Code.INVALID_VALUE),
        ({"size_bytes": -1}, Code.INVALID_VALUE),
        ({"media_type": "x" * 41 + "/png"}, Code.INVALID_VALUE),
    ):
        one = Attachment(**{**{name: getattr(PICTURE, name) for name in PICTURE.__struct_fields__}, **wrong})
        given(*HERE).when(SendMessage(GENERAL, "Hi", attachments=(one,))).then_refused(code, "attachments")
    many = SendMessage(GENERAL, "Hi", attachments=(PICTURE,) * 11)
    given(*HERE).when(many).then_refused(Code.INVALID_VALUE, "attachments")


@pytest.mark.parametrize(
    ("body", "mentions"),
    [
        ("Hi @bob", (BOB,)),
        ("@BOB, @carol and @bob!", (BOB, CAROL)),
        ("@nobody @everyone @mods", ()),
        ("me@bob, https://example.org/@bob `@bob`", ()),
        ("```\n@bob\n```\n@carol", (CAROL,)),
        ("```\n@bob\n``` @carol", ()),
        ("```\n@bob", ()),
        ("~~~\n@bob\n~~~\n@carol", (CAROL,)),
        ("````\n```\n@bob\n````\n@carol", (CAROL,)),
        ("```@bob``` @carol", (CAROL,)),
        ("`@bob\n@bob` @carol", (CAROL,)),
        ("``@bob ` @bob`` @carol", (CAROL,)),
        ("`@bob\n\n@carol`", (BOB, CAROL)),
        ("a ` b @bob", (BOB,)),
        (r"\`@bob\` and \@carol", (BOB,)),
        ("_@bob_ **@carol**", (BOB, CAROL)),
        ("@bob_ @carol-", (BOB, CAROL)),
        ("@bob's @carol.", (BOB, CAROL)),
        ("@bob... (@carol)", (BOB, CAROL)),
        ("@bobé @bob.com @bob/@carol", (BOB,)),
    ],
)
def test_whom_a_text_mentions(body: str, mentions: tuple[Id, ...]) -> None:
    given(*HERE, *NAMED).when(SendMessage(GENERAL, body)).then(*sent(body, mentions))


def test_roles_and_everyone_are_mentioned_by_permission() -> None:
    allowed = overridden(allow=int(Permission.MENTION_EVERYONE))
    body = "@everyone @mods @staff"
    given(*HERE, allowed).when(SendMessage(GENERAL, body)).then(*sent(body, (SERVER, MODS, STAFF)))
    spaced = RoleEdited(server_id=SERVER, role_id=MODS, editor_id=CAROL, name="The Mods", permissions=0)
    given(*HERE, allowed, spaced).when(SendMessage(GENERAL, "@the-mods")).then(*sent("@the-mods", (MODS,)))


@pytest.mark.parametrize("name", ["Größe", "Модераторы", "C++", "dev.ops", "R&D", "🚀 crew", "N°1"])
def test_a_role_of_any_name_is_mentioned(name: str) -> None:
    allowed = overridden(allow=int(Permission.MENTION_EVERYONE))
    roles = [
        RoleEdited(server_id=SERVER, role_id=role_id, editor_id=CAROL, name=called, permissions=0)
        for role_id, called in ((MODS, name), (STAFF, "Gr"))
    ]
    body = f"So, @{name.replace(' ', '-').upper()}..., what now?"
    given(*HERE, allowed, *roles).when(SendMessage(GENERAL, body)).then(*sent(body, (MODS,)))


def test_roles_of_one_name_are_mentioned_together() -> None:
    allowed = overridden(allow=int(Permission.MENTION_EVERYONE))
    roles = [
        RoleEdited(server_id=SERVER, role_id=role_id, editor_id=CAROL, name=called, permissions=0)
        for role_id, called in ((MODS, "big team"), (STAFF, "Big-Team"))
    ]
    given(*HERE, allowed, *roles).when(SendMessage(GENERAL, "@big-team")).then(*sent("@big-team", (MODS, STAFF)))


def test_who_does_not_see_the_channel_is_not_mentioned() -> None:
    hidden = overridden(deny=int(Permission.VIEW_CHANNELS), target_id=BOB)
    given(*HERE, *NAMED, hidden).when(SendMessage(GENERAL, "@bob")).then(*sent("@bob"))
    given(*chat(ALICE), *NAMED).when(SendMessage(GENERAL, "@bob")).then(*sent("@bob"))


def test_a_message_mentions_so_many() -> None:
    body = " ".join(f"@name{n}" for n in range(21))
    given(*HERE).when(SendMessage(GENERAL, body)).then_refused(Code.TOO_MANY_MENTIONS, "body")
    given(*HERE).when(SendMessage(GENERAL, body), limits=Limits(mentions_max=21)).then(*sent(body))


def test_an_edit_says_whom_it_mentions_now_and_before() -> None:
    there = given(*HERE, *NAMED, said(body="@bob", mentions=(BOB,)))
    there.when(EditMessage(MESSAGE, "@carol")).then(
        MessageEdited(
            message_id=MESSAGE,
            **IDS,
            author_id=ALICE,
            mentions=packed((CAROL,)),
            mentioned=packed((BOB,)),
            body="@carol",
        )
    )
    there.when(EditMessage(MESSAGE, "@carol"), key="2").then_nothing()
    there.when(DeleteMessage(MESSAGE), by=CAROL).then(deleted(mentions=(CAROL,)))
    there.when(EditMessage(MESSAGE, "Back"), key="3").then_refused(Code.MESSAGE_DELETED)


def test_only_the_author_edits_and_authors_and_moderators_delete() -> None:
    there = given(*HERE, said())
    there.when(EditMessage(MESSAGE, "Mine"), by=CAROL).then_refused(Code.NOT_THE_AUTHOR)
    there.when(DeleteMessage(MESSAGE), by=BOB).then_refused(Code.PERMISSION_DENIED)
    moderator = given(*HERE, said(), overridden(allow=int(Permission.MANAGE_MESSAGES), target_id=BOB))
    moderator.when(DeleteMessage(MESSAGE), by=BOB).then(
        MessageDeleted(message_id=MESSAGE, **IDS, author_id=ALICE, deleter_id=BOB, mentioned=b"")
    )


def test_an_author_who_left_deletes_what_he_wrote() -> None:
    left = given(*HERE, said(), ServerLeft(server_id=SERVER, account_id=ALICE))
    left.when(DeleteMessage(MESSAGE)).then(
        MessageDeleted(message_id=MESSAGE, **IDS, author_id=ALICE, deleter_id=ALICE, mentioned=b"")
    )


def test_reactions_are_one_of_each_emoji_and_account() -> None:
    there = given(*HERE, said())
    thumb: dict[str, Any] = {"message_id": MESSAGE, "channel_id": GENERAL, "account_id": ALICE, "emoji": "👍"}
    there.when(AddReaction(MESSAGE, "👍")).then(EmojiListed(**thumb), ReactionAdded(**thumb))
    there.when(AddReaction(MESSAGE, "👍"), key="2").then_nothing()
    there.when(RemoveReaction(MESSAGE, "👍")).then(ReactionRemoved(**thumb))
    there.when(RemoveReaction(MESSAGE, "👍"), key="2").then_nothing()
    given(*HERE, said(), deleted()).when(AddReaction(MESSAGE, "👍")).then_refused(Code.MESSAGE_DELETED)


@pytest.mark.parametrize(
    "emoji", ["👍", "👍🏽", "❤️", "❤", "1️⃣", "🇫🇷", "👩‍👩‍👧‍👦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "©️", "\u2139\ufe0f", "↔️", "🏳️‍🌈"]
)
def test_emoji(emoji: str) -> None:
    assert given(*HERE, said()).when(AddReaction(MESSAGE, emoji)).refusal is None


@pytest.mark.parametrize(
    "emoji", ["", "a", "hello", "12", "👍x", " ", "<b>", "👍" * 2, "😀" * 32, "\n👍", "1x⃣", "☺!", "☺\u200b", "🇫", "🏽"]
)
def test_what_is_no_emoji(emoji: str) -> None:
    given(*HERE, said()).when(AddReaction(MESSAGE, emoji)).then_refused(Code.INVALID_VALUE, "emoji")


@pytest.mark.parametrize(
    ("written", "recommended"),
    [
        ("\u2764", "\u2764\ufe0f"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("\u2705", "\u2705"),
        ("\u2705\ufe0f", "\u2705"),
        ("1\u20e3", "1\ufe0f\u20e3"),
        ("\u261d\U0001f3fd", "\u261d\U0001f3fd"),
        ("\u2764\u200d\U0001f525", "\u2764\ufe0f\u200d\U0001f525"),
        ("\U0001f441\ufe0f\u200d\U0001f5e8", "\U0001f441\ufe0f\u200d\U0001f5e8\ufe0f"),
        ("\U0001f3f4\u200d\u2620", "\U0001f3f4\u200d\u2620\ufe0f"),
        ("\U0001f575\U0001f3fb\u200d\u2642", "\U0001f575\U0001f3fb\u200d\u2642\ufe0f"),
        ("\U0001f237", "\U0001f237\ufe0f"),
        ("\U0001f1eb\U0001f1f7", "\U0001f1eb\U0001f1f7"),
        ("\U0001fae8", "\U0001fae8"),
    ],
)
def test_however_clients_write_it_it_is_one_emoji(written: str, recommended: str) -> None:
    there = given(*HERE, said())
    it: dict[str, Any] = {"message_id": MESSAGE, "channel_id": GENERAL, "account_id": ALICE, "emoji": recommended}
    there.when(AddReaction(MESSAGE, written)).then(EmojiListed(**it), ReactionAdded(**it))
    there.when(AddReaction(MESSAGE, recommended), key="2").then_nothing()
    there.when(RemoveReaction(MESSAGE, written)).then(ReactionRemoved(**it))


def test_one_reacts_with_so_many_emoji() -> None:
    there = given(*HERE, said())
    limits = Limits(reactions_max=2)
    for emoji in ("🐘", "🐇"):
        assert there.when(AddReaction(MESSAGE, emoji), key=emoji, limits=limits).refusal is None
    more = AddReaction(MESSAGE, "👍")
    there.when(more, key="more", limits=limits).then_refused(Code.TOO_MANY_REACTIONS, "emoji")
    assert there.when(RemoveReaction(MESSAGE, "🐘"), key="less", limits=limits).refusal is None
    assert there.when(more, key="more", limits=limits).refusal is None


def test_a_message_takes_so_many_emoji_and_everybody_joins_in_with_those() -> None:
    there = given(*HERE, said())
    faces = [chr(0x1F600 + number) for number in range(20)]
    for emoji in faces[0:6:2]:
        assert there.when(AddReaction(MESSAGE, emoji), key=emoji, limits=Limits(emoji_brought_max=3)).refusal is None
    again = there.when(AddReaction(MESSAGE, faces[6]), key=faces[6], limits=Limits(emoji_brought_max=3))
    again.then_refused(Code.TOO_MANY_EMOJI, "emoji")
    for number, emoji in enumerate(faces):
        assert there.when(AddReaction(MESSAGE, emoji), key=emoji, by=(ALICE, BOB)[number % 2]).refusal is None
    for by in (ALICE, BOB):
        there.when(AddReaction(MESSAGE, "👍"), by=by).then_refused(Code.TOO_MANY_EMOJI, "emoji")
    also: dict[str, Any] = {"message_id": MESSAGE, "channel_id": GENERAL, "account_id": BOB, "emoji": faces[0]}
    fewer = Limits(emoji_max=1)
    there.when(AddReaction(MESSAGE, faces[0]), by=BOB, key="also", limits=fewer).then(ReactionAdded(**also))


def test_an_emoji_that_was_taken_back_can_be_brought_again() -> None:
    there, limits = given(*HERE, said()), Limits(emoji_max=1)
    assert there.when(AddReaction(MESSAGE, "🐘"), limits=limits).refusal is None
    assert there.when(RemoveReaction(MESSAGE, "🐘"), limits=limits).refusal is None
    there.when(AddReaction(MESSAGE, "🐇"), key="2", limits=limits).then_refused(Code.TOO_MANY_EMOJI, "emoji")
    again: dict[str, Any] = {"message_id": MESSAGE, "channel_id": GENERAL, "account_id": BOB, "emoji": "🐘"}
    there.when(AddReaction(MESSAGE, "🐘"), by=BOB, limits=limits).then(ReactionAdded(**again))


def test_the_marker_stands_at_a_message_of_the_channel() -> None:
    there = given(*HERE, said(), said(message_id=REPLIED), deleted(REPLIED))
    for to in (REPLIED, MESSAGE, REPLIED):
        marker = MarkerMoved(account_id=BOB, channel_id=GENERAL, message_id=to)
        assert [one.event for one in there.when(MarkRead(GENERAL, to), by=BOB, key=None).recorded] == [marker]
    there.when(MarkRead(GENERAL, derived("nothing"))).then_refused(Code.MESSAGE_NOT_FOUND)
    elsewhere = given(*HERE, said(), opened(NEWS))
    elsewhere.when(MarkRead(NEWS, MESSAGE)).then_refused(Code.MESSAGE_NOT_FOUND)


def test_slow_mode_holds_for_those_who_do_not_moderate() -> None:
    slow = ChannelEdited(**IDS, editor_id=CAROL, name="general", topic="", slow_mode_seconds=5)
    place = given(*HERE, slow, holds(ALICE, MODS))
    place.when(SendMessage(GENERAL, "Hi")).then(*sent())


def test_ids_are_packed() -> None:
    assert unpacked(packed((BOB, ALICE, BOB))) == tuple(sorted((ALICE, BOB)))
    assert packed(()) == b""


def test_snowflakes_are_ids_and_back() -> None:
    numbers = [0, 1, 7, 8, 2**15 - 1, 2**15, 2**40 + 12345, 2**63 - 1]
    ids = [snowflake.as_id(number) for number in numbers]
    assert ids == sorted(ids)
    assert [snowflake.of_id(one) for one in ids] == numbers
    assert all(one[14] == "8" and one[19] in "89ab" for one in ids)
    for wrong in (ALICE, Id("x"), derived("no")):
        with pytest.raises(snowflake.NoSnowflake):
            snowflake.of_id(wrong)
