"""``moot import`` as it is typed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.settings import ROOT, Settings
from streams.cli import main
from tests.imports.archives import Month, lines, write

pytestmark = pytest.mark.usefixtures("logging_again")
MAY = Month(2014, 5, posts=60, comments=240, authors=40)

Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def moot(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``moot import`` over a database of its own: exit code, the JSON it printed, and its words."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> tuple[int, dict[str, Any], str]:
        code = main(["import", *map(str, arguments), "--output", "json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out or "{}"), printed.err

    return run


def environment(settings: Settings) -> dict[str, str]:
    """The variables that make a process use these settings."""
    assert settings.database_url is not None
    assert settings.redis_url is not None
    return {
        "MOOT_DATA_DIR": str(settings.data_dir),
        "MOOT_DATABASE_URL": settings.database_url.get_secret_value(),
        "MOOT_REDIS_URL": settings.redis_url.get_secret_value(),
    }


def counts(settings: Settings) -> tuple[int, int]:
    """Posts and comments in the views."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        found = connection.execute(
            "SELECT (SELECT count(*) FROM views.posts WHERE submitted_at IS NOT NULL),"
            " (SELECT count(*) FROM views.comments WHERE submitted_at IS NOT NULL)"
        ).fetchone()
    assert found is not None
    return found[0], found[1]


def test_two_files_and_then_again(moot: Run, settings: Settings, tmp_path: Path) -> None:
    submissions = write(tmp_path / "RS_2014-05.zst", lines(MAY.submissions()))
    comments = write(tmp_path / "RC_2014-05.gz", lines(MAY.comments()))
    code, summary, _ = moot(comments, submissions)
    assert (code, summary["records"]) == (0, 300)
    assert [file["comments"] for file in summary["files"]] == [240, 0]
    assert counts(settings) == (60, 240)
    code, summary, _ = moot(submissions, comments)
    assert (code, summary["records"], summary["attached"]) == (0, 0, 0)
    assert [file["known"] for file in summary["files"]] == [60, 240]
    assert counts(settings) == (60, 240)


def test_bad_lines_are_said_and_listed(moot: Run, settings: Settings, tmp_path: Path) -> None:
    good = list(lines(MAY.submissions()))
    path = write(tmp_path / "RS", [*good, *[b"{broken\n"] * 30])
    code, summary, said = moot(path)
    assert (code, summary["files"][0]["rejected"], counts(settings)) == (0, 30, (60, 0))
    assert "RS, line 61: not JSON" in said
    assert said.count("not JSON") == 20
    listed = Path(summary["files"][0]["rejected_in"]).read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == [str(number) for number in range(61, 91)]


def test_archives_of_the_same_name_have_lists_of_their_own(moot: Run, settings: Settings, tmp_path: Path) -> None:
    paths = []
    for folder, bad in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        good = list(lines(MAY.submissions()))[:bad]
        paths.append(write(tmp_path / folder / "RS_2014-05", [*good, *[b"{broken\n"] * bad]))
    _, summary, _ = moot(*paths)
    listed = [Path(file["rejected_in"]).read_text().splitlines() for file in summary["files"]]
    assert [len(found) for found in listed] == [1, 2]


def test_what_is_no_archive_is_refused_before_anything_is_imported(
    moot: Run, settings: Settings, tmp_path: Path
) -> None:
    good = write(tmp_path / "RS", lines(MAY.submissions()))
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n")
    for bad in (tmp_path / "photo.png", tmp_path / "missing", tmp_path):
        code, summary, said = moot(good, bad)
        assert (code, summary) == (1, {})
        assert str(bad) in said
        assert "fix:" in said
    assert counts_of_log(settings) == 0


def counts_of_log(settings: Settings) -> int:
    """Events in the log."""
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        found = connection.execute("SELECT count(*) FROM log.stored_events").fetchone()
    assert found is not None
    return int(found[0])


def test_a_file_cut_off_is_an_error_that_keeps_what_precedes_it(moot: Run, settings: Settings, tmp_path: Path) -> None:
    path = write(tmp_path / "RS.zst", lines(MAY.submissions()))
    path.write_bytes(path.read_bytes()[:-300])
    code, summary, _ = moot(path)
    assert code == 1
    assert "cut off" in summary["files"][0]["trouble"]
    assert counts(settings) == (summary["files"][0]["submissions"], 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_ended_in_the_middle_it_goes_on_and_nothing_is_doubled(
    moot: Run, settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    month = Month(2014, 7, posts=8_000, comments=0)
    path = write(tmp_path / "RS_2014-07", [b"{broken\n", *lines(month.submissions()), b"{broken\n"])
    command = [sys.executable, "-m", "streams.cli", "import", str(path)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment(settings)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        while connection.execute("SELECT FROM log.imports WHERE lines > 0").fetchone() is None:
            assert process.poll() is None, "the import ended before it could be killed"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert "The same command goes on from there." in said
    code, summary, said = moot(path)
    assert code == 0
    assert "going on after line" in said
    assert 0 < summary["records"] < 8_000
    assert counts(settings) == (8_000, 0)
    listed = Path(summary["files"][0]["rejected_in"]).read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == ["1", "8002"], "what was said before it was killed stays listed"
    assert moot(path)[1]["records"] == 0
