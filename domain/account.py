"""An account: who somebody is. Credentials, e-mail and sessions are not here; they never enter the log."""

from typing import ClassVar

from domain.event import Event, Id, Personal


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
