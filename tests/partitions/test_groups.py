"""The groups of projections that a fleet's workers fold."""

from projections.catalogue import ALL, GROUPS, in_group


def test_every_projection_is_in_one_group() -> None:
    assert sorted(projection.name for group in GROUPS for projection in in_group(group)) == sorted(ALL)


def test_what_is_taken_back_moves_with_what_it_is_taken_from() -> None:
    # Paging takes later score changes off the counts: both must be at the same position in every partition.
    together = {"score_changes", "scores", "feed"}
    assert all(ALL[name].local for name in together), "workers would fold them in two transactions"
    assert any(together <= set(names) for names in GROUPS.values())
