"""What people may ask for next: drawn without regard to what there is, then fitted to it; mostly sensible.

Drawing numbers rather than things keeps the strategies the same throughout, so that they are built once and
what fails can be shrunk.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from domain.account import ChangeDisplayName, Register
from domain.ballot import CastVote, Value
from domain.block import Block, Unblock
from domain.command import Command
from domain.comment import DeleteComment, EditComment, SubmitComment
from domain.community import CreateCommunity, EditCommunity, Visibility
from domain.event import Id
from domain.follow import Follow, Unfollow
from domain.ids import derived
from domain.membership import AppointModerator, InviteMember, JoinCommunity, LeaveCommunity
from domain.post import DeletePost, EditPost, LockPost, StickyPost, SubmitPost, UnlockPost, UnstickyPost
from domain.save import SaveItem, UnsaveItem
from tests.machines.model import Model

NAMES = ["Dora", "dora", "Eve", "FRED"]
NOTHING = derived("nothing")
NUMBER_MAX = 8

RELATING = (Follow, Unfollow, Block, Unblock)
STANDING = (JoinCommunity, LeaveCommunity, InviteMember, AppointModerator, EditCommunity)
MODERATING = (LockPost, UnlockPost, StickyPost, UnstickyPost)
CHANGING = (EditPost, DeletePost, EditComment, DeleteComment)
LISTING = (SaveItem, UnsaveItem)
RARE = (Register, CreateCommunity, ChangeDisplayName)
KINDS: tuple[type[Command], ...] = (
    *(CastVote,) * 8,
    *(SubmitComment,) * 5,
    *(SubmitPost,) * 3,
    *RELATING * 2,
    *STANDING * 2,
    *MODERATING,
    *CHANGING,
    *LISTING,
    *RARE,
)
"""What is asked for, the frequent more than once."""

Wish = tuple[Command, Id | None]


class Whim(NamedTuple):
    """A wish before it is known what there is: numbers that choose, and values."""

    kind: type[Command]
    sensible: bool
    who: int
    whom: int
    what: int
    body: str
    value: Value
    visibility: Visibility
    flag: bool

    def __repr__(self) -> str:
        return f"Whim({self.kind.__name__}, {', '.join(map(repr, self[1:]))})"


def whims(*kinds: type[Command]) -> st.SearchStrategy[Whim]:
    """A whim of one of these kinds."""
    few = st.integers(0, NUMBER_MAX)
    return st.builds(
        Whim,
        st.sampled_from(kinds),
        st.sampled_from([True, True, True, False]),
        few,
        few,
        few,
        st.sampled_from("ABC"),
        st.sampled_from([1, -1, 0]),
        st.sampled_from(["public", "restricted", "private"]),
        st.booleans(),
    )


def fitted(whim: Whim, model: Model) -> Wish:
    """The whim as a wish of somebody who is there, about what is there; the newest comes first."""
    kind = whim.kind
    if kind is Register:
        return Register(NAMES[whim.what % len(NAMES)]), None
    people = list(model.accounts)
    anybody, other = people[whim.who % len(people)], pick(people, whim.whom)
    if kind is CreateCommunity:
        name = NAMES[whim.what % len(NAMES)]
        return CreateCommunity(name, visibility=whim.visibility, anonymous_allowed=whim.flag), anybody
    if kind is ChangeDisplayName:
        return ChangeDisplayName(whim.body), anybody
    if kind in RELATING:
        return kind(other), anybody
    if kind in STANDING:
        return _about_a_place(whim, model, anybody, other)
    return _about_an_item(whim, model, anybody)


def pick(ids: Sequence[Id], number: int) -> Id:
    """One of the newest, or now and then nothing that is there."""
    return ids[-1 - number % len(ids)] if ids and number != NUMBER_MAX else NOTHING


def _about_a_place(whim: Whim, model: Model, anybody: Id, other: Id) -> Wish:
    place_id = pick(list(model.communities), whim.what)
    place = model.communities.get(place_id, {})
    boss = _one_of(place.get("moderators"), whim, anybody)
    match whim.kind:
        case kind if kind is JoinCommunity:
            return JoinCommunity(place_id), anybody
        case kind if kind is LeaveCommunity:
            return LeaveCommunity(place_id), _one_of(place.get("invited" if whim.flag else "members"), whim, anybody)
        case kind if kind is InviteMember:
            return InviteMember(place_id, other), boss
        case kind if kind is AppointModerator:
            members = sorted(place.get("members", ()))
            return AppointModerator(place_id, pick(members, whim.whom) if whim.sensible else other), boss
        case _:
            changed: list[dict[str, Any]] = [
                {"title": whim.body},
                {"visibility": whim.visibility},
                {"anonymous_allowed": whim.flag},
            ]
            return EditCommunity(place_id, **changed[whim.who % 3]), boss


def _about_an_item(whim: Whim, model: Model, anybody: Id) -> Wish:
    kind, body = whim.kind, whim.body
    comments = list(model.comments) if kind not in (EditPost, DeletePost, *MODERATING) else []
    posts = list(model.posts) if kind not in (EditComment, DeleteComment) else []
    if kind is SubmitPost:
        place_id = pick(list(model.communities), whim.what)
        by = _one_of(model.communities.get(place_id, {}).get("members"), whim, anybody)
        if whim.whom == 0:
            return SubmitPost(place_id, "link", body, url="https://example.org/"), by
        return SubmitPost(place_id, "text", body, body, anonymous=whim.flag), by
    items = comments if comments and (whim.flag or not posts) else posts
    item_id = pick(items, whim.what)
    item = model.posts.get(item_id) or model.comments.get(item_id) or {}
    place = model.communities.get(item.get("community"), {})
    if kind is SubmitComment:
        thread = (item["post"], item_id) if "post" in item else (item_id, None)
        return SubmitComment(*thread, body), _one_of(place.get("members"), whim, anybody)
    if kind is CastVote:
        return CastVote(item_id, whim.value), _one_of(place.get("members"), whim, anybody)
    if kind is UnsaveItem and whim.sensible and model.saved:
        by, item_id = sorted(model.saved)[whim.what % len(model.saved)]
        return UnsaveItem(item_id), by
    if kind in LISTING:
        return kind(item_id), anybody
    if kind in MODERATING:
        return kind(item_id), _one_of(place.get("moderators"), whim, anybody)
    by = _one_of({item["author"]} if item else None, whim, anybody)
    return (kind(item_id, body) if kind in (EditPost, EditComment) else kind(item_id)), by


def _one_of(able: set[Id] | None, whim: Whim, anybody: Id) -> Id:
    """Somebody who is able to do it, if it is to be sensible and there is one."""
    return sorted(able)[whim.who % len(able)] if able and whim.sensible else anybody
