"""A disk that fills: commands are refused with a typed error, the reason is told, and nothing acknowledged is lost."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.engine_process import runner_for, socket_folder
from infra.postgres import connect
from tests.faults.test_kill import SUBMIT, titles_in_the_log
from tests.serving import Person, Up

DISK = "300m"
LEFT_BYTES = 12_000_000
"""Left free by the ballast: less than PostgreSQL's next file of WAL takes."""
WAL_FILE_BYTES = 16 * 1024**2
WAL_LEFT_BYTES = 500_000
POSTS_MAX = 2_000
BODY = "x" * 20_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("A small disk: mounting one needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        while (free := os.statvfs(folder)).f_bavail * free.f_frsize > LEFT_BYTES:
            file.write(bytes(1024**2))
            file.flush()
    return ballast


def use_up_wal(folder: Path) -> None:
    """Leave next to nothing in the file of WAL that is being written: the next one is what there is no room for."""
    with connect(f"user=moot dbname=moot host={socket_folder(folder, runner_for(folder))}") as connection:
        while True:
            (used,) = connection.execute(
                "SELECT (pg_walfile_name_offset(pg_current_wal_insert_lsn())).file_offset"
            ).fetchone() or (0,)
            if used > WAL_FILE_BYTES - WAL_LEFT_BYTES:
                return
            connection.execute(
                "SELECT pg_logical_emit_message(false, 'test', repeat('x', %s))",
                (max(1, (WAL_FILE_BYTES - WAL_LEFT_BYTES - used) // 2),),
            )


def test_a_disk_that_fills_refuses_commands_and_loses_nothing(small_disk: Path) -> None:
    folder = small_disk / "data"
    acknowledged = []
    with Up(folder, MOOT_DISK_FREE_MIN="0") as up:
        person = Person(up, "ada")
        community = person.community(up, "full")
        use_up_wal(folder)
        ballast = fill(small_disk)
        refusal = None
        for number in range(POSTS_MAX):
            key = f"post {number}"
            form = {"communityId": community, "title": key, "body": BODY, "idempotencyKey": key}
            try:
                person.ask(up, SUBMIT, form)
            except AssertionError as error:
                refusal = str(error)
                break
            acknowledged.append(key)
        assert refusal is not None, "the disk did not fill"
        assert "UNAVAILABLE" in refusal
        # PostgreSQL stops when it can write no WAL, and starting it again is no cure: the server says so and ends.
        _, words = up.process.communicate(timeout=60)
    assert "the disk is full" in words
    assert "Traceback" not in words
    ballast.unlink()
    with Up(folder, MOOT_DISK_FREE_MIN="0") as up:
        answer = httpx.post(up.place["graphql"], json={"query": '{ community(name: "full") { name } }'}, timeout=30)
        assert answer.json()["data"]["community"]["name"] == "full"
        person.ask(up, SUBMIT, form)
        titles = titles_in_the_log(folder, MOOT_DISK_FREE_MIN="0")
    assert titles == dict.fromkeys([*acknowledged, form["title"]], 1)
