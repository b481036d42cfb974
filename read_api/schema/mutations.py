"""One mutation for each thing that somebody may do. Each takes one ``input`` and does one command."""

from __future__ import annotations

from typing import cast

import strawberry

import domain.ballot
import domain.community
import domain.post
from domain.account import ChangeDisplayName
from domain.ballot import CastVote
from domain.block import Block, Unblock
from domain.command import Command
from domain.comment import DeleteComment, EditComment, SubmitComment
from domain.community import CreateCommunity, EditCommunity
from domain.event import Id
from domain.follow import Follow, Unfollow
from domain.membership import AppointModerator, InviteMember, JoinCommunity, LeaveCommunity
from domain.post import DeletePost, EditPost, LockPost, StickyPost, SubmitPost, UnlockPost, UnstickyPost
from domain.save import SaveItem, UnsaveItem
from read_api.ids import Kind, subject_id, target_id
from read_api.schema.common import Info, PostKind, Visibility, Vote
from read_api.schema.payloads import (
    AccountPayload,
    CommentPayload,
    CommunityPayload,
    Input,
    MemberPayload,
    PostPayload,
    TargetPayload,
    answer,
)


@strawberry.input(description="The name that you are shown under.")
class ChangeDisplayNameInput(Input):
    """The new display name."""

    display_name: str = strawberry.field(description="The name that you are shown under from now on.")


@strawberry.input(description="Another account.")
class AccountInput(Input):
    """Another account."""

    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.input(description="A new community; you are its first moderator.")
class CreateCommunityInput(Input):
    """A new community."""

    name: str = strawberry.field(description="Unique without regard to case, and for good.")
    title: str = strawberry.field(default="", description="What is shown as its heading.")
    description: str = strawberry.field(default="", description="What it is about, and its rules, in Markdown.")
    visibility: Visibility = strawberry.field(default=Visibility.PUBLIC, description="Who sees it and may post.")
    anonymous_allowed: bool = strawberry.field(default=False, description="Whether posts may be anonymous.")


@strawberry.input(description="What changes; what is left out stays as it is.")
class EditCommunityInput(Input):
    """What changes in a community."""

    community_id: strawberry.ID = strawberry.field(description="The community; you moderate it.")
    title: str | None = strawberry.field(default=None, description="The new heading.")
    description: str | None = strawberry.field(default=None, description="The new description, in Markdown.")
    visibility: Visibility | None = strawberry.field(default=None, description="Who sees it and may post.")
    anonymous_allowed: bool | None = strawberry.field(default=None, description="Whether posts may be anonymous.")


@strawberry.input(description="A community.")
class CommunityInput(Input):
    """A community."""

    community_id: strawberry.ID = strawberry.field(description="The community.")


@strawberry.input(description="An account and the community that it is let into or appointed in.")
class MemberInput(Input):
    """An account and a community."""

    community_id: strawberry.ID = strawberry.field(description="The community; you moderate it.")
    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.input(description="A new post.")
class SubmitPostInput(Input):
    """A new post."""

    community_id: strawberry.ID = strawberry.field(description="Where it is posted.")
    kind: PostKind = strawberry.field(default=PostKind.TEXT, description="A text, or a link.")
    title: str = strawberry.field(description="One line.")
    body: str = strawberry.field(default="", description="The text, in Markdown.")
    url: str | None = strawberry.field(default=None, description="Where a link leads: http or https.")
    anonymous: bool = strawberry.field(default=False, description="Show the author to moderators only.")


@strawberry.input(description="A post.")
class PostInput(Input):
    """A post."""

    post_id: strawberry.ID = strawberry.field(description="The post.")


@strawberry.input(description="A post of yours, and its new text.")
class EditPostInput(PostInput):
    """A post and its new text."""

    body: str = strawberry.field(description="The whole new text, in Markdown.")


@strawberry.input(description="A new comment.")
class SubmitCommentInput(Input):
    """A new comment."""

    post_id: strawberry.ID = strawberry.field(description="The post that it is about.")
    parent_id: strawberry.ID | None = strawberry.field(
        default=None, description="The comment that it replies to; left out directly below the post."
    )
    body: str = strawberry.field(description="The text, in Markdown.")


@strawberry.input(description="A comment.")
class CommentInput(Input):
    """A comment."""

    comment_id: strawberry.ID = strawberry.field(description="The comment.")


@strawberry.input(description="A comment of yours, and its new text.")
class EditCommentInput(CommentInput):
    """A comment and its new text."""

    body: str = strawberry.field(description="The whole new text, in Markdown.")


@strawberry.input(description="A post or comment.")
class TargetInput(Input):
    """A post or comment."""

    target_id: strawberry.ID = strawberry.field(description="The post or comment.")


@strawberry.input(description="Your vote on a post or comment.")
class CastVoteInput(TargetInput):
    """A vote."""

    value: Vote = strawberry.field(description="UP, DOWN, or NONE to withdraw an earlier one.")


def _account(given: AccountInput | MemberInput) -> Id:
    return subject_id(given.account_id, Kind.ACCOUNT, "accountId")


def _community(given: CommunityInput | EditCommunityInput | MemberInput | SubmitPostInput) -> Id:
    return subject_id(given.community_id, Kind.COMMUNITY, "communityId")


def _post(given: PostInput | SubmitCommentInput) -> Id:
    return subject_id(given.post_id, Kind.POST, "postId")


def _comment(given: CommentInput) -> Id:
    return subject_id(given.comment_id, Kind.COMMENT, "commentId")


def _parent(given: SubmitCommentInput) -> Id | None:
    return None if given.parent_id is None else subject_id(given.parent_id, Kind.COMMENT, "parentId")


def _target(given: TargetInput) -> Id:
    return target_id(given.target_id, "targetId")[1]


def _visibility(given: Visibility) -> domain.community.Visibility:
    return cast("domain.community.Visibility", given.value)


@strawberry.type(description="Everything that may be done to accounts and communities.")
class AccountAndCommunityMutations:
    """Mutations of accounts and communities."""

    @strawberry.mutation(description="Be shown under another name.")
    async def change_display_name(self, info: Info, input: ChangeDisplayNameInput) -> AccountPayload:
        """``ChangeDisplayName``."""
        return await answer(info, input, AccountPayload, lambda: ChangeDisplayName(display_name=input.display_name))

    @strawberry.mutation(description="See somebody's posts in your home feed.")
    async def follow_account(self, info: Info, input: AccountInput) -> AccountPayload:
        """``Follow``."""
        return await answer(info, input, AccountPayload, lambda: Follow(account_id=_account(input)))

    @strawberry.mutation(description="See somebody's posts in your home feed no more.")
    async def unfollow_account(self, info: Info, input: AccountInput) -> AccountPayload:
        """``Unfollow``."""
        return await answer(info, input, AccountPayload, lambda: Unfollow(account_id=_account(input)))

    @strawberry.mutation(description="Neither see nor hear somebody.")
    async def block_account(self, info: Info, input: AccountInput) -> AccountPayload:
        """``Block``."""
        return await answer(info, input, AccountPayload, lambda: Block(account_id=_account(input)))

    @strawberry.mutation(description="End a block.")
    async def unblock_account(self, info: Info, input: AccountInput) -> AccountPayload:
        """``Unblock``."""
        return await answer(info, input, AccountPayload, lambda: Unblock(account_id=_account(input)))

    @strawberry.mutation(description="Open a community. You are its first moderator.")
    async def create_community(self, info: Info, input: CreateCommunityInput) -> CommunityPayload:
        """``CreateCommunity``."""

        def build() -> Command:
            return CreateCommunity(
                name=input.name,
                title=input.title,
                description=input.description,
                visibility=_visibility(input.visibility),
                anonymous_allowed=input.anonymous_allowed,
            )

        return await answer(info, input, CommunityPayload, build)

    @strawberry.mutation(description="Change what a community says of itself. Moderators only.")
    async def edit_community(self, info: Info, input: EditCommunityInput) -> CommunityPayload:
        """``EditCommunity``."""

        def build() -> Command:
            return EditCommunity(
                community_id=_community(input),
                title=input.title,
                description=input.description,
                visibility=_visibility(input.visibility) if input.visibility else None,
                anonymous_allowed=input.anonymous_allowed,
            )

        return await answer(info, input, CommunityPayload, build)

    @strawberry.mutation(description="Become a member. A private community must have invited you.")
    async def join_community(self, info: Info, input: CommunityInput) -> CommunityPayload:
        """``JoinCommunity``."""
        return await answer(info, input, CommunityPayload, lambda: JoinCommunity(community_id=_community(input)))

    @strawberry.mutation(description="Be a member no more, nor a moderator.")
    async def leave_community(self, info: Info, input: CommunityInput) -> CommunityPayload:
        """``LeaveCommunity``."""
        return await answer(info, input, CommunityPayload, lambda: LeaveCommunity(community_id=_community(input)))

    @strawberry.mutation(description="Let somebody into a private community, or post in a restricted one.")
    async def invite_member(self, info: Info, input: MemberInput) -> MemberPayload:
        """``InviteMember``."""
        return await _standing(info, input, InviteMember)

    @strawberry.mutation(description="Make a member a moderator. Moderators only.")
    async def appoint_moderator(self, info: Info, input: MemberInput) -> MemberPayload:
        """``AppointModerator``."""
        return await _standing(info, input, AppointModerator)


async def _standing(info: Info, given: MemberInput, kind: type[InviteMember] | type[AppointModerator]) -> MemberPayload:
    payload = await answer(
        info, given, MemberPayload, lambda: kind(community_id=_community(given), account_id=_account(given))
    )
    if payload.outcome is not None:
        payload.account_id = _account(given)
    return payload


@strawberry.type(description="Everything that may be done to posts and comments.")
class PostAndCommentMutations:
    """Mutations of posts and comments."""

    @strawberry.mutation(description="Submit a post.")
    async def submit_post(self, info: Info, input: SubmitPostInput) -> PostPayload:
        """``SubmitPost``."""

        def build() -> Command:
            return SubmitPost(
                community_id=_community(input),
                kind=cast("domain.post.PostKind", input.kind.value),
                title=input.title,
                body=input.body,
                url=input.url,
                anonymous=input.anonymous,
            )

        return await answer(info, input, PostPayload, build)

    @strawberry.mutation(description="Replace the text of a post of yours.")
    async def edit_post(self, info: Info, input: EditPostInput) -> PostPayload:
        """``EditPost``."""
        return await answer(info, input, PostPayload, lambda: EditPost(post_id=_post(input), body=input.body))

    @strawberry.mutation(description="Take a post away: its text is gone, its comments stay. Author or moderators.")
    async def delete_post(self, info: Info, input: PostInput) -> PostPayload:
        """``DeletePost``."""
        return await answer(info, input, PostPayload, lambda: DeletePost(post_id=_post(input)))

    @strawberry.mutation(description="Let nobody but moderators comment. Moderators only.")
    async def lock_post(self, info: Info, input: PostInput) -> PostPayload:
        """``LockPost``."""
        return await answer(info, input, PostPayload, lambda: LockPost(post_id=_post(input)))

    @strawberry.mutation(description="Open comments again. Moderators only.")
    async def unlock_post(self, info: Info, input: PostInput) -> PostPayload:
        """``UnlockPost``."""
        return await answer(info, input, PostPayload, lambda: UnlockPost(post_id=_post(input)))

    @strawberry.mutation(
        description="Have a post lead its community's Hot feed, of which a few can at a time. Moderators only."
    )
    async def sticky_post(self, info: Info, input: PostInput) -> PostPayload:
        """``StickyPost``."""
        return await answer(info, input, PostPayload, lambda: StickyPost(post_id=_post(input)))

    @strawberry.mutation(description="Let a post take its ordinary place again. Moderators only.")
    async def unsticky_post(self, info: Info, input: PostInput) -> PostPayload:
        """``UnstickyPost``."""
        return await answer(info, input, PostPayload, lambda: UnstickyPost(post_id=_post(input)))

    @strawberry.mutation(description="Comment on a post, or reply to a comment.")
    async def submit_comment(self, info: Info, input: SubmitCommentInput) -> CommentPayload:
        """``SubmitComment``."""

        def build() -> Command:
            return SubmitComment(post_id=_post(input), parent_id=_parent(input), body=input.body)

        return await answer(info, input, CommentPayload, build)

    @strawberry.mutation(description="Replace the text of a comment of yours.")
    async def edit_comment(self, info: Info, input: EditCommentInput) -> CommentPayload:
        """``EditComment``."""
        return await answer(
            info, input, CommentPayload, lambda: EditComment(comment_id=_comment(input), body=input.body)
        )

    @strawberry.mutation(description="Take a comment away: its text is gone, its replies stay. Author or moderators.")
    async def delete_comment(self, info: Info, input: CommentInput) -> CommentPayload:
        """``DeleteComment``."""
        return await answer(info, input, CommentPayload, lambda: DeleteComment(comment_id=_comment(input)))

    @strawberry.mutation(description="Vote on a post or comment, change your vote, or withdraw it.")
    async def cast_vote(self, info: Info, input: CastVoteInput) -> TargetPayload:
        """``CastVote``."""
        return await answer(
            info,
            input,
            TargetPayload,
            lambda: CastVote(target_id=_target(input), value=cast("domain.ballot.Value", input.value.value)),
        )

    @strawberry.mutation(description="Put a post or comment on your list of saved things.")
    async def save_item(self, info: Info, input: TargetInput) -> TargetPayload:
        """``SaveItem``."""
        return await answer(info, input, TargetPayload, lambda: SaveItem(target_id=_target(input)))

    @strawberry.mutation(description="Take a post or comment off your list of saved things.")
    async def unsave_item(self, info: Info, input: TargetInput) -> TargetPayload:
        """``UnsaveItem``."""
        return await answer(info, input, TargetPayload, lambda: UnsaveItem(target_id=_target(input)))
