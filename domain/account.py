"""An account: who somebody is. Credentials, e-mail and sessions are not here; they never enter the log."""

from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from domain import name, text
from domain.command import Command
from domain.event import Event, Id, Personal
from domain.limits import Limits
from domain.refusal import Code, Refusal


class AccountRegistered(Event, frozen=True):
    """Somebody signed up. The name is also claimed, in its own stream, in the same append."""

    subject: ClassVar[str | None] = "account_id"
    account_id: Id
    name: Personal
    display_name: Personal


class AccountImported(Event, frozen=True):
    """An archive's author got an account that nobody can sign in to. ``source`` names the archive: ``reddit``."""

    subject: ClassVar[str | None] = "account_id"
    account_id: Id
    name: Personal
    source: str


class DisplayNameChanged(Event, frozen=True):
    """The account is shown under another name from now on."""

    subject: ClassVar[str | None] = "account_id"
    account_id: Id
    display_name: Personal


class Register(Command, frozen=True):
    """Sign up: an account with a name of its own. An empty ``display_name`` becomes the name."""

    name: str
    display_name: str = ""


class ChangeDisplayName(Command, frozen=True):
    """Be shown under another name."""

    display_name: str


class Account(Struct, frozen=True):
    """An account, as decisions need it."""

    account_id: Id
    display_name: str


START: Account | None = None


def evolve(account: Account | None, event: Event) -> Account | None:
    """The account after the event."""
    match event:
        case AccountRegistered(account_id=account_id, display_name=display_name):
            return Account(account_id, display_name)
        case AccountImported(account_id=account_id, name=name_):
            return Account(account_id, name_)
        case DisplayNameChanged(display_name=display_name) if account is not None:
            return replace(account, display_name=display_name)
        case _:
            return account


def decide(
    command: Register | ChangeDisplayName, account: Account | None, *, account_id: Id, limits: Limits
) -> tuple[Event, ...]:
    """What the command makes of the account with that id. That the name is free is decided by its claim."""
    longest = limits.display_name_length_max
    match command:
        case Register():
            name_ = name.checked("account", command.name, limits)
            shown = text.line(command.display_name or name_, "display_name", length_max=longest)
            return (AccountRegistered(account_id=account_id, name=name_, display_name=shown),)
        case ChangeDisplayName():
            if account is None:
                raise not_found()
            shown = text.line(command.display_name, "display_name", length_max=longest)
            if shown == account.display_name:
                return ()
            return (DisplayNameChanged(account_id=account_id, display_name=shown),)


def not_found(field: str = "account_id") -> Refusal:
    """There is no account with that id."""
    return Refusal(Code.ACCOUNT_NOT_FOUND, "There is no such account. Check the link.", field)
