"""What every event is: an immutable record of something that happened, named in the past participle.

The classes in this package *are* the storage format. A published class never changes in place: a new
version is a new class with an upcaster from the old one (see ``schemas/registry.py``), and the golden
schemas under ``schemas/events/`` fail the tests when this is forgotten.
"""

from typing import Annotated, ClassVar, NewType

from msgspec import Meta, Struct

Id = NewType("Id", str)
"""A stream or subject id: a UUID in its canonical 36-character text form."""

Personal = Annotated[str, Meta(extra={"personal": True})]
"""Text that belongs to a person. The codec encrypts it with the key of the event's ``subject``."""


class Event(Struct, frozen=True, gc=False, forbid_unknown_fields=False):
    """Base of all events. Fields are plain values: ids, text, numbers, booleans, ``bytes`` and aware datetimes.

    ``subject`` names the field that holds the person whose key encrypts the ``Personal`` fields; when that
    field is ``None`` (an archive's deleted author) the text belongs to nobody and is stored as it is.
    """

    subject: ClassVar[str | None] = None
