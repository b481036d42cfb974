"""Whatever is asked twice happens once: each command, with the same idempotency key, another one, and none."""

import asyncio
from contextlib import suppress

import pytest

from commands.handling import USE_CASES, Outcome
from domain.account import ChangeDisplayName, Register
from domain.ballot import CastVote
from domain.block import Block, Unblock
from domain.channel import ChannelCreated, CreateChannel, DeleteChannel, EditChannel, SetOverride
from domain.channel_list import ChannelListed, MoveChannel
from domain.command import Command
from domain.comment import CommentSubmitted, DeleteComment, EditComment, SubmitComment
from domain.community import CreateCommunity, EditCommunity
from domain.conversation import (
    AddToGroup,
    CreateGroup,
    GroupCreated,
    HandOverGroup,
    LeaveGroup,
    OpenDirect,
    RemoveFromGroup,
    RenameGroup,
)
from domain.event import Event, Id
from domain.follow import AccountFollowed, Follow, Unfollow
from domain.invite import CreateInvite, InviteCreated, JoinServer, RevokeInvite, code_of
from domain.membership import AppointModerator, InviteMember, JoinCommunity, LeaveCommunity
from domain.message import DeleteMessage, EditMessage, MessageSent, SendMessage
from domain.name import keyed_id
from domain.post import (
    DeletePost,
    EditPost,
    LockPost,
    PostLocked,
    PostStickied,
    PostSubmitted,
    StickyPost,
    SubmitPost,
    UnlockPost,
    UnstickyPost,
)
from domain.reaction import AddReaction, ReactionAdded, RemoveReaction
from domain.read_marker import MarkRead
from domain.refusal import Code, Refusal
from domain.role import CreateRole, DeleteRole, EditRole, MoveRole, RoleCreated
from domain.save import ItemSaved, SaveItem, UnsaveItem
from domain.server import CreateServer, DeleteServer, EditServer, ServerCreated, TransferServer
from domain.server_member import (
    BanMember,
    GrantRole,
    KickMember,
    LeaveServer,
    MemberBanned,
    RevokeRole,
    UnbanMember,
)
from infra.event_store import GroupCommitStore
from tests.domain.world import (
    ALICE,
    BOB,
    CAROL,
    COMMENT,
    GENERAL,
    GROUP,
    MESSAGE,
    MODS,
    NEWS,
    PLACE,
    POST,
    SERVER,
    STAFF,
    Given,
    blocked,
    caller,
    chat,
    commands_over,
    commented,
    given,
    group,
    holds,
    joined,
    log_of,
    made,
    moderating,
    opened,
    place,
    posted,
    said,
    voted,
)

HERE: tuple[Event, ...] = (*place(), posted(), commented())
INVITE = keyed_id(bytes(32), "invite", "test")
SERVED: tuple[Event, ...] = (
    *chat(ALICE),
    InviteCreated(invite_id=INVITE, server_id=SERVER, creator_id=ALICE, expires_at=None, uses_max=None),
)
BANNED = MemberBanned(server_id=SERVER, account_id=BOB, moderator_id=CAROL, reason="", until=None, was_member=False)
FOLLOWED = AccountFollowed(follower_id=ALICE, followed_id=BOB)
FOLLOWER = AccountFollowed(follower_id=BOB, followed_id=ALICE)

REPEATED: dict[type[Command], tuple[tuple[Event, ...], Command, Id | None]] = {
    Register: ((), Register(name="dora"), None),
    ChangeDisplayName: ((), ChangeDisplayName("Al"), ALICE),
    Follow: ((), Follow(BOB), ALICE),
    Unfollow: ((FOLLOWED,), Unfollow(BOB), ALICE),
    Block: ((FOLLOWED, FOLLOWER), Block(BOB), ALICE),
    Unblock: ((blocked(ALICE, BOB),), Unblock(BOB), ALICE),
    CreateCommunity: ((), CreateCommunity(name="python"), ALICE),
    EditCommunity: (HERE, EditCommunity(PLACE, title="New"), CAROL),
    JoinCommunity: (HERE, JoinCommunity(PLACE), ALICE),
    LeaveCommunity: ((*HERE, *moderating(BOB)), LeaveCommunity(PLACE), BOB),
    InviteMember: (HERE, InviteMember(PLACE, ALICE), CAROL),
    AppointModerator: ((*HERE, joined(ALICE)), AppointModerator(PLACE, ALICE), CAROL),
    SubmitPost: (HERE, SubmitPost(PLACE, kind="text", title="Again"), ALICE),
    EditPost: (HERE, EditPost(POST, "New"), ALICE),
    DeletePost: (HERE, DeletePost(POST), ALICE),
    LockPost: (HERE, LockPost(POST), CAROL),
    UnlockPost: (
        (*HERE, PostLocked(post_id=POST, community_id=PLACE, moderator_id=CAROL)),
        UnlockPost(POST),
        CAROL,
    ),
    StickyPost: (HERE, StickyPost(POST), CAROL),
    UnstickyPost: (
        (*HERE, PostStickied(post_id=POST, community_id=PLACE, moderator_id=CAROL)),
        UnstickyPost(POST),
        CAROL,
    ),
    SubmitComment: (HERE, SubmitComment(POST, COMMENT, "Again"), BOB),
    EditComment: (HERE, EditComment(COMMENT, "New"), ALICE),
    DeleteComment: (HERE, DeleteComment(COMMENT), ALICE),
    CastVote: ((*HERE, voted(BOB, 1)), CastVote(POST, -1), BOB),
    SaveItem: (HERE, SaveItem(POST), BOB),
    UnsaveItem: ((*HERE, ItemSaved(account_id=BOB, target_id=POST, target="post")), UnsaveItem(POST), BOB),
    CreateServer: ((), CreateServer("Server"), ALICE),
    EditServer: (SERVED, EditServer(SERVER, "New"), CAROL),
    TransferServer: (SERVED, TransferServer(SERVER, ALICE), CAROL),
    DeleteServer: (SERVED, DeleteServer(SERVER), CAROL),
    CreateRole: (SERVED, CreateRole(SERVER, "Again"), CAROL),
    EditRole: (SERVED, EditRole(SERVER, MODS, "New"), CAROL),
    MoveRole: (SERVED, MoveRole(SERVER, MODS, STAFF), CAROL),
    DeleteRole: (SERVED, DeleteRole(SERVER, MODS), CAROL),
    LeaveServer: (SERVED, LeaveServer(SERVER), ALICE),
    KickMember: (SERVED, KickMember(SERVER, ALICE), CAROL),
    BanMember: (SERVED, BanMember(SERVER, ALICE), CAROL),
    UnbanMember: ((*SERVED, BANNED), UnbanMember(SERVER, BOB), CAROL),
    GrantRole: (SERVED, GrantRole(SERVER, ALICE, MODS), CAROL),
    RevokeRole: ((*SERVED, holds(ALICE, MODS)), RevokeRole(SERVER, ALICE, MODS), CAROL),
    CreateInvite: (SERVED, CreateInvite(SERVER), ALICE),
    RevokeInvite: (SERVED, RevokeInvite(INVITE), ALICE),
    JoinServer: (SERVED, JoinServer(code_of(INVITE)), BOB),
    CreateChannel: (SERVED, CreateChannel(SERVER, "Again"), CAROL),
    EditChannel: (SERVED, EditChannel(GENERAL, "New"), CAROL),
    MoveChannel: (
        (*SERVED, opened(NEWS), ChannelListed(server_id=SERVER, channel_id=NEWS, place=200)),
        MoveChannel(SERVER, NEWS),
        CAROL,
    ),
    DeleteChannel: (SERVED, DeleteChannel(GENERAL), CAROL),
    SetOverride: (SERVED, SetOverride(GENERAL, ALICE, 2), CAROL),
    OpenDirect: ((), OpenDirect(BOB), ALICE),
    CreateGroup: ((), CreateGroup((BOB,), "Again"), ALICE),
    AddToGroup: (group(ALICE, BOB), AddToGroup(GROUP, CAROL), BOB),
    RenameGroup: (group(ALICE, BOB), RenameGroup(GROUP, "New"), BOB),
    HandOverGroup: (group(ALICE, BOB), HandOverGroup(GROUP, BOB), ALICE),
    RemoveFromGroup: (group(ALICE, BOB), RemoveFromGroup(GROUP, BOB), ALICE),
    LeaveGroup: (group(ALICE, BOB), LeaveGroup(GROUP), ALICE),
    SendMessage: ((*SERVED, said()), SendMessage(GENERAL, "Again @alice", MESSAGE), ALICE),
    EditMessage: ((*SERVED, said()), EditMessage(MESSAGE, "New"), ALICE),
    DeleteMessage: ((*SERVED, said()), DeleteMessage(MESSAGE), CAROL),
    AddReaction: ((*SERVED, said()), AddReaction(MESSAGE, "👍"), ALICE),
    RemoveReaction: (
        (*SERVED, said(), ReactionAdded(message_id=MESSAGE, channel_id=GENERAL, account_id=ALICE, emoji="👍")),
        RemoveReaction(MESSAGE, "👍"),
        ALICE,
    ),
    MarkRead: ((*SERVED, said()), MarkRead(GENERAL, MESSAGE), ALICE),
}
"""For every command: what happened before, the command, and who asks; it then changes something."""

TWO_WISHES: dict[type[Command], str] = {
    Register: "under another key it is another person, who finds the name taken",
    CreateCommunity: "under another key it is another community, whose name is taken",
    SubmitPost: "who says the same twice, under two keys, wants it said twice",
    SubmitComment: "who says the same twice, under two keys, wants it said twice",
    CreateServer: "under another key it is another server",
    CreateRole: "under another key it is another role",
    CreateInvite: "under another key it is another invite",
    CreateChannel: "under another key it is another channel",
    CreateGroup: "under another key it is another group",
    LeaveGroup: "to whoever is not in it, a group does not exist",
    SendMessage: "who says the same twice, under two keys, wants it said twice",
    MarkRead: "which of two moves of the marker comes last is for the log to say, not for what was there before",
    LeaveServer: "to whoever is not in it, a server does not exist",
    DeleteServer: "what is deleted is not there for anybody, as if it never was",
    DeleteRole: "what is deleted is not there for anybody, as if it never was",
    DeleteChannel: "what is deleted is not there for anybody, as if it never was",
}
"""The commands of which a repetition under another key is another wish, and why."""

COMMANDS = [pytest.param(kind, id=kind.__name__) for kind in USE_CASES]


def all_commands(kind: type[Command] = Command) -> set[type[Command]]:
    """Every class of commands there is."""
    below = set(kind.__subclasses__())
    return below.union(*(all_commands(one) for one in below))


class Asked:
    """A world in which a command may be sent several times."""

    def __init__(self, kind: type[Command]) -> None:
        before, self.command, self.by = REPEATED[kind]
        self.given: Given = given(*before)
        self.store: GroupCommitStore = self.given.store
        self.commands = commands_over(self.store)
        self.begun = self.store.head_sync()

    def ask(self, key: str | None) -> Outcome:
        """Send it, with that idempotency key."""
        return asyncio.run(self.commands.execute(self.command, caller(self.by, key)))

    def events(self) -> list[Event]:
        """What came of it so far."""
        return [recorded.event for recorded in log_of(self.store, self.begun)]


def test_every_command_is_here() -> None:
    assert set(USE_CASES) == all_commands()
    assert set(REPEATED) == set(USE_CASES)
    assert set(TWO_WISHES) <= set(REPEATED)
    assert all(type(command) is kind for kind, (_, command, _) in REPEATED.items())


@pytest.mark.parametrize("kind", COMMANDS)
def test_with_the_same_key_it_happens_once(kind: type[Command]) -> None:
    asked = Asked(kind)
    first = asked.ask("key")
    events = asked.events()
    assert events
    assert first.position == asked.store.head_sync()
    assert asked.ask("key") == first
    assert asked.events() == events


@pytest.mark.parametrize("kind", [one for one in COMMANDS if one.values[0] not in TWO_WISHES])
@pytest.mark.parametrize("key", ["another key", None])
def test_with_another_key_its_effect_holds_already(kind: type[Command], key: str | None) -> None:
    asked = Asked(kind)
    first = asked.ask("key")
    events = asked.events()
    assert asked.ask(key) == first
    assert asked.events() == events


@pytest.mark.parametrize("kind", [Register, CreateCommunity])
def test_with_another_key_a_name_is_taken(kind: type[Command]) -> None:
    asked = Asked(kind)
    asked.ask("key")
    events = asked.events()
    for key in ("another key", None):
        with pytest.raises(Refusal) as caught:
            asked.ask(key)
        assert caught.value.code is Code.NAME_TAKEN
    assert asked.events() == events


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (LeaveServer, Code.SERVER_NOT_FOUND),
        (DeleteServer, Code.SERVER_NOT_FOUND),
        (DeleteRole, Code.ROLE_NOT_FOUND),
        (DeleteChannel, Code.CHANNEL_NOT_FOUND),
        (LeaveGroup, Code.CONVERSATION_NOT_FOUND),
    ],
)
def test_with_another_key_what_is_gone_is_not_found(kind: type[Command], code: Code) -> None:
    asked = Asked(kind)
    asked.ask("key")
    events = asked.events()
    with pytest.raises(Refusal) as caught:
        asked.ask("another key")
    assert caught.value.code is code
    assert asked.events() == events


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        (SubmitPost, PostSubmitted),
        (SubmitComment, CommentSubmitted),
        (CreateServer, ServerCreated),
        (CreateRole, RoleCreated),
        (CreateInvite, InviteCreated),
        (CreateChannel, ChannelCreated),
        (CreateGroup, GroupCreated),
        (SendMessage, MessageSent),
    ],
)
def test_with_another_key_it_is_made_again(kind: type[Command], event: type[Event]) -> None:
    asked = Asked(kind)
    subjects = {asked.ask(key).subject_id for key in ("key", "another key", None, None)}
    assert len(subjects) == 4
    assert [type(one) for one in asked.events()].count(event) == 4


@pytest.mark.parametrize("kind", COMMANDS)
def test_the_outcome_is_the_first_one_whatever_happened_since(kind: type[Command]) -> None:
    """Even where the command would be refused by now."""
    asked = Asked(kind)
    first = asked.ask("key")
    for later, by in ((DeletePost(POST), CAROL), (EditCommunity(PLACE, visibility="private"), CAROL)):
        with suppress(Refusal):
            asyncio.run(asked.commands.execute(later, caller(by, "later")))
    events = asked.events()
    assert asked.ask("key") == first
    assert asked.events() == events


def test_a_late_retry_of_an_old_edit_changes_nothing() -> None:
    there = given(*HERE)
    first = there.when(EditPost(POST, "A"), key="1").outcome
    there.when(EditPost(POST, "B"), key="2")
    then = there.when(EditPost(POST, "A"), key="1")
    then.then_nothing()
    assert then.outcome == first


def test_a_late_retry_of_an_old_vote_changes_nothing() -> None:
    there = given(*HERE)
    there.when(CastVote(POST, 1), by=BOB, key="1").then(voted(BOB, 1))
    there.when(CastVote(POST, -1), by=BOB, key="2").then(voted(BOB, -1, previous=1))
    there.when(CastVote(POST, 1), by=BOB, key="1").then_nothing()


def test_one_key_serves_one_command_of_each_kind_and_caller() -> None:
    there = given(*HERE)
    post_id = made("post", SubmitPost, ALICE)
    for command, by in (
        (SubmitPost(PLACE, kind="text", title="A"), ALICE),
        (SubmitPost(PLACE, kind="text", title="A"), BOB),
        (SubmitComment(POST, None, "A"), ALICE),
        (SubmitComment(POST, None, "A"), BOB),
        (CastVote(POST, 1), ALICE),
        (CastVote(COMMENT, 1), ALICE),
        (CastVote(POST, 1), BOB),
        (SaveItem(POST), ALICE),
        (DeletePost(post_id), ALICE),
        (LockPost(POST), CAROL),
        (StickyPost(POST), CAROL),
        (UnlockPost(POST), CAROL),
    ):
        assert there.when(command, by=by).recorded, command


def test_another_text_under_the_same_key_is_a_retry() -> None:
    there = given(*HERE)
    first = there.when(SubmitPost(PLACE, kind="text", title="A")).outcome
    then = there.when(SubmitPost(PLACE, kind="text", title="B"))
    then.then_nothing()
    assert then.outcome == first


def test_the_same_key_with_another_name_is_another_account() -> None:
    there = given()
    dora = there.when(Register(name="dora"), by=None).outcome
    eve = there.when(Register(name="eve"), by=None).outcome
    again = there.when(Register(name="DORA"), by=None)
    again.then_nothing()
    assert dora is not None
    assert eve is not None
    assert dora.subject_id != eve.subject_id
    assert again.outcome == dora
    assert dora.subject_id == commands_over(there.store).account_id("dora", "key")


def test_an_effect_that_holds_is_where_it_came_to_hold() -> None:
    there = given(*HERE)
    cast = there.when(CastVote(POST, 1), by=BOB).outcome
    there.when(SubmitComment(POST, None, "Meanwhile"), by=BOB)
    assert there.when(CastVote(POST, 1), by=BOB, key=None).outcome == cast
    assert there.when(Unfollow(BOB), key=None).outcome == Outcome(BOB, 0)
