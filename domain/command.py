"""What every command is: a wish, named in the imperative, that a decision turns into events or a refusal."""

from msgspec import Struct


class Command(Struct, frozen=True, gc=False):
    """Base of all commands. Fields are plain values as the client gave them; nothing is checked yet.

    Who asks, when, and under which ids is no field of a command: it is told to the decision beside it.
    """

    @property
    def ends(self) -> bool:
        """Whether it only ends what somebody began: such a command is never refused for too many changes.

        What is begun again after that must not be of this kind, or a stream could be made to grow for ever.
        """
        return False
