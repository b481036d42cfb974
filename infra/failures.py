"""What went wrong on this machine, said so that the person in front of it can put it right.

A ``Failure`` is neither a refusal of the domain nor a bug: a port is taken, a disk is full, a setting is out of
range. Whoever raises one knows the fix.
"""


class Failure(Exception):
    """Something of this machine or its settings stands in the way.

    ``what`` happened, ``why`` it did or matters, and ``fix``: the command to type or the thing to change.
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what} {why} {fix}")
        self.what = what
        self.why = why
        self.fix = fix
