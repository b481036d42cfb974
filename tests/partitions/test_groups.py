"""The groups of projections that a fleet's workers fold."""

from projections.catalogue import ALL, GROUPS


def test_every_projection_is_in_one_group() -> None:
    assert sorted(projection.name for group in GROUPS.values() for projection in group) == sorted(ALL)


def test_what_pages_are_ranked_by_moves_together() -> None:
    together = {"score_changes", "scores", "posts", "feed"}
    assert all(ALL[name].local for name in together), "workers would fold them in two transactions"
    assert any(together <= {projection.name for projection in group} for group in GROUPS.values())
