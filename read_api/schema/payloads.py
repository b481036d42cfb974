"""What mutations answer with: what they changed, as it now is, or why they changed nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import strawberry
from msgspec import Struct
from strawberry.utils.str_converters import to_camel_case

from commands.handling import Caller, Contended, NotSignedIn, Outcome
from domain.command import Command
from domain.event import Id
from domain.refusal import Code, Refusal
from infra.queries import servers as server_queries
from read_api.cursors import seal_position
from read_api.errors import ApiCode, BadInput, UserError, user_error
from read_api.request_ids import correlation_id
from read_api.schema.accounts import Account
from read_api.schema.comments import Comment
from read_api.schema.common import Info
from read_api.schema.communities import Community
from read_api.schema.conversations import Conversation
from read_api.schema.posts import Post
from read_api.schema.servers import Channel, Invite, Role, Server
from read_api.schema.viewer import Votable


@strawberry.input(description="What every mutation takes besides its own fields.")
class Input:
    """What every mutation takes."""

    idempotency_key: str | None = strawberry.field(
        default=None,
        description="Your own word for this wish, the same in every retry: it then happens once, and each retry gets "
        "the first answer. Without one, a retry is another wish.",
    )
    client_mutation_id: str | None = strawberry.field(default=None, description="Comes back as it is in the payload.")

    def key(self, length_max: int) -> str | None:
        """The client's word for this wish, if it gave one, of at most that length. Raises ``BadInput``."""
        if self.idempotency_key is None:
            return None
        return word(self.idempotency_key, "idempotencyKey", "An idempotency key", length_max)


def word(
    text: str, field: str, what: str, length_max: int, code: Code | ApiCode = ApiCode.IDEMPOTENCY_KEY_INVALID
) -> str:
    """A client's own word for something, which shows. Raises ``BadInput`` with that code."""
    if not (1 <= len(text) <= length_max and text.isprintable() and not text.isspace()):
        message = f"{what} has 1 to {length_max} characters, all of which show; spaces alone are none."
        raise BadInput(code, message, field)
    return text


class Done(Struct):
    """What became of a command."""

    outcome: Outcome | None
    errors: list[UserError]


@strawberry.type(description="What every mutation answers.")
class Payload:
    """What every mutation answers."""

    errors: list[UserError] = strawberry.field(description="Why nothing was changed; empty if it was done.")
    position: str | None = strawberry.field(
        description="Pass it as the header `Moot-Position`, or as `position` in the operation's `extensions`, to read "
        "views that have seen this. Null if nothing was done."
    )
    client_mutation_id: str | None = strawberry.field(description="As it was given.")
    outcome: strawberry.Private[Outcome | None] = None

    async def subject(self, info: Info) -> Id | None:
        """What the command was about, once the views have seen it or the wait for that is over."""
        if self.outcome is None:
            return None
        context = info.context
        if not await context.moot.progress.wait(self.outcome.position):
            context.position, context.stale = self.outcome.position, True
        return self.outcome.subject_id


@strawberry.type(description="The account as it is now.")
class AccountPayload(Payload):
    """About an account."""

    @strawberry.field(
        description="The account as it is now; null if nothing was done, or not seen by the views in time."
    )
    async def account(self, info: Info) -> Account | None:
        """The account as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.accounts.load(subject) if subject else None


@strawberry.type(description="The community as it is now.")
class CommunityPayload(Payload):
    """About a community."""

    @strawberry.field(
        description="The community as it is now; null if nothing was done, or it is hidden from you now, "
        "or not seen by the views in time."
    )
    async def community(self, info: Info) -> Community | None:
        """The community as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.communities.load(subject) if subject else None


@strawberry.type(description="The community as it is now, and the account that was let in or appointed.")
class MemberPayload(CommunityPayload):
    """About an account's standing in a community."""

    account_id: strawberry.Private[Id | None] = None

    @strawberry.field(description="The account that was let in or appointed; null if nothing was done.")
    async def account(self, info: Info) -> Account | None:
        """The account that was let in or appointed."""
        if self.account_id is None or await self.subject(info) is None:
            return None
        return await info.context.loaders.accounts.load(self.account_id)


@strawberry.type(description="The post as it is now.")
class PostPayload(Payload):
    """About a post."""

    @strawberry.field(description="The post as it is now; null if nothing was done, or not seen by the views in time.")
    async def post(self, info: Info) -> Post | None:
        """The post as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.posts.load(subject) if subject else None


@strawberry.type(description="The comment as it is now.")
class CommentPayload(Payload):
    """About a comment."""

    @strawberry.field(
        description="The comment as it is now; null if nothing was done, or not seen by the views in time."
    )
    async def comment(self, info: Info) -> Comment | None:
        """The comment as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.comments.load(subject) if subject else None


@strawberry.type(description="What was voted on or saved, as it is now.")
class TargetPayload(Payload):
    """About a post or a comment."""

    @strawberry.field(
        description="The post or comment as it is now; null if nothing was done, or not seen by the views in time."
    )
    async def target(self, info: Info) -> Votable | None:
        """The post or comment as it is now."""
        subject = await self.subject(info)
        if subject is None:
            return None
        loaders = info.context.loaders
        return await loaders.posts.load(subject) or await loaders.comments.load(subject)


async def carry_out(info: Info, given: Input, build: Callable[[], Command]) -> Done:
    """Build a command from the input and carry it out for the viewer. Whatever is refused is a user error."""
    context = info.context
    context.forget()  # an earlier mutation of the same operation may have changed what was loaded
    try:
        key = given.key(context.moot.settings.graphql_idempotency_key_length_max)
        caller = Caller(context.viewer_id, correlation_id(context.request_id), key)
        return Done(await context.moot.commands.execute(build(), caller), [])
    except (Refusal, BadInput) as error:
        return Done(None, [refused(error)])
    except NotSignedIn:
        return Done(None, [user_error(ApiCode.UNAUTHENTICATED, "Sign in first, then do this again.")])
    except Contended:
        message = "Too many people are changing this at this very moment. Try again."
        return Done(None, [user_error(Code.TOO_BUSY, message, retry_after_seconds=1)])


def refused(error: Refusal | BadInput) -> UserError:
    """What was refused, or could not be used, as the client is told of it."""
    if isinstance(error, BadInput):
        return user_error(error.code, error.message, error.field)
    field = None if error.field is None else to_camel_case(error.field)
    return user_error(error.code, error.message, field, retry_after_seconds=error.retry_after_seconds)


def position_of(info: Info, done: Done) -> str | None:
    """The token of where the command stands in the log."""
    return None if done.outcome is None else seal_position(info.context.sealer, done.outcome.position)


@strawberry.type(description="The server as it is now.")
class ServerPayload(Payload):
    """About a server."""

    @strawberry.field(
        description="The server as it is now; null if nothing was done, if you are not in it any more, or not seen by "
        "the views in time."
    )
    async def server(self, info: Info) -> Server | None:
        """The server as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.servers.load(subject) if subject else None


@strawberry.type(description="The server that you joined.")
class JoinServerPayload(Payload):
    """About a server that was joined with an invite."""

    @strawberry.field(
        description="The server that you joined; null if nothing was done, or not seen by the views in time."
    )
    async def server(self, info: Info) -> Server | None:
        """The server that was joined."""
        invite_id = await self.subject(info)
        loaders = info.context.loaders
        server_id = await loaders.read(server_queries.server_of_invite, invite_id) if invite_id else None
        return await loaders.servers.load(server_id) if server_id else None


@strawberry.type(description="The role as it is now.")
class RolePayload(Payload):
    """About a role."""

    @strawberry.field(
        description="The role as it is now; null if nothing was done, it is deleted, or not seen by the views in time."
    )
    async def role(self, info: Info) -> Role | None:
        """The role as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.roles.load(subject) if subject else None


@strawberry.type(description="The channel as it is now.")
class ChannelPayload(Payload):
    """About a channel."""

    @strawberry.field(
        description="The channel as it is now; null if nothing was done, if it is deleted or hidden from you now, or "
        "not seen by the views in time."
    )
    async def channel(self, info: Info) -> Channel | None:
        """The channel as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.channels.load(subject) if subject else None


@strawberry.type(description="The invite that you made.")
class InvitePayload(Payload):
    """About an invite."""

    @strawberry.field(
        description="The invite; null if nothing was done, if it is revoked, or not seen by the views in time."
    )
    async def invite(self, info: Info) -> Invite | None:
        """The invite."""
        subject = await self.subject(info)
        if subject is None:
            return None
        context = info.context
        found = await context.loaders.read(server_queries.invited, context.viewer_id, [subject], context.moot.clock())
        return Invite(row=found[0].invite, leads_to=found[0].server) if found else None


@strawberry.type(description="The conversation as it is now.")
class ConversationPayload(Payload):
    """About a conversation."""

    @strawberry.field(
        description="The conversation as it is now; null if nothing was done, if you are not in it any more, or not "
        "seen by the views in time."
    )
    async def conversation(self, info: Info) -> Conversation | None:
        """The conversation as it is now."""
        subject = await self.subject(info)
        return await info.context.loaders.conversations.load(subject) if subject else None


P = TypeVar("P", bound=Payload)


async def answer(info: Info, given: Input, payload: type[P], build: Callable[[], Command], **more: Any) -> P:
    """Carry out the command that ``build`` makes of the input, and answer with that payload."""
    done = await carry_out(info, given, build)
    return payload(
        errors=done.errors,
        position=position_of(info, done),
        client_mutation_id=given.client_mutation_id,
        outcome=done.outcome,
        **more,
    )
