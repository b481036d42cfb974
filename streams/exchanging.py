"""The exchange of a view for the one that was made beside it, at the very position where it stands then.

The two can be compared in that moment, also where the partitions of the live view are not equally far: the new one is
folded up to where the live one stands in each of them.
"""

import time
from collections.abc import Mapping

from infra.event_store import GroupCommitStore
from infra.rows import PARTITION
from infra.shadow import Busy, Shadow
from schemas.envelope import Recorded
from schemas.topics import Placeless, place
from streams.careful import step_carefully
from streams.limits import RebuildLimits


class Exchange:
    """Exchanges views, from several threads. ``compare``: counts how each new one differs from the live one."""

    def __init__(self, log: GroupCommitStore, limits: RebuildLimits, *, compare: bool) -> None:
        self._log = log
        self._limits = limits
        self._compare = compare
        self._patient_until = 0.0

    def begin(self) -> None:
        """From now on live views are waited for that are not where the new ones stand already."""
        self._patient_until = time.monotonic() + self._limits.ahead_seconds_max

    def make(self, shadow: Shadow) -> int | None:
        """Catch up, exchange and commit. Gives the rows that were not in both, ``None`` if these were not compared.

        Raises ``Busy`` when readers or the runner held the live view for so long that its name could not be taken.
        """
        attempts = 1
        while True:
            self._catch_up(shadow)
            try:
                with shadow.attempt():
                    stands = shadow.lock(self._limits.batch_seconds_max)
                    foremost = max(stands.values(), default=0)
                    comparable = self._comparable(shadow)
                    self._wait_for_live(shadow, foremost, comparable=comparable)
                    differences = self._differences(shadow, stands, foremost) if comparable else None
                    self._catch_up_to(shadow, foremost)
                    shadow.switch(self._limits.lock_seconds)
            except Busy:
                if attempts >= self._limits.switch_attempts_max:
                    raise
                attempts += 1
                time.sleep(self._limits.switch_pause_seconds)
                continue
            shadow.commit()
            return differences

    @property
    def _patient(self) -> bool:
        return time.monotonic() < self._patient_until

    def _wait_for_live(self, shadow: Shadow, live: int, *, comparable: bool) -> None:
        """Raises ``Busy`` while the live view, which stands there, lacks what is in the shadow.

        The log went on while it was read. Views that are kept are exchanged where they stand: none may be ahead of
        others, and only with a view that has all that is in the new one can this be compared.
        """
        lacks = shadow.live_at_start < live < shadow.position
        if self._patient and (lacks or (self._compare and live and not comparable)):
            raise Busy(f"{shadow.projection.name} is not at {shadow.position} yet")

    def _comparable(self, shadow: Shadow) -> bool:
        """Whether to compare, and nothing is in the shadow that is not in the live view."""
        return self._compare and shadow.reached() >= shadow.position

    def _differences(self, shadow: Shadow, stands: Mapping[int, int], foremost: int) -> int | None:
        """How many rows are not in both, as of where the live view stands in each partition; needs the lock.

        What the shadow lacks is folded as far as the live view has it, and undone at the end. ``None`` if the partition
        of an event cannot be told.
        """
        try:
            with shadow.trial():
                position = shadow.position
                while position < foremost:
                    page = self._log.read_sync(position, min(foremost - position, self._limits.page_events))
                    position = page[-1].position
                    if there := [event for event in page if _is_in(stands, event)]:
                        step_carefully(shadow, there)
                return shadow.differences()
        except Placeless:
            return None

    def _catch_up(self, shadow: Shadow) -> None:
        """Come close to the live view; to the end of the log where nobody keeps that up to date.

        Not beyond what the live view has of every partition, while the two can be compared.
        """
        left = self._limits.lag_events_max + 1
        while left > self._limits.lag_events_max:
            live = shadow.live_position()
            to = live if live > shadow.live_at_start else self._log.head_sync()
            if self._compare and (self._patient or self._comparable(shadow)):
                to = shadow.reached()
            left = to - shadow.position
            if left > 0:
                self._step(shadow, min(left, self._limits.page_events))

    def _catch_up_to(self, shadow: Shadow, position: int) -> None:
        while shadow.position < position:
            self._step(shadow, min(position - shadow.position, self._limits.page_events))

    def _step(self, shadow: Shadow, limit: int) -> None:
        page = self._log.read_sync(shadow.position, limit)
        if page:
            step_carefully(shadow, page)


def _is_in(stands: Mapping[int, int], event: Recorded) -> bool:
    """Whether a view that stands there, by partition, has the event. Raises ``Placeless``."""
    at = stands.get(PARTITION)
    if at is None:
        at = stands.get(place(event).number, 0)
    return event.position <= at
