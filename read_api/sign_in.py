"""Signing up, in and out, as mutations.

The access token is in the payload: a client sends it as ``Authorization: Bearer …`` and keeps it in memory. The refresh
token is in a cookie that no script can read and that no other site's page can have sent (``HttpOnly``, ``Secure``,
``SameSite=Strict``, bound to this host by its ``__Host-`` prefix, RFC 6265bis section 4.1.3.2). Browsers keep such a
cookie over plain HTTP too where the host is this machine. Forging a refresh from elsewhere would need that cookie and
``application/json``, which no form sends. A WebSocket has no answer that could set a cookie, so what begins a session
or goes on with it is refused there, before anything is done.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import strawberry

from commands.handling import Caller, Contended, Outcome
from domain.event import Id
from domain.refusal import Code, Refusal
from infra.sessions import Grant
from infra.sign_in import Form, Source
from read_api.context import Context
from read_api.cursors import seal_position
from read_api.errors import ApiCode, BadInput, UserError, user_error
from read_api.request_ids import correlation_id
from read_api.schema.accounts import Account
from read_api.schema.common import Info
from read_api.schema.payloads import Input, Payload, refused

T = TypeVar("T")

COOKIE = "__Host-moot-refresh"
"""The cookie of the refresh token. Its prefix makes browsers insist on ``Secure``, ``Path=/`` and no ``Domain``."""

_SESSION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"


@strawberry.input(description="A new account.")
class SignUpInput(Input):
    """A new account."""

    name: str = strawberry.field(description="Unique without regard to case, and for good: letters, digits, _ and -.")
    display_name: str = strawberry.field(default="", description="What you are shown as; your name, if left out.")
    email: str = strawberry.field(description="Your e-mail address. Nobody else sees it.")
    password: str = strawberry.field(description="10 to 128 characters of any kind, and not easy to guess.")


@strawberry.input(description="Who you are.")
class SignInInput(Input):
    """Who you are."""

    name_or_email: str = strawberry.field(description="The name or the e-mail address of your account.")
    password: str = strawberry.field(description="Its password.")


@strawberry.input(
    description="Nothing of its own: the refresh token is in the cookie. With an `idempotencyKey`, a refresh whose "
    "answer was lost may be asked for again within a minute; without, a token that comes again ends the session."
)
class RefreshSessionInput(Input):
    """Nothing of its own."""


@strawberry.input(description="Which sessions to end.")
class SignOutInput(Input):
    """Which sessions to end."""

    everywhere: bool = strawberry.field(default=False, description="All sessions of your account, not this one alone.")


@strawberry.input(description="The code from the mail.")
class ConfirmEmailInput(Input):
    """The code from the mail."""

    code: str = strawberry.field(description="As it stands in the mail.")


@strawberry.input(description="Nothing of its own: the mail goes to the address of your account.")
class RequestEmailConfirmationInput(Input):
    """Nothing of its own."""


@strawberry.type(description="The answer of a mutation that may be refused for coming too often.")
class LimitedPayload(Payload):
    """The answer of a mutation that may be refused for coming too often."""

    retry_after_seconds: int | None = strawberry.field(
        default=None, description="After TOO_MANY_REQUESTS: how long to wait before trying again."
    )


@strawberry.type(
    description="A session. The refresh token is not here but in a cookie that scripts cannot read. A WebSocket cannot "
    "set it: there, all these are refused with HTTP_ONLY."
)
class SessionPayload(LimitedPayload):
    """A session, or why there is none."""

    access_token: str | None = strawberry.field(
        default=None, description="Send it as `Authorization: Bearer …`. Null if there is no session."
    )
    expires_in_seconds: int | None = strawberry.field(
        default=None, description="How long the access token works; get the next one by `refreshSession`."
    )

    @strawberry.field(description="Your account; null if there is no session.")
    async def account(self, info: Info) -> Account | None:
        """The account of the session."""
        subject = await self.subject(info)
        return await info.context.loaders.accounts.load(subject) if subject else None


@strawberry.type(description="How many sessions were ended.")
class SignOutPayload(Payload):
    """How many sessions were ended."""

    sessions_ended: int = strawberry.field(default=0, description="None, if they had ended already.")


@strawberry.type(description="Whose address was confirmed.")
class ConfirmEmailPayload(Payload):
    """Whose address was confirmed."""

    @strawberry.field(description="The account whose address it is; null if nothing was done.")
    async def account(self, info: Info) -> Account | None:
        """The account whose address it is."""
        subject = await self.subject(info)
        return await info.context.loaders.accounts.load(subject) if subject else None


@strawberry.type(description="Whether a mail is on its way.")
class RequestEmailConfirmationPayload(LimitedPayload):
    """Whether a mail is on its way."""

    sent: bool = strawberry.field(default=False, description="False if the address is confirmed already.")


@strawberry.input(description="One of your sessions.")
class EndSessionInput(Input):
    """One of the viewer's sessions."""

    session_id: strawberry.ID = strawberry.field(description="The session.")


@strawberry.type(description="Whether a session was ended.")
class EndSessionPayload(Payload):
    """Whether a session was ended."""

    ended: bool = strawberry.field(default=False, description="False if it had ended already, or is not yours.")


@strawberry.type(description="Signing up, in and out.")
class SignInMutations:
    """Signing up, in and out."""

    @strawberry.mutation(
        description="Register an account and begin a session. An e-mail address that has an account already is refused "
        "as such, so that whoever forgot learns it; how often one may ask is limited."
    )
    async def sign_up(self, info: Info, input: SignUpInput) -> SessionPayload:
        """``SignIn.sign_up``."""
        context = info.context

        async def work() -> tuple[Grant, int | None]:
            key = input.key(context.moot.settings.graphql_idempotency_key_length_max)
            form = Form(input.name, input.display_name, input.email, input.password)
            caller = Caller(None, correlation_id(context.request_id), key)
            done = await context.moot.sign_in.sign_up(form, caller, _source(context))
            return done.grant, done.position

        return await _session(context, input, work)

    @strawberry.mutation(
        description="Begin a session. What is wrong is not told: the answer is the same, and takes as long, for an "
        "account that does not exist."
    )
    async def sign_in(self, info: Info, input: SignInInput) -> SessionPayload:
        """``SignIn.sign_in``."""
        context = info.context

        async def work() -> tuple[Grant, int | None]:
            return await context.moot.sign_in.sign_in(input.name_or_email, input.password, _source(context)), None

        return await _session(context, input, work)

    @strawberry.mutation(
        description="Get the next access token, by the cookie alone: send no `Authorization` if yours has expired. The "
        "cookie is replaced; one that was replaced before and comes again was stolen, and ends the session."
    )
    async def refresh_session(self, info: Info, input: RefreshSessionInput) -> SessionPayload:
        """``Sessions.refresh``."""
        context = info.context

        async def work() -> tuple[Grant, int | None]:
            key = input.key(context.moot.settings.graphql_idempotency_key_length_max)
            return await context.moot.sessions.refresh(context.cookies.get(COOKIE, ""), key), None

        payload = await _session(context, input, work)
        if any(error.code.name == Code.SESSION_ENDED.name for error in payload.errors):
            _drop_cookie(context)
        return payload

    @strawberry.mutation(
        description="End this session, or all of yours. Its tokens are refused at once, everywhere, and its "
        "subscriptions are closed. Works with the access token or with the cookie alone."
    )
    async def sign_out(self, info: Info, input: SignOutInput) -> SignOutPayload:
        """``Sessions.end``."""
        context = info.context
        sessions, token = context.moot.sessions, context.cookies.get(COOKIE)
        if input.everywhere and context.viewer_id is None:
            message = "Sign in first: only the owner of an account can sign it out everywhere."
            return SignOutPayload(
                errors=[user_error(ApiCode.UNAUTHENTICATED, message)],
                position=None,
                client_mutation_id=input.client_mutation_id,
            )
        ended = 0
        if context.viewer_id is not None and input.everywhere:
            ended += await sessions.end_all(context.viewer_id)
        elif context.viewer_id is not None and context.session_id is not None:
            ended += await sessions.end(Id(context.session_id), context.viewer_id)
        if token is not None:
            ended += await sessions.end_by_refresh_token(token)
        _drop_cookie(context)
        _become(context, None)
        return SignOutPayload(
            errors=[], position=None, client_mutation_id=input.client_mutation_id, sessions_ended=ended
        )

    @strawberry.mutation(
        description="End one of your sessions, such as that on a device you lost. Its tokens are refused at once."
    )
    async def end_session(self, info: Info, input: EndSessionInput) -> EndSessionPayload:
        """``Sessions.end``."""
        context, errors, ended = info.context, [], False
        if context.viewer_id is None:
            errors.append(user_error(ApiCode.UNAUTHENTICATED, "Sign in first, then do this again."))
        elif not _SESSION_ID.match(input.session_id):
            message = "This is not the id of a session; pass one as you received it."
            errors.append(user_error(ApiCode.INVALID_ID, message, "sessionId"))
        else:
            ended = await context.moot.sessions.end(Id(input.session_id), context.viewer_id)
        return EndSessionPayload(errors=errors, position=None, client_mutation_id=input.client_mutation_id, ended=ended)

    @strawberry.mutation(description="Confirm the e-mail address of an account by the code that was mailed to it.")
    async def confirm_email(self, info: Info, input: ConfirmEmailInput) -> ConfirmEmailPayload:
        """``SignIn.confirm_email``."""
        account_id, errors, _ = await _tried(lambda: info.context.moot.sign_in.confirm_email(input.code))
        return ConfirmEmailPayload(
            errors=errors,
            position=None,
            client_mutation_id=input.client_mutation_id,
            outcome=Outcome(account_id, 0) if account_id else None,
        )

    @strawberry.mutation(description="Mail a new code to the address of your account; older codes stop working.")
    async def request_email_confirmation(
        self, info: Info, input: RequestEmailConfirmationInput
    ) -> RequestEmailConfirmationPayload:
        """``SignIn.request_confirmation``."""
        account_id = info.context.viewer_id
        sent: bool | None = False
        if account_id is None:
            errors, wait = [user_error(ApiCode.UNAUTHENTICATED, "Sign in first, then do this again.")], None
        else:
            sent, errors, wait = await _tried(lambda: info.context.moot.sign_in.request_confirmation(account_id))
        return RequestEmailConfirmationPayload(
            errors=errors,
            position=None,
            client_mutation_id=input.client_mutation_id,
            retry_after_seconds=wait,
            sent=bool(sent),
        )


async def _session(
    context: Context, given: Input, work: Callable[[], Awaitable[tuple[Grant, int | None]]]
) -> SessionPayload:
    """The payload of what begins or goes on with a session; ``work`` gives it, and a position if there is a new one."""
    if not context.sets_cookies:
        message = (
            "A session begins and goes on over HTTP, which brings its cookie. Send this by POST to the same address."
        )
        return SessionPayload(
            errors=[user_error(ApiCode.HTTP_ONLY, message)],
            position=None,
            client_mutation_id=given.client_mutation_id,
        )
    done, errors, wait = await _tried(work)
    if done is None:
        return SessionPayload(
            errors=errors, position=None, client_mutation_id=given.client_mutation_id, retry_after_seconds=wait
        )
    grant, position = done
    context.set_cookies.append(
        f"{COOKIE}={grant.refresh_token}; Max-Age={_seconds_left(context, grant)}; {_ATTRIBUTES}"
    )
    _become(context, grant)
    return SessionPayload(
        errors=[],
        position=None if position is None else seal_position(context.sealer, position),
        client_mutation_id=given.client_mutation_id,
        outcome=Outcome(grant.account_id, position or 0),
        access_token=grant.access_token,
        expires_in_seconds=grant.access_seconds,
    )


async def _tried(work: Callable[[], Awaitable[T]]) -> tuple[T | None, list[UserError], int | None]:
    """What the work gives, or why it was refused, and how many seconds to wait if that is why."""
    try:
        return await work(), [], None
    except Refusal as refusal:
        return None, [refused(refusal)], refusal.retry_after_seconds
    except BadInput as error:
        return None, [refused(error)], None
    except Contended:
        return None, [user_error(Code.TOO_BUSY, "Too many people want this at this very moment. Try again.")], None


def _source(context: Context) -> Source:
    return Source(context.address, context.client)


def _become(context: Context, grant: Grant | None) -> None:
    """The rest of the operation is asked by whoever that is: the payload shows the account as its owner sees it."""
    context.viewer_id = grant.account_id if grant else None
    context.session_id = grant.session_id if grant else None
    context.forget()


def _seconds_left(context: Context, grant: Grant) -> int:
    return max(1, int((grant.refresh_expires_at - context.moot.clock()).total_seconds()))


def _drop_cookie(context: Context) -> None:
    context.set_cookies.append(f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}")
