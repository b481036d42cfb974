"""A name claim: uniqueness as a stream. Its id is a keyed hash of the folded name, so the name itself is not in it."""

from typing import Literal

from domain.event import Event, Id


class NameClaimed(Event, frozen=True):
    """The name behind this stream belongs to ``holder_id`` for good."""

    kind: Literal["account", "community"]
    holder_id: Id
