"""What people may ask for next, given what there is: mostly sensible, sometimes not."""

from hypothesis import strategies as st

from domain.account import ChangeDisplayName, Register
from domain.ballot import CastVote
from domain.block import Block, Unblock
from domain.command import Command
from domain.comment import DeleteComment, EditComment, SubmitComment
from domain.community import CreateCommunity, EditCommunity
from domain.event import Id
from domain.follow import Follow, Unfollow
from domain.ids import derived
from domain.membership import AppointModerator, InviteMember, JoinCommunity, LeaveCommunity
from domain.post import DeletePost, EditPost, LockPost, StickyPost, SubmitPost, UnlockPost, UnstickyPost
from domain.save import SaveItem, UnsaveItem
from tests.machines.model import Model

NAMES = ["Dora", "dora", "Eve", "FRED"]
BODIES = st.sampled_from(["A", "B", "C"])
NOTHING = derived("nothing")

Wish = tuple[Command, Id | None]


def wishes(model: Model, kinds: frozenset[type[Command]] | None = None) -> st.SearchStrategy[Wish]:
    """A command, of these ``kinds`` if given, and who asks."""
    anybody = st.sampled_from(list(model.accounts))
    place = _one_of(list(model.communities))
    post, comment = _one_of(list(model.posts)), _one_of(list(model.comments))
    target = _one_of([*model.posts, *model.comments])
    somebody = _one_of(list(model.accounts))
    reply = st.sampled_from([*model.comments.items(), (None, {"post": None})]).flatmap(
        lambda one: st.tuples(st.just(one[1]["post"]) if one[1]["post"] else post, st.just(one[0]))
    )
    some = st.booleans() | st.none()
    visibility = st.sampled_from(["public", "restricted", "private"])
    builders: dict[type[Command], st.SearchStrategy[Command]] = {
        ChangeDisplayName: st.builds(ChangeDisplayName, BODIES),
        Follow: st.builds(Follow, somebody),
        Unfollow: st.builds(Unfollow, somebody),
        Block: st.builds(Block, somebody),
        Unblock: st.builds(Unblock, somebody),
        CreateCommunity: st.builds(
            CreateCommunity, name=st.sampled_from(NAMES), visibility=visibility, anonymous_allowed=st.booleans()
        ),
        EditCommunity: st.builds(
            EditCommunity, place, title=BODIES | st.none(), visibility=visibility | st.none(), anonymous_allowed=some
        ),
        JoinCommunity: st.builds(JoinCommunity, place),
        LeaveCommunity: st.builds(LeaveCommunity, place),
        InviteMember: st.builds(InviteMember, place, somebody),
        AppointModerator: st.builds(AppointModerator, place, somebody),
        SubmitPost: st.one_of(
            st.builds(SubmitPost, place, st.just("text"), BODIES, BODIES, anonymous=st.booleans()),
            st.builds(SubmitPost, place, st.just("link"), BODIES, url=st.just("https://example.org/")),
        ),
        EditPost: st.builds(EditPost, post, BODIES),
        DeletePost: st.builds(DeletePost, post),
        LockPost: st.builds(LockPost, post),
        UnlockPost: st.builds(UnlockPost, post),
        StickyPost: st.builds(StickyPost, post),
        UnstickyPost: st.builds(UnstickyPost, post),
        SubmitComment: st.builds(lambda where, body: SubmitComment(*where, body), reply, BODIES),
        EditComment: st.builds(EditComment, comment, BODIES),
        DeleteComment: st.builds(DeleteComment, comment),
        CastVote: st.builds(CastVote, target, st.sampled_from([-1, 0, 1])),
        SaveItem: st.builds(SaveItem, target),
        UnsaveItem: st.builds(UnsaveItem, target),
    }
    chosen = [builder for kind, builder in builders.items() if kinds is None or kind in kinds]
    wish = st.tuples(st.one_of(chosen), anybody)
    if kinds is None or Register in kinds:
        wish |= st.tuples(st.builds(Register, st.sampled_from(NAMES)), st.none())
    return wish


def _one_of(ids: list[Id]) -> st.SearchStrategy[Id]:
    """One of these, or rarely of nothing; the newest come first when a failure is shrunk."""
    return st.sampled_from([*reversed(ids), NOTHING])
