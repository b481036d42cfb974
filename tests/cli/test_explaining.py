"""What ``moot explain`` adds up is what the views hold, for each post and comment of histories with archives."""

from collections import defaultdict
from typing import Any

import pytest

from domain.event import Id
from domain.post import PostImported, PostSubmitted
from infra.rows_memory import MemoryViews
from projections.catalogue import ALL
from projections.core import touched_keys
from projections.stepping import step
from projections.subjects import subjects
from schemas.envelope import Recorded
from streams.cli.reasons import add_up, comment_effect, post_effect
from tests.equivalence.histories import MIXED, World
from tests.equivalence.recording import recorded

EVENTS = 3_000
WEIGHTS = MIXED | {"import_comment": 200, "import_post": 20, "delete": 30}


@pytest.fixture(scope="module", params=[1, 2])
def log(request: pytest.FixtureRequest) -> list[Recorded]:
    """A history in which much comes from archives."""
    return recorded(World(request.param, weights=WEIGHTS).happen(EVENTS))


def rows(name: str, log: list[Recorded]) -> dict[Any, Any]:
    """A view of the whole log."""
    views = MemoryViews()
    with views.transaction(ALL[name]) as opened:
        step(ALL[name], log, opened, expected=0, to=log[-1].position)
    return views.tables[name]


def of_subjects(log: list[Recorded]) -> dict[Id, list[Recorded]]:
    """The events that touch each subject."""
    touching: dict[Id, list[Recorded]] = defaultdict(list)
    for event in log:
        for key in touched_keys(subjects, [event]):
            touching[key[0]].append(event)
    return touching


def test_posts_are_explained_as_the_feed_has_them(log: list[Recorded]) -> None:
    touching = of_subjects(log)
    for post_id, row in rows("feed", log).items():
        told = add_up(post_id, touching[post_id], post_effect)
        assert (told.up, told.down, told.comments) == (row.up, row.down, row.comments), post_id


def test_comments_are_explained_as_threads_have_them(log: list[Recorded]) -> None:
    touching, scores = of_subjects(log), rows("scores", log)
    for comment_id, row in rows("comments", log).items():
        told = add_up(comment_id, touching[comment_id], comment_effect)
        score = scores.get(comment_id)
        assert (told.up, told.down) == ((score.up, score.down) if score else (0, 0)), comment_id
        assert told.comments == row.replies, comment_id


def test_of_many_events_all_are_added_up_and_the_newest_shown(log: list[Recorded]) -> None:
    touching = of_subjects(log)
    posts = [event.stream_id for event in log if isinstance(event.event, PostSubmitted | PostImported)]
    post_id = max(posts, key=lambda post_id: len(touching[post_id]))
    whole = add_up(post_id, touching[post_id], post_effect)
    some = add_up(post_id, touching[post_id], post_effect, shown_max=5)
    assert list(some.shown) == list(whole.shown)[-5:]
    assert some.earlier == len(whole.shown) - 5 > 0
    assert (some.up, some.down, some.comments, some.karma) == (whole.up, whole.down, whole.comments, whole.karma)
    assert whole.shown[-1].score == whole.up - whole.down
