"""What every command is: a wish, named in the imperative, that a decision turns into events or a refusal."""

from msgspec import Struct


class Command(Struct, frozen=True, gc=False):
    """Base of all commands. Fields are plain values as the client gave them; nothing is checked yet.

    Who asks, when, and under which ids is no field of a command: it is told to the decision beside it.
    """
