"""The claim to a data directory, and those who look whether it is held."""

import fcntl
import os
from pathlib import Path

import pytest

from infra import instance
from infra.instance import AlreadyServed, claim, running


def test_one_serves_and_the_others_see_it(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    with claim(tmp_path):
        found = running(tmp_path)
        assert found is not None
        assert found.pid == os.getpid()
        with pytest.raises(AlreadyServed, match=str(os.getpid())), claim(tmp_path):
            raise AssertionError("two serve it")
    assert running(tmp_path) is None
    with claim(tmp_path):
        pass


def test_who_only_looks_takes_the_claim_from_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with claim(tmp_path):
        pass
    looking = os.open(tmp_path / instance.FILE_NAME, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    asked: list[int] = []
    real = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        asked.append(how)
        if len(asked) == 3:
            real(looking, fcntl.LOCK_UN)
        real(descriptor, how)

    monkeypatch.setattr(instance.fcntl, "flock", flock)
    try:
        with claim(tmp_path):
            assert len(asked) >= 3
    finally:
        os.close(looking)


def test_who_never_stops_looking_is_not_waited_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "LOOK_SECONDS", 0.0)
    with claim(tmp_path):
        pass
    looking = os.open(tmp_path / instance.FILE_NAME, os.O_RDONLY)
    try:
        fcntl.flock(looking, fcntl.LOCK_SH)
        with pytest.raises(AlreadyServed, match="another process"), claim(tmp_path):
            raise AssertionError("it is locked")
    finally:
        os.close(looking)
