"""What every command is: a wish, named in the imperative, that a decision turns into events or a refusal."""

from typing import ClassVar

from msgspec import Struct


class Command(Struct, frozen=True, gc=False):
    """Base of all commands. Fields are plain values as the client gave them; nothing is checked yet.

    Who asks, when, and under which ids is no field of a command: it is told to the decision beside it.
    ``ends`` is true of those that only end what somebody began: they are never refused for having been used too often.
    """

    ends: ClassVar[bool] = False
