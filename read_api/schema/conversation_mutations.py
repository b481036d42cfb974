"""One mutation for each thing that somebody may do about conversations. Each takes one ``input``."""

from __future__ import annotations

import strawberry

from domain.command import Command
from domain.conversation import (
    AddToGroup,
    CreateGroup,
    HandOverGroup,
    LeaveGroup,
    OpenDirect,
    RemoveFromGroup,
    RenameGroup,
)
from domain.event import Id
from read_api.ids import Kind, subject_id
from read_api.schema.common import Info
from read_api.schema.payloads import ConversationPayload, Input, answer


@strawberry.input(description="Whom you want to talk with.")
class OpenDirectInput(Input):
    """Another person."""

    account_id: strawberry.ID = strawberry.field(description="The other person.")


@strawberry.input(description="A new group; it is yours.")
class CreateGroupInput(Input):
    """A new group."""

    account_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Who is in it besides you; 49 at most."
    )
    name: str = strawberry.field(default="", description="What it is called; left out: it has no name.")


@strawberry.input(description="A group.")
class GroupInput(Input):
    """A group."""

    conversation_id: strawberry.ID = strawberry.field(description="The group; you are in it.")


@strawberry.input(description="A group, and an account.")
class GroupMemberInput(GroupInput):
    """A group and an account."""

    account_id: strawberry.ID = strawberry.field(description="The account.")


@strawberry.input(description="What a group is called.")
class RenameGroupInput(GroupInput):
    """What a group is called."""

    name: str = strawberry.field(description="The new name; empty: it has none.")


def _conversation(given: GroupInput) -> Id:
    return subject_id(given.conversation_id, Kind.CONVERSATION, "conversationId")


def _account(given: OpenDirectInput | GroupMemberInput) -> Id:
    return subject_id(given.account_id, Kind.ACCOUNT, "accountId")


@strawberry.type(description="Everything that may be done about conversations.")
class ConversationMutations:
    """Mutations of conversations."""

    @strawberry.mutation(
        description="Have a conversation with somebody. There is one between two people, whoever opens it: where you "
        "have one already, that is it."
    )
    async def open_direct(self, info: Info, input: OpenDirectInput) -> ConversationPayload:
        """``OpenDirect``."""
        return await answer(info, input, ConversationPayload, lambda: OpenDirect(account_id=_account(input)))

    @strawberry.mutation(description="Make a group. It is yours.")
    async def create_group(self, info: Info, input: CreateGroupInput) -> ConversationPayload:
        """``CreateGroup``."""

        def build() -> Command:
            others = tuple(subject_id(one, Kind.ACCOUNT, "accountIds") for one in input.account_ids)
            return CreateGroup(account_ids=others, name=input.name)

        return await answer(info, input, ConversationPayload, build)

    @strawberry.mutation(description="Put somebody into a group that you are in. Nobody is added across a block.")
    async def add_to_group(self, info: Info, input: GroupMemberInput) -> ConversationPayload:
        """``AddToGroup``."""

        def build() -> Command:
            return AddToGroup(conversation_id=_conversation(input), account_id=_account(input))

        return await answer(info, input, ConversationPayload, build)

    @strawberry.mutation(description="Call a group that you are in otherwise.")
    async def rename_group(self, info: Info, input: RenameGroupInput) -> ConversationPayload:
        """``RenameGroup``."""

        def build() -> Command:
            return RenameGroup(conversation_id=_conversation(input), name=input.name)

        return await answer(info, input, ConversationPayload, build)

    @strawberry.mutation(description="Give your group to somebody else in it.")
    async def hand_over_group(self, info: Info, input: GroupMemberInput) -> ConversationPayload:
        """``HandOverGroup``."""

        def build() -> Command:
            return HandOverGroup(conversation_id=_conversation(input), account_id=_account(input))

        return await answer(info, input, ConversationPayload, build)

    @strawberry.mutation(description="Put somebody out of your group.")
    async def remove_from_group(self, info: Info, input: GroupMemberInput) -> ConversationPayload:
        """``RemoveFromGroup``."""

        def build() -> Command:
            return RemoveFromGroup(conversation_id=_conversation(input), account_id=_account(input))

        return await answer(info, input, ConversationPayload, build)

    @strawberry.mutation(
        description="Be in a group no more. If it is yours, it is from then on whose is in it for longest; without "
        "anybody it is gone."
    )
    async def leave_group(self, info: Info, input: GroupInput) -> ConversationPayload:
        """``LeaveGroup``."""
        return await answer(info, input, ConversationPayload, lambda: LeaveGroup(conversation_id=_conversation(input)))
