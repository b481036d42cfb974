"""Events folded in memory, for tests that look at single rows."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.event import Event, Id
from domain.ids import derived
from infra.rows_memory import MemoryViews
from projections.catalogue import ALL
from projections.core import Key
from projections.stepping import step
from schemas.envelope import Metadata, Recorded

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def ident(name: str) -> Id:
    """The id of a thing of a test."""
    return derived("test", name)


def recorded(*events: Event, at: datetime = NOW, first: int = 1) -> list[Recorded]:
    """The events as a log would give them, from that position on."""
    meta = Metadata(ident("command"), ident("correlation"), None, None, at, at)
    raw = msgspec.json.encode(meta)
    return [Recorded(position, ident("stream"), 1, event, raw) for position, event in enumerate(events, start=first)]


def rows(name: str, batch: Iterable[Recorded]) -> Mapping[Key, Any]:
    """The rows of that projection after those events, in the order given."""
    views = MemoryViews()
    batch = list(batch)
    with views.transaction(ALL[name]) as opened:
        stepped = step(ALL[name], batch, opened, expected=0, to=max(r.position for r in batch))
    assert not stepped.parked
    return views.tables.get(name, {})
