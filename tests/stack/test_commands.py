"""``./task stack:up``, ``stack:status``, ``stack:down`` as scripts and people use them, and each failed preflight."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import ROOT
from infra.stack import SERVICES, open_stack
from tests.serving import environment

SECONDS_MAX = 180.0
LIGHT = ("--only", "postgres", "--only", "redis", "--only", "toxiproxy")


def stack(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "streams.cli.stack", *words],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)) | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "stack"
    open_stack(tmp_path / "stack").stop()


def test_up_status_down_and_their_exit_codes(folder: Path) -> None:
    where = ("--dir", str(folder), *LIGHT)
    assert stack("status", *where).returncode == 2
    up = stack("up", *where, "--output", "json")
    assert up.returncode == 0, up.stderr
    answer = json.loads(up.stdout)
    assert sorted(answer["started"]) == ["postgres", "redis", "toxiproxy"]
    assert (
        answer["environment"].keys() == answer["proxied_environment"].keys() == {"MOOT_DATABASE_URL", "MOOT_REDIS_URL"}
    )
    assert "PostgreSQL: answers at port" in up.stderr
    again = json.loads(stack("up", *where, "--output", "json").stdout)
    assert (again["started"], again["services"]) == ([], answer["services"])
    status = stack("status", *where)
    assert status.returncode == 0
    assert status.stdout.count("answers") == 3
    assert str(answer["services"]["redis"]["pid"]) in status.stdout
    open_stack(folder).servers["redis"].pause()
    paused = stack("status", *where, "--output", "json")
    assert paused.returncode == 1
    assert json.loads(paused.stdout)["services"]["redis"]["condition"] == "paused"
    down = stack("down", *where, "--output", "json")
    assert down.returncode == 0, down.stderr
    assert sorted(json.loads(down.stdout)["stopped"]) == ["postgres", "redis", "toxiproxy"]
    assert stack("status", *where).returncode == 2
    assert "Nothing was running" in stack("down", *where).stderr


def test_standard_output_of_up_is_what_a_shell_evaluates(folder: Path) -> None:
    up = stack("up", "--dir", str(folder), *LIGHT)
    assert up.returncode == 0, up.stderr
    lines = up.stdout.splitlines()
    assert [shlex.split(line)[1].partition("=")[0] for line in lines] == ["MOOT_DATABASE_URL", "MOOT_REDIS_URL"]
    assert "Ready after" in up.stderr
    assert "through the fault proxy: MOOT_DATABASE_URL" in up.stderr


def test_down_and_status_make_no_folder(tmp_path: Path) -> None:
    where = ("--dir", str(tmp_path / "none"))
    assert stack("down", *where).returncode == 0
    assert stack("status", *where).returncode == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("missing", "service"), [("java", "kafka"), ("mvn", "kafka"), ("go", "toxiproxy")])
def test_a_missing_tool_is_named_with_the_package_that_brings_it(tmp_path: Path, missing: str, service: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in {"java", "mvn", "go"} - {missing}:
        (tools / tool).symlink_to(shutil.which(tool) or pytest.fail(f"{tool} is needed here"))
    # Nothing was downloaded into this folder yet, so that every tool is needed.
    found = stack("up", "--only", service, MOOT_STACK_DIR=str(tmp_path / "stack"), PATH=str(tools), JAVA_HOME="")
    assert found.returncode == 1
    assert f"error: {missing} was not found on the PATH." in found.stderr
    assert "fix: Install it (Debian, Ubuntu: sudo apt install " in found.stderr
    assert found.stdout == ""


def test_a_java_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    found = stack("up", "--only", "kafka", "--dir", str(tmp_path / "stack"), JAVA_HOME=str(tmp_path))
    assert found.returncode == 1
    assert f"{old} is Java 11" in found.stderr
    assert "JAVA_HOME=" in found.stderr


def test_a_go_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "bin" / "go"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'go version go1.19.8 linux/amd64'\n")
    old.chmod(0o755)
    path = f"{old.parent}:{os.environ['PATH']}"
    found = stack("up", "--only", "toxiproxy", MOOT_STACK_DIR=str(tmp_path / "stack"), PATH=path)
    assert found.returncode == 1
    assert f"{old} is Go 1.19." in found.stderr
    assert "first on the PATH" in " ".join(found.stderr.split())


def test_a_download_that_fails_shows_what_the_tool_said_and_leaves_nothing(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "mvn").write_text("#!/bin/sh\necho 'Could not resolve host'\nexit 1\n")
    (tools / "mvn").chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    found = stack("up", "--only", "kafka", MOOT_STACK_DIR=str(tmp_path / "stack"), PATH=path)
    assert found.returncode == 1
    assert "Could not resolve host" in found.stderr
    assert not [
        one
        for one in (tmp_path / "stack" / "downloads").iterdir()
        if one.name.startswith("kafka-4") and not one.name.endswith(".new")
    ]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = stack("up", "--only", "redis", "--dir", str(tmp_path / "file" / "stack"))
    assert found.returncode == 1
    assert "cannot be made" in found.stderr
    assert "MOOT_STACK_DIR=" in found.stderr


def test_an_unknown_service_names_all(tmp_path: Path) -> None:
    found = stack("status", "--only", "mysql", "--dir", str(tmp_path))
    assert found.returncode == 1
    assert ", ".join(SERVICES) in found.stderr


def test_a_required_engine_that_cannot_be_started_fails_the_run_and_is_named_in_its_last_lines(tmp_path: Path) -> None:
    bare = environment(PYTHONPATH=str(ROOT), PATH="/nowhere", JAVA_HOME="", TMPDIR=str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-P", "-m", "tests.stack_run"],
        cwd=ROOT,
        env=bare | {"MOOT_STACK_DIR": str(tmp_path / "stack")},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert found.returncode == 1
    assert found.stdout == "0 passed, 3 failed, 0 skipped\n"
    said = found.stderr.splitlines()[-5:]
    assert said[0] == "required engine not started: kafka - java was not found on the PATH."
    assert said[1] == "required engine not started: cassandra - java was not found on the PATH."
    assert said[2] == "required engine not started: toxiproxy - go was not found on the PATH."
    for name in ("postgres", "redis"):
        assert open_stack(next(tmp_path.glob("moot-stack-tests-*")) / "stack").servers[name].process is None
