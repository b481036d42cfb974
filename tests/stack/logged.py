"""A view of the message log for tests: a row has all types that a message has, and its fold tells what came twice."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from domain.ballot import VoteCast
from domain.event import Id
from infra.rows_memory import MemoryViews
from projections.core import Key, Projection, Row
from projections.stepping import step
from schemas.envelope import Recorded


class Line(Row, frozen=True):
    """What one voter did to one target; ``words`` grow with each vote, and ``edited_at`` comes and goes."""

    key_fields: ClassVar[tuple[str, ...]] = ("channel_id", "month", "number")
    channel_id: Id
    month: int
    number: int
    author_id: Id | None = None
    words: str = ""
    mentions: bytes = b""
    edited_at: datetime | None = None
    position: int = 0


def key_of(event: VoteCast) -> tuple[Id, int, int]:
    """The key of its row: three months a target."""
    number = int(event.voter_id.replace("-", "")[-14:], 16)
    return event.target_id, 24_300 + number % 3, number


def lines(version: int = 1, word: str = "") -> Projection:
    """The view; ``word`` tells its versions apart. A vote with that of ``poison`` cannot be stored."""
    made = Projection("lines", version=version, row=Line, local=True, message_log=True)

    @made.on(VoteCast, key=key_of)
    def _(row: Line, event: VoteCast, at: Recorded) -> Line:
        words = f"{row.words}{word}{event.value:+d}@{at.position} "
        if word == "poison" and at.position % 97 == 0:
            words += "\ud800"
        return replace(
            row,
            author_id=event.author_id,
            words=words,
            mentions=words.encode(errors="replace")[:9],
            edited_at=at.occurred_at if event.value else None,
            position=at.position,
        )

    return made


LINES = lines()


def straight(log: Sequence[Recorded], projection: Projection = LINES) -> dict[Key, Row]:
    """The rows that a straight replay in memory gives."""
    views = MemoryViews()
    with views.transaction(projection) as rows:
        step(projection, log, rows, expected=0, to=log[-1].position)
    return dict(views.tables[projection.name])
