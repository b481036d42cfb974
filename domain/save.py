"""One account having saved one post or comment."""

from domain.ballot import Target
from domain.event import Event, Id


class ItemSaved(Event, frozen=True):
    """The post or comment is on the account's list of saved things."""

    account_id: Id
    target_id: Id
    target: Target


class ItemUnsaved(Event, frozen=True):
    """The post or comment is off the list."""

    account_id: Id
    target_id: Id
    target: Target
