"""The pages of ``docs/`` that come from the code say what the code says."""

from pathlib import Path

import pytest

from domain.limits import Limits
from infra.settings import ROOT, Settings
from schemas.registry import WIRE
from streams.documents import PAGES, events, settings, write


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_fresh(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), f"docs/{name} is not what the code says any more: ./task docs"


def test_every_event_and_every_setting_is_on_its_page() -> None:
    assert all(f"## `{wire}`" in events() for wire in WIRE)
    page = settings()
    assert all(
        f"`MOOT_{name.upper()}`" in page
        for name in (*Settings.model_fields, *Limits.__struct_fields__)
        if name != "rules"
    )


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    assert write(tmp_path) == list(PAGES)
    assert write(tmp_path) == []
