"""Steps of a table in the making over events whose rows PostgreSQL may refuse: those park their keys, as live."""

from collections.abc import Sequence

from infra.postgres import in_short
from infra.shadow import Shadow
from projections.core import Parked, narrowed, touched_keys
from projections.stepping import step
from schemas.envelope import Recorded
from streams.batches import UNSTORABLE


def step_carefully(shadow: Shadow, page: Sequence[Recorded]) -> None:
    """Fold the page into the indexed shadow and move it to the page's end.

    The page is halved until the event at fault is alone.
    """
    try:
        with shadow.attempt():
            step(shadow.projection, page, shadow.stepping(), expected=shadow.position, to=page[-1].position)
    except UNSTORABLE:
        if len(page) == 1:
            _key_by_key(shadow, page)
            return
        middle = len(page) // 2
        step_carefully(shadow, page[:middle])
        step_carefully(shadow, page[middle:])


def _key_by_key(shadow: Shadow, page: Sequence[Recorded]) -> None:
    before, to = shadow.position, page[-1].position
    for key in touched_keys(shadow.projection, page):
        try:
            with shadow.attempt():
                step(narrowed(shadow.projection, {key}), page, shadow.stepping(), expected=before, to=to)
        except UNSTORABLE as error:
            shadow.stepping().park([Parked(key, to, in_short(error))])
        shadow.position = before
    shadow.position = to
