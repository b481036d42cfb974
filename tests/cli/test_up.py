"""``moot up`` as a newcomer meets it, and what each failed preflight says."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from infra.postgres_cluster import VERSION
from infra.settings import ROOT
from streams.cli.up import COMMANDS
from tests.serving import START_SECONDS_MAX, Up, environment, moot


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> "Up":
    """One ``moot up`` for the tests of this module that do not stop it."""
    with Up(tmp_path_factory.mktemp("up")) as serving:
        yield serving


def test_standard_output_is_one_json_object_with_urls_that_answer(up: Up) -> None:
    assert {"graphql", "graphiql", "websocket", "mail", "data_dir", "pid", "start_seconds"} <= up.place.keys()
    answer = httpx.post(up.place["graphql"], json={"query": "{ __typename }"})
    assert answer.json() == {"data": {"__typename": "Query"}}
    page = httpx.get(up.place["graphiql"], headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert "No mail yet" in httpx.get(up.place["mail"]).text
    assert up.place["data_dir"] == str(up.folder)


def test_a_second_one_on_the_same_folder_is_refused_and_says_where_the_first_is(up: Up) -> None:
    again = moot("up", "--data-dir", str(up.folder), "--port", "0")
    assert again.returncode == 1
    assert again.stdout == ""
    assert f"served already, by process {up.process.pid} at {up.place['graphql']}" in again.stderr
    assert "fix:" in again.stderr


def test_the_three_commands_of_the_panel_work_one_after_the_other(up: Up) -> None:
    scores = []
    for command, _ in COMMANDS:
        program, *words = shlex.split(command)
        assert (program, words[0]) == ("./task", "moot")
        words = words[1:]
        if words[0] == "watch":
            words += ["--count", "1"]
        found = moot(*words, "--data-dir", str(up.folder))
        assert found.returncode == 0, found.stderr
        scores.append(found.stdout.strip())
    assert scores[1] == "1"
    assert re.search(r"score +1 +up +1 +down +0", scores[2])


def test_watch_shows_a_vote_as_it_is_cast(up: Up) -> None:
    folder = ("--data-dir", str(up.folder))
    assert moot("post", "Watched", "--as", "watcher", *folder).returncode == 0
    watching = subprocess.Popen(
        [sys.executable, "-P", "-m", "streams.cli", "watch", "--count", "2", "--output", "json", *folder],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["total"] == 0
    assert moot("vote", "down", "--as", "somebody", *folder).returncode == 0
    assert json.loads(watching.communicate(timeout=30)[0]) == {"up": 0, "down": 1, "total": -1}


def test_a_name_that_cannot_be_one_is_refused_as_a_name(up: Up) -> None:
    found = moot("post", "Hello", "--as", "äda", "--data-dir", str(up.folder))
    assert (found.returncode, found.stdout) == (3, "")
    assert "A name is made of letters A to Z, digits, _ and - only" in found.stderr
    assert "mail" not in found.stderr
    assert "fix: Choose another name: --as NAME" in found.stderr


def test_an_explicit_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words, more in ((("--port", str(port)), {}), ((), {"MOOT_PORT": str(port)})):
            found = moot("up", "--data-dir", str(tmp_path), *words, **more)
            assert found.returncode == 1
            assert f"Port {port} on 127.0.0.1 is in use." in found.stderr
            assert "fix:" in found.stderr
    assert not (tmp_path / "postgres").exists()


def test_the_usual_port_being_taken_gives_the_next_free_one(tmp_path: Path) -> None:
    from infra.settings import load_settings  # noqa: PLC0415 - of this test alone
    from streams.cli.preflight import listen  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = load_settings({}, port=port, data_dir=tmp_path)
        with listen(settings, exactly=False) as found:
            assert found.getsockname()[1] != port


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"MOOT_PORT": "http"}, "MOOT_PORT = 'http'"),
        ({"MOOT_PROT": "8000"}, "did you mean MOOT_PORT?"),
        ({"MOOT_POST_BODY_LENGTH_MAX": "-1"}, "MOOT_POST_BODY_LENGTH_MAX = '-1'"),
        ({"MOOT_DISK_FREE_MIN": str(2**60)}, "The disk is nearly full"),
        ({"MOOT_MEMORY_FREE_MIN": str(2**60)}, "of memory are free"),
        ({"MOOT_HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
    ],
)
def test_a_failed_preflight_says_what_why_and_the_fix(tmp_path: Path, more: dict[str, str], says: str) -> None:
    found = moot("up", "--data-dir", str(tmp_path / "data"), **more)
    assert found.returncode == 1
    assert found.stdout == ""
    assert says in found.stderr
    assert found.stderr.startswith("error: ")
    assert "\nfix: " in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    found = moot("up", "--data-dir", str(tmp_path / "data"))
    assert found.returncode == 1
    assert "cannot be written to" in found.stderr


def test_a_data_directory_of_a_newer_postgresql_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text(f"{VERSION + 1}\n")
    (tmp_path / "secrets.json").write_text(_secrets(tmp_path / "other"))
    (tmp_path / "secrets.json").chmod(0o600)
    found = moot("up", "--data-dir", str(tmp_path), "--port", "0")
    assert found.returncode == 1
    assert f"was made by PostgreSQL {VERSION + 1}" in found.stderr


def test_secrets_that_others_can_read_or_that_are_gone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text(f"{VERSION}\n")
    found = moot("up", "--data-dir", str(tmp_path), "--port", "0")
    assert found.returncode == 1
    assert "secrets.json is missing, but there is data beside it" in found.stderr
    (tmp_path / "secrets.json").write_text("{}")
    (tmp_path / "secrets.json").chmod(0o644)
    assert "can be read by other users" in moot("up", "--data-dir", str(tmp_path), "--port", "0").stderr
    (tmp_path / "secrets.json").chmod(0o600)
    assert "is not a file of secrets" in moot("up", "--data-dir", str(tmp_path), "--port", "0").stderr


def _secrets(folder: Path) -> str:
    from infra.secrets import FILE_NAME, load_or_create_secrets  # noqa: PLC0415 - of these tests alone

    folder.mkdir()
    load_or_create_secrets(folder, has_data=False)
    return (folder / FILE_NAME).read_text()


def test_a_path_too_deep_for_sockets_works_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("a folder with spaces in its name" * 3) / "data"
    with Up(deep) as serving:
        assert httpx.post(serving.place["graphql"], json={"query": "{ __typename }"}).status_code == 200


def test_ctrl_c_again_hurries_and_is_no_fault(tmp_path: Path) -> None:
    up = Up(tmp_path)
    with up:
        up.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        up.process.send_signal(signal.SIGINT)
        _, said = up.process.communicate(timeout=60)
        assert (up.process.returncode, said) == (0, "")
    assert '"level": "error"' not in (tmp_path / "logs" / "moot.log").read_text()


def test_the_panel_fits_eighty_columns(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "streams.cli", "up", "--port", "0", "--data-dir", str(tmp_path)],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT), COLUMNS="80"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    deadline = time.monotonic() + START_SECONDS_MAX
    for line in process.stderr:
        lines.append(line.rstrip("\n"))
        assert time.monotonic() < deadline
        if line.startswith("Ctrl-C"):
            process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output == ""
    panel = "\n".join(lines)
    for word in ("GraphQL", "GraphiQL", "WebSocket", "Mail", "Data", "Ready in", "Not a production set-up"):
        assert word in panel
    assert all(f"  {command} --data-dir {tmp_path}" in lines for command, _ in COMMANDS)
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
