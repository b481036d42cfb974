"""Conversations, for those who are in them: between two people, and groups."""

from __future__ import annotations

from datetime import datetime

import strawberry

from infra.queries.conversations import Joined
from projections.conversation_members import ConversationMember as MemberRow
from read_api.ids import Kind, global_id
from read_api.schema.accounts import Account
from read_api.schema.common import After, Before, Connection, First, Info, Last, Node, counted
from read_api.schema.messages import HISTORY, Around, Message, Unread, history, unread_in
from read_api.schema.permissions import Permission, permissions_of
from read_api.schema.presence_states import PresenceState


@strawberry.type(description="Somebody in a conversation.")
class ConversationMember:
    """Somebody in a conversation."""

    row: strawberry.Private[MemberRow]

    @strawberry.field(description="Who it is; null if the account is not known yet.")
    def account(self, info: Info) -> Account | None:
        """Who it is."""
        return info.context.loaders.accounts.get(self.row.account_id)

    @strawberry.field(description="Who put them there, or opened the conversation.")
    def added_by(self, info: Info) -> Account | None:
        """Who put them there."""
        return None if self.row.adder_id is None else info.context.loaders.accounts.get(self.row.adder_id)

    @strawberry.field(
        description="How they are now, as you may see it: offline if one of you blocks the other; null while that "
        "cannot be told."
    )
    async def presence(self, info: Info) -> PresenceState | None:
        """How they are now."""
        loaders = info.context.loaders
        if await loaders.apart.load(self.row.account_id):
            return PresenceState.OFFLINE
        return await loaders.presences.load(self.row.account_id)

    @strawberry.field(description="Since when.")
    def joined_at(self) -> datetime | None:
        """Since when."""
        return self.row.joined_at


@strawberry.type(description="A conversation between two people, or in a group. Only who is in it sees it.")
class Conversation(Node):
    """A conversation that the viewer is in."""

    joined: strawberry.Private[Joined]

    @strawberry.field(description="Opaque, and for ever.")
    def id(self) -> strawberry.ID:
        """The global id."""
        return strawberry.ID(global_id(Kind.CONVERSATION, self.joined.conversation.conversation_id))

    @strawberry.field(description="Whether it is a group; else it is between two people, for good.")
    def group(self) -> bool:
        """Whether it is a group."""
        return self.joined.conversation.owner_id is not None

    @strawberry.field(description="What the group is called; empty if it has no name, or is none.")
    def name(self) -> str:
        """Its name."""
        return self.joined.conversation.name

    @strawberry.field(description="Whose group it is; null between two people.")
    def owner(self, info: Info) -> Account | None:
        """Whose it is."""
        owner_id = self.joined.conversation.owner_id
        return None if owner_id is None else info.context.loaders.accounts.get(owner_id)

    @strawberry.field(description="Who is in it, you included, in the order in which they came; 50 at most.")
    def members(self) -> list[ConversationMember]:
        """Who is in it."""
        return [ConversationMember(row=row) for row in self.joined.members]

    @strawberry.field(description="How many are in it.")
    def member_count(self) -> int:
        """How many are in it."""
        return counted(self.joined.conversation.members)

    @strawberry.field(description="When it was opened or made.")
    def created_at(self) -> datetime | None:
        """When it began."""
        return self.joined.conversation.created_at

    @strawberry.field(description="What you may do in it. Where one of two blocks the other, both may only read.")
    def viewer_permissions(self) -> list[Permission]:
        """What the viewer may do in it."""
        return permissions_of(self.joined.party.may())

    @strawberry.field(description=HISTORY)
    async def messages(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        around: Around = None,
    ) -> Connection[Message]:
        """Its messages."""
        place_id = self.joined.conversation.conversation_id
        return await history(info, place_id, first, after, last, before, around)

    @strawberry.field(description="What you have not read in it.")
    async def unread(self, info: Info) -> Unread:
        """What the viewer has not read in it."""
        return await unread_in(info, self.joined.conversation.conversation_id)
