"""One account having saved one post or comment."""

from typing import ClassVar

from domain import item as items
from domain.access import Access
from domain.command import Command
from domain.event import Event, Id
from domain.item import Item, Target


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


class SaveItem(Command, frozen=True):
    """Put a post or comment on the list of saved things."""

    target_id: Id


class UnsaveItem(Command, frozen=True):
    """Take it off the list; also when it is deleted or hidden meanwhile, for the list is one's own."""

    ends: ClassVar[bool] = True
    target_id: Id


START: Target | None = None
"""Not saved; else what kind of thing it is."""


def evolve(saved: Target | None, event: Event) -> Target | None:
    """What is saved after the event."""
    match event:
        case ItemSaved(target=target):
            return target
        case ItemUnsaved():
            return None
        case _:
            return saved


def decide(
    command: SaveItem | UnsaveItem, saved: Target | None, *, account_id: Id, item: Item | None, access: Access
) -> tuple[Event, ...]:
    """What the command makes of the list."""
    if isinstance(command, UnsaveItem) and saved is not None:
        return (ItemUnsaved(account_id=account_id, target_id=command.target_id, target=saved),)
    if item is None or not access.sees:
        raise items.not_found()
    if isinstance(command, UnsaveItem) or saved is not None:
        return ()
    if item.deleted:
        raise items.deleted(item.target)
    return (ItemSaved(account_id=account_id, target_id=command.target_id, target=item.target),)
