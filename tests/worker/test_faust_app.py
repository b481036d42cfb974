"""What of Faust is used."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streams.worker.faust_app import WorkerApp
from streams.worker.limits import WorkerLimits


def test_a_worker_leaves_nothing_in_the_folder_that_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keeper: Any = SimpleNamespace(group="votes")

    async def scene() -> None:
        await WorkerApp(keeper, "127.0.0.1:1", ["moot.votes"], WorkerLimits()).on_first_start()

    asyncio.run(scene())
    assert list(tmp_path.iterdir()) == []
