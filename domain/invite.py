"""An invite: who has its code may enter a server, until it expires, is used up, or is revoked."""

from base64 import b32decode, b32encode
from binascii import Error
from datetime import datetime, timedelta
from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from domain import permissions
from domain.command import Command
from domain.event import Event, Id
from domain.ids import uuid_text
from domain.limits import Limits
from domain.permissions import Permission
from domain.refusal import Code, Refusal
from domain.server_member import ServerMember, Standing

_ID_BYTES: Final = 16
_CODE_LENGTH: Final = 26
"""Sixteen bytes, five bits a letter."""
_EXPIRES_SECONDS_MAX: Final = 10 * 366 * 86_400
"""Ten years: what is longer is meant to have no end."""


class InviteCreated(Event, frozen=True):
    """Whoever has the code, which is the id written otherwise, may join. ``None``: no end, or no limit of uses."""

    invite_id: Id
    server_id: Id
    creator_id: Id
    expires_at: datetime | None
    uses_max: int | None


class InviteCounted(Event, frozen=True):
    """An invite with a limit was used once more."""

    invite_id: Id
    server_id: Id
    account_id: Id


class InviteRevoked(Event, frozen=True):
    """The invite lets nobody in any more."""

    invite_id: Id
    server_id: Id
    revoker_id: Id


class InviteUsed(Event, frozen=True):
    """Somebody entered with the invite. In a stream of the two, so that many can do so at the same moment."""

    invite_id: Id
    server_id: Id
    account_id: Id


class CreateInvite(Command, frozen=True):
    """Make an invite. Needs ``CREATE_INVITES``.

    ``expires_seconds`` is how long it holds, ``uses_max`` how many may enter with it; ``None``: for ever, everybody.
    """

    server_id: Id
    expires_seconds: int | None = 7 * 86_400
    uses_max: int | None = None


class RevokeInvite(Command, frozen=True):
    """Have an invite let nobody in any more; one's own, or with ``MANAGE_SERVER`` any."""

    ends: ClassVar[bool] = True
    invite_id: Id


class JoinServer(Command, frozen=True):
    """Become a member with the ``code`` of an invite."""

    code: str


class Invite(Struct, frozen=True):
    """An invite, as decisions need it."""

    invite_id: Id
    server_id: Id
    creator_id: Id
    expires_at: datetime | None
    uses_max: int | None
    uses: int = 0
    revoked: bool = False

    def good(self, at: datetime, *, again: bool = False) -> bool:
        """Whether it lets somebody in at that time, ``again`` if he came with it before."""
        used_up = self.uses_max is not None and self.uses >= self.uses_max and not again
        expired = self.expires_at is not None and at >= self.expires_at
        return not (self.revoked or used_up or expired)


START: Invite | None = None


def evolve(invite: Invite | None, event: Event) -> Invite | None:
    """The invite after the event."""
    match event:
        case InviteCreated():
            return Invite(event.invite_id, event.server_id, event.creator_id, event.expires_at, event.uses_max)
        case InviteCounted() if invite is not None:
            return replace(invite, uses=invite.uses + 1)
        case InviteRevoked() if invite is not None:
            return replace(invite, revoked=True)
        case _:
            return invite


def code_of(invite_id: Id) -> str:
    """The code of an invite: its id in 26 letters and digits (RFC 4648, section 6), which nobody guesses."""
    return b32encode(bytes.fromhex(invite_id.replace("-", ""))).decode().rstrip("=")


def id_of(code: str) -> Id:
    """The invite of a code; capitals make no difference. Raises ``INVITE_NOT_FOUND`` for what is no code."""
    try:
        octets = b32decode(code.strip().upper() + "=" * (32 - _CODE_LENGTH))
    except (Error, ValueError):
        raise not_found() from None
    found = octets.hex()
    invite_id = Id(f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}")
    if len(octets) != _ID_BYTES or invite_id != uuid_text(octets, version=8):
        raise not_found()
    return invite_id


def created(
    command: CreateInvite, standing: Standing, *, invite_id: Id, at: datetime, limits: Limits
) -> tuple[Event, ...]:
    """A new invite."""
    standing.refuse_without(Permission.CREATE_INVITES)
    seconds, uses = command.expires_seconds, command.uses_max
    if seconds is not None and not 1 <= seconds <= _EXPIRES_SECONDS_MAX:
        message = "An invite holds from a second to ten years, or for ever. Choose another time."
        raise Refusal(Code.INVALID_VALUE, message, "expires_seconds")
    if uses is not None and not 1 <= uses <= limits.invite_uses_max:
        message = f"An invite counts from 1 to {limits.invite_uses_max} uses, or none. Choose another number."
        raise Refusal(Code.INVALID_VALUE, message, "uses_max")
    return (
        InviteCreated(
            invite_id=invite_id,
            server_id=command.server_id,
            creator_id=standing.account_id,
            expires_at=None if seconds is None else at + timedelta(seconds=seconds),
            uses_max=uses,
        ),
    )


def revoked(invite: Invite | None, standing: Standing) -> tuple[Event, ...]:
    """The invite lets nobody in any more."""
    if invite is None or not standing.inside:
        raise not_found()
    if invite.creator_id != standing.account_id and Permission.MANAGE_SERVER not in standing.may():
        raise permissions.denied(Permission.MANAGE_SERVER)
    if invite.revoked:
        return ()
    ids = {"invite_id": invite.invite_id, "server_id": invite.server_id}
    return (InviteRevoked(**ids, revoker_id=standing.account_id),)


def used(
    invite: Invite, creator: ServerMember, *, account_id: Id, again: bool, at: datetime
) -> tuple[tuple[Event, ...], tuple[Event, ...]]:
    """Somebody enters: the events of the use, and those of the invite itself. Raises ``INVITE_NOT_FOUND``.

    Who comes back with the invite by which he came once (``again``) takes it from nobody else. While its creator is
    put out the invite lets nobody in: neither himself under another name nor whom he gave it to. It does when he is
    back, or his ban is taken back, and it does when he left of himself: many a server is found by such invites.
    """
    if creator.put_out or not invite.good(at, again=again):
        raise not_found()
    ids = {"invite_id": invite.invite_id, "server_id": invite.server_id, "account_id": account_id}
    return (InviteUsed(**ids),), () if invite.uses_max is None or again else (InviteCounted(**ids),)


def not_found() -> Refusal:
    """The same for a code that never was one and for one that is expired, used up or revoked."""
    message = "This invite does not let anybody in (any more). Ask for a new one."
    return Refusal(Code.INVITE_NOT_FOUND, message, "code")
