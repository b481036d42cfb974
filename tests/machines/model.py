"""What the forum is, said a second time and as plainly as possible: dictionaries and sets, and no events.

Nothing of the rules in ``domain`` is used here but the classes of commands and the codes.
"""

from copy import deepcopy
from typing import Any

from domain.account import ChangeDisplayName, Register
from domain.ballot import CastVote
from domain.block import Block, Unblock
from domain.command import Command
from domain.comment import DeleteComment, EditComment, SubmitComment
from domain.community import CreateCommunity, EditCommunity
from domain.event import Id
from domain.follow import Follow, Unfollow
from domain.membership import AppointModerator, InviteMember, JoinCommunity, LeaveCommunity
from domain.post import DeletePost, EditPost, LockPost, StickyPost, SubmitPost, UnlockPost, UnstickyPost
from domain.refusal import Code
from domain.save import SaveItem, UnsaveItem

DEPTH_MAX = 3
MODERATORS_MAX = 2
STICKIES_MAX = 1


class No(Exception):
    """The model would refuse."""

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code


class Model:
    """The whole forum."""

    def __init__(self) -> None:
        self.accounts: dict[Id, str] = {}
        self.names: set[str] = set()
        self.communities: dict[Id, dict[str, Any]] = {}
        self.posts: dict[Id, dict[str, Any]] = {}
        self.comments: dict[Id, dict[str, Any]] = {}
        self.votes: dict[tuple[Id, Id], int] = {}
        self.saved: set[tuple[Id, Id]] = set()
        self.follows: set[tuple[Id, Id]] = set()
        self.blocks: set[tuple[Id, Id]] = set()

    def copy(self) -> "Model":
        """Another one that is the same."""
        return deepcopy(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.__dict__ == other.__dict__

    __hash__ = None

    def score(self, target_id: Id) -> int:
        """Up votes less down votes."""
        return sum(value for (_, target), value in self.votes.items() if target == target_id)

    def stickies(self, community_id: Id) -> set[Id]:
        """The posts that lead the community."""
        posts = self.posts.items()
        return {one for one, it in posts if it["community"] == community_id and it["sticky"] and not it["deleted"]}

    def karma(self, account_id: Id) -> int:
        """What others' votes on all that is under the account's name come to."""
        items = self.posts | self.comments
        return sum(
            value
            for (voter, target), value in self.votes.items()
            if voter != account_id == items[target]["author"] and not items[target].get("anonymous")
        )

    def ask(self, command: Command, by: Id | None, new_id: Id | None) -> None:
        """Change what the command changes; raises ``No``. ``new_id`` is what it makes, if it makes something."""
        getattr(self, "_" + type(command).__name__)(command, by, new_id)

    # -- what several rules need -------------------------------------------------------------------------------

    def _sees(self, community_id: Id, who: Id) -> bool:
        place = self.communities.get(community_id)
        return place is not None and (place["visibility"] != "private" or who in place["members"])

    def _moderated(self, community_id: Id, who: Id) -> dict[str, Any]:
        if not self._sees(community_id, who):
            raise No(Code.COMMUNITY_NOT_FOUND)
        if who not in self.communities[community_id]["moderators"]:
            raise No(Code.NOT_MODERATOR)
        return self.communities[community_id]

    def _somebody(self, account_id: Id) -> None:
        if account_id not in self.accounts:
            raise No(Code.ACCOUNT_NOT_FOUND)

    def _target(self, target_id: Id, who: Id) -> tuple[dict[str, Any], Code]:
        post, comment = self.posts.get(target_id), self.comments.get(target_id)
        item = post or comment
        if item is None or not self._sees(item["community"], who):
            raise No(Code.TARGET_NOT_FOUND)
        return item, Code.POST_DELETED if post else Code.COMMENT_DELETED

    def _change_own(self, item: dict[str, Any] | None, who: Id, missing: Code, gone: Code, body: str) -> None:
        if item is None or not self._sees(item["community"], who):
            raise No(missing)
        if item["author"] != who:
            raise No(Code.NOT_THE_AUTHOR)
        if item["deleted"]:
            raise No(gone)
        if item["kind"] == "link":
            raise No(Code.INVALID_VALUE)
        item["body"] = body

    def _delete(self, item: dict[str, Any] | None, who: Id, missing: Code) -> None:
        own = item is not None and item["author"] == who
        if item is None or not (own or self._sees(item["community"], who)):
            raise No(missing)
        if not own and who not in self.communities[item["community"]]["moderators"]:
            raise No(Code.NOT_THE_AUTHOR)
        item["deleted"], item["body"] = True, ""

    # -- accounts ----------------------------------------------------------------------------------------------

    def _Register(self, c: Register, _by: Id | None, new_id: Id) -> None:
        if c.name.lower() in self.names:
            raise No(Code.NAME_TAKEN)
        self.names.add(c.name.lower())
        self.accounts[new_id] = c.name

    def _ChangeDisplayName(self, c: ChangeDisplayName, by: Id, _: Id | None) -> None:
        self.accounts[by] = c.display_name

    def _Follow(self, c: Follow, by: Id, _: Id | None) -> None:
        self._somebody(c.account_id)
        if c.account_id == by:
            raise No(Code.NOT_YOURSELF)
        if self.blocks & {(by, c.account_id), (c.account_id, by)}:
            raise No(Code.BLOCKED)
        self.follows.add((by, c.account_id))

    def _Unfollow(self, c: Unfollow, by: Id, _: Id | None) -> None:
        self._somebody(c.account_id)
        self.follows.discard((by, c.account_id))

    def _Block(self, c: Block, by: Id, _: Id | None) -> None:
        self._somebody(c.account_id)
        if c.account_id == by:
            raise No(Code.NOT_YOURSELF)
        self.blocks.add((by, c.account_id))
        self.follows -= {(by, c.account_id), (c.account_id, by)}

    def _Unblock(self, c: Unblock, by: Id, _: Id | None) -> None:
        self._somebody(c.account_id)
        self.blocks.discard((by, c.account_id))

    # -- communities -------------------------------------------------------------------------------------------

    def _CreateCommunity(self, c: CreateCommunity, by: Id, new_id: Id) -> None:
        if "r/" + c.name.lower() in self.names:
            raise No(Code.NAME_TAKEN)
        self.names.add("r/" + c.name.lower())
        self.communities[new_id] = {
            "title": c.title or c.name,
            "visibility": c.visibility,
            "anonymous_allowed": c.anonymous_allowed,
            "members": {by},
            "moderators": {by},
            "invited": set(),
        }

    def _EditCommunity(self, c: EditCommunity, by: Id, _: Id | None) -> None:
        place = self._moderated(c.community_id, by)
        for field in ("title", "visibility", "anonymous_allowed"):
            if getattr(c, field) is not None:
                place[field] = getattr(c, field)

    def _JoinCommunity(self, c: JoinCommunity, by: Id, _: Id | None) -> None:
        place = self.communities.get(c.community_id)
        if place is None or (place["visibility"] == "private" and by not in place["members"] | place["invited"]):
            raise No(Code.COMMUNITY_NOT_FOUND)
        place["members"].add(by)

    def _LeaveCommunity(self, c: LeaveCommunity, by: Id, _: Id | None) -> None:
        place = self.communities.get(c.community_id)
        if place is None or (place["visibility"] == "private" and by not in place["members"] | place["invited"]):
            raise No(Code.COMMUNITY_NOT_FOUND)
        if place["moderators"] == {by}:
            raise No(Code.LAST_MODERATOR)
        for role in ("members", "moderators", "invited"):
            place[role].discard(by)

    def _InviteMember(self, c: InviteMember, by: Id, _: Id | None) -> None:
        place = self._moderated(c.community_id, by)
        self._somebody(c.account_id)
        if c.account_id not in place["moderators"]:
            place["invited"].add(c.account_id)

    def _AppointModerator(self, c: AppointModerator, by: Id, _: Id | None) -> None:
        place = self._moderated(c.community_id, by)
        self._somebody(c.account_id)
        if c.account_id in place["moderators"]:
            return
        if c.account_id not in place["members"]:
            raise No(Code.NOT_A_MEMBER)
        if len(place["moderators"]) == MODERATORS_MAX:
            raise No(Code.TOO_MANY_MODERATORS)
        place["moderators"].add(c.account_id)

    # -- posts and comments ------------------------------------------------------------------------------------

    def _SubmitPost(self, c: SubmitPost, by: Id, new_id: Id) -> None:
        if not self._sees(c.community_id, by):
            raise No(Code.COMMUNITY_NOT_FOUND)
        place = self.communities[c.community_id]
        if place["visibility"] == "restricted" and by not in place["invited"] | place["moderators"]:
            raise No(Code.POSTING_RESTRICTED)
        if c.anonymous and not place["anonymous_allowed"]:
            raise No(Code.ANONYMOUS_NOT_ALLOWED)
        self.posts[new_id] = {
            "community": c.community_id,
            "author": by,
            "anonymous": c.anonymous,
            "kind": c.kind,
            "body": c.body,
            "locked": False,
            "sticky": False,
            "deleted": False,
        }

    def _EditPost(self, c: EditPost, by: Id, _: Id | None) -> None:
        self._change_own(self.posts.get(c.post_id), by, Code.POST_NOT_FOUND, Code.POST_DELETED, c.body)

    def _DeletePost(self, c: DeletePost, by: Id, _: Id | None) -> None:
        self._delete(self.posts.get(c.post_id), by, Code.POST_NOT_FOUND)

    def _moderated_post(self, post_id: Id, by: Id) -> dict[str, Any]:
        post = self.posts.get(post_id)
        if post is None or not self._sees(post["community"], by):
            raise No(Code.POST_NOT_FOUND)
        self._moderated(post["community"], by)
        if post["deleted"]:
            raise No(Code.POST_DELETED)
        return post

    def _LockPost(self, c: LockPost, by: Id, _: Id | None) -> None:
        self._moderated_post(c.post_id, by)["locked"] = True

    def _UnlockPost(self, c: UnlockPost, by: Id, _: Id | None) -> None:
        self._moderated_post(c.post_id, by)["locked"] = False

    def _StickyPost(self, c: StickyPost, by: Id, _: Id | None) -> None:
        post = self._moderated_post(c.post_id, by)
        if not post["sticky"] and len(self.stickies(post["community"])) == STICKIES_MAX:
            raise No(Code.TOO_MANY_STICKIES)
        post["sticky"] = True

    def _UnstickyPost(self, c: UnstickyPost, by: Id, _: Id | None) -> None:
        self._moderated_post(c.post_id, by)["sticky"] = False

    def _SubmitComment(self, c: SubmitComment, by: Id, new_id: Id) -> None:
        post = self.posts.get(c.post_id)
        if post is None or not self._sees(post["community"], by):
            raise No(Code.POST_NOT_FOUND)
        if post["deleted"]:
            raise No(Code.POST_DELETED)
        if post["locked"] and by not in self.communities[post["community"]]["moderators"]:
            raise No(Code.POST_LOCKED)
        answered, depth = post, 1
        if c.parent_id is not None:
            parent = self.comments.get(c.parent_id)
            if parent is None or parent["post"] != c.post_id:
                raise No(Code.COMMENT_NOT_FOUND)
            if parent["deleted"]:
                raise No(Code.COMMENT_DELETED)
            answered, depth = parent, parent["depth"] + 1
        if depth > DEPTH_MAX:
            raise No(Code.COMMENTS_TOO_DEEP)
        if not answered.get("anonymous") and self.blocks & {(by, answered["author"]), (answered["author"], by)}:
            raise No(Code.BLOCKED)
        self.comments[new_id] = {
            "community": post["community"],
            "post": c.post_id,
            "parent": c.parent_id,
            "author": by,
            "kind": "comment",
            "body": c.body,
            "depth": depth,
            "deleted": False,
        }

    def _EditComment(self, c: EditComment, by: Id, _: Id | None) -> None:
        self._change_own(self.comments.get(c.comment_id), by, Code.COMMENT_NOT_FOUND, Code.COMMENT_DELETED, c.body)

    def _DeleteComment(self, c: DeleteComment, by: Id, _: Id | None) -> None:
        self._delete(self.comments.get(c.comment_id), by, Code.COMMENT_NOT_FOUND)

    # -- votes and saved things --------------------------------------------------------------------------------

    def _CastVote(self, c: CastVote, by: Id, _: Id | None) -> None:
        item, gone = self._target(c.target_id, by)
        if item["deleted"]:
            raise No(gone)
        if c.value == self.votes.get((by, c.target_id), 0):
            return
        if c.value and (by, item["author"]) in self.blocks and not item.get("anonymous"):
            raise No(Code.BLOCKED)
        self.votes[by, c.target_id] = c.value

    def _SaveItem(self, c: SaveItem, by: Id, _: Id | None) -> None:
        item, gone = self._target(c.target_id, by)
        if item["deleted"] and (by, c.target_id) not in self.saved:
            raise No(gone)
        self.saved.add((by, c.target_id))

    def _UnsaveItem(self, c: UnsaveItem, by: Id, _: Id | None) -> None:
        if (by, c.target_id) not in self.saved:
            self._target(c.target_id, by)
        self.saved.discard((by, c.target_id))
