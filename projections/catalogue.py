"""All projections by name, in the order in which a runner that commits one at a time must commit them.

``score_changes`` comes before ``feed`` and ``scores``: paging takes a score back to an earlier position by
subtracting its later changes, so these must never be behind the scores.
"""

from projections.blocks import blocks
from projections.comments import comments
from projections.communities import communities
from projections.core import Projection
from projections.feed import feed
from projections.follows import follows
from projections.karma import karma
from projections.memberships import memberships
from projections.notifications import notifications
from projections.posts import posts
from projections.profiles import profiles
from projections.saved import saved
from projections.score_changes import score_changes
from projections.scores import scores
from projections.subjects import subjects
from projections.votes import votes

ALL: dict[str, Projection] = {
    projection.name: projection
    for projection in (
        profiles,
        communities,
        memberships,
        follows,
        blocks,
        saved,
        votes,
        score_changes,
        scores,
        karma,
        posts,
        feed,
        comments,
        notifications,
        subjects,
    )
}

GROUPS: dict[str, tuple[str, ...]] = {
    "people": ("profiles", "follows", "blocks"),
    "content": ("communities", "memberships", "posts", "comments", "notifications", "saved"),
    "votes": ("score_changes", "scores", "karma", "feed", "votes"),
    "subjects": ("subjects",),
}
"""Which views a fleet keeps together: each group reads the log once, and has any number of workers of its own.

Every view is in one group. Views that read other topics are apart (``people``), and so is what most events are about,
and most work (``votes``), from what is read once in a while (``content``): a wave of votes delays no post. ``subjects``
reads everything, and nobody waits for it. ``score_changes`` is with the views that must not be ahead of it.
"""


def in_group(group: str) -> list[Projection]:
    """The views of a group. Raises ``KeyError``."""
    return [ALL[name] for name in GROUPS[group]]
