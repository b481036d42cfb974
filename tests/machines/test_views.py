"""The views of a forum at random: what commands record is read as a fleet reads it, by partitions, late, and again.

The same machine as in ``test_forum``, and beside it workers that take batches of any partition in any order, some of
them twice, workers that lost their place to another, rebuilds that are exchanged for what there was, and versions that
read votes as an older one stored them. When all is read, the rows are those of a straight fold.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from domain.ballot import VoteCast
from infra.codec import Codec, Row
from infra.rows_memory import MemoryViews
from projections.catalogue import ALL
from projections.core import Projection, StaleCheckpoint
from projections.stepping import step
from schemas.envelope import Recorded
from schemas.registry import WIRE, Upcaster
from schemas.topics import partitions_of
from tests.equivalence.test_equivalence import Tables, straight
from tests.machines.test_forum import LONG, Forum, TestForum
from tests.partitions.delivering import Partitions, by_place

OLD, NEW = "vote.cast@1", "vote.cast@2"
THIRDS = 3
"""Of the votes, that third is stored in the old form of which the positions leave this remainder; at 3, none is."""


def upcast(old: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A vote whose fields had other names."""
    return NEW, {"value" if name == "direction" else name: value for name, value in old.items()}


def stored(row: Row, third: int) -> Row:
    """The row as the version has it that reads it: votes in the new form, or still in the old one."""
    position, stream_id, version, wire, state = row
    if WIRE[wire] is not VoteCast:
        return row
    if position % THIRDS != third:
        return position, stream_id, version, NEW, state
    said = msgspec.json.decode(state)
    said["data"]["direction"] = said["data"].pop("value")
    return position, stream_id, version, OLD, msgspec.json.encode(said)


class Views(Forum):
    """The machine. ``views`` are what the workers keep, ``taken`` how much of each partition they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.views = MemoryViews()
        self.taken: dict[int, int] = {}
        self.third = THIRDS
        wire = {NEW if kind is VoteCast else name: kind for name, kind in WIRE.items()}
        self.codec = Codec(self.store.log.codec.keyring, wire, {OLD: Upcaster(upcast)})

    def teardown(self) -> None:
        """Once all is read, the rows are those of a straight fold, and nothing was parked."""
        super().teardown()
        self.read_all()
        assert not any(self.views.parked.values())
        assert self.rows() == self.straight()

    @rule(which=st.integers(0, 99), again=st.integers(0, 30), more=st.integers(0, 30))
    def workers_read(self, which: int, again: int, more: int) -> None:
        """The next batch of some partition, whatever the others have come to, and before it some that came already."""
        partitions = self.partitions()
        number = sorted(partitions)[which % len(partitions)]
        self.deliver(number, partitions[number], again, more)

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 99))
    def a_worker_that_lost_its_place_writes(self, which: int) -> None:
        """It believes that it is further back than it is, and changes nothing."""
        number = sorted(self.taken)[which % len(self.taken)]
        events, before = self.partitions()[number], self.rows()
        for projection in readers(number):
            at = self.views.positions.get((projection.name, number), 0)
            if at > 1:
                with pytest.raises(StaleCheckpoint), self.views.transaction(projection, number) as rows:
                    step(projection, events, rows, expected=at - 1, to=events[-1].position)
        assert self.rows() == before

    @rule(compared=st.booleans())
    def a_rebuild_is_exchanged(self, compared: bool) -> None:
        """For what the workers have, where they are, or when they have read everything."""
        rebuilt = self.straight()
        if compared:
            self.read_all()
            assert self.rows() == rebuilt
        self.views.tables = {name: dict(rows) for name, rows in rebuilt.items()}
        for number, events in self.partitions().items():
            self.taken[number] = len(events)
            for projection in readers(number):
                self.views.positions[projection.name, number] = events[-1].position

    @rule(third=st.integers(0, THIRDS))
    def another_version_reads(self, third: int) -> None:
        """From now on, other votes are of before the change of their form."""
        self.third = third
        assert [event.event for event in self.log()] == [
            event.event for event in self.store.log.read_sync(0, 100_000)
        ], "an event became another one"

    # -- the log and the rows ----------------------------------------------------------------------------------

    def log(self) -> Sequence[Recorded]:
        """The log as the version reads it that the workers are of."""
        return self.codec.decode_page([stored(row, self.third) for row in self.store.log.recorder.page(0, 100_000)])

    def partitions(self) -> Partitions:
        """The log taken apart as the relay does."""
        return by_place(self.log())

    def deliver(self, number: int, events: Sequence[Recorded], again: int, more: int) -> None:
        """Give a batch of a partition to all views that are folded from it."""
        taken = self.taken.get(number, 0)
        batch = events[max(0, taken - again) : taken + more]
        if not batch:
            return
        for projection in readers(number):
            expected = self.views.positions.get((projection.name, number), 0)
            with self.views.transaction(projection, number) as rows:
                step(projection, batch, rows, expected=expected, to=batch[-1].position)
        self.taken[number] = min(taken + more, len(events))

    def read_all(self) -> None:
        """The rest of each partition."""
        for number, events in self.partitions().items():
            self.deliver(number, events, 0, len(events))

    def rows(self) -> Mapping[str, Any]:
        """The rows that there are, by view."""
        return {name: dict(rows) for name, rows in self.views.tables.items() if rows}

    def straight(self) -> Tables:
        """The rows of a straight fold of the log as it was written."""
        return {name: rows for name, rows in straight(self.store.log.read_sync(0, 100_000)).items() if rows}


def readers(number: int) -> list[Projection]:
    """The views that are folded from that partition."""
    return [projection for projection in ALL.values() if number in partitions_of(projection.handlers)]


TestViews = Views.TestCase
TestViews.settings = type(TestForum.settings)(TestForum.settings, max_examples=1_000 if LONG else 40)
del Forum, TestForum
