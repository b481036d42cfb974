"""The groups of projections that a fleet's workers fold."""

from projections.catalogue import ALL, GROUPS
from schemas.topics import partitions_of


def test_every_projection_is_in_one_group() -> None:
    assert sorted(projection.name for group in GROUPS for projection in GROUPS[group]) == sorted(ALL)


def test_what_is_taken_back_moves_with_what_it_is_taken_from() -> None:
    # Paging takes later score changes off the counts: both must be at the same position in every partition.
    together = {"score_changes", "scores", "feed"}
    assert all(ALL[name].local for name in together), "workers would fold them in two transactions"
    assert any(together <= {projection.name for projection in group} for group in GROUPS.values())


def test_so_does_who_came_and_went_with_the_size_of_communities() -> None:
    # A worker folds the views that stand together in one transaction: those that are not local, and that read the same.
    changes, counts = ALL["member_changes"], ALL["communities"]
    assert not changes.local
    assert not counts.local
    assert set(partitions_of(changes.handlers)) == set(partitions_of(counts.handlers))
    assert any({changes, counts} <= set(group) for group in GROUPS.values())
