"""Stacks as a whole: beside each other, attached to, and left behind by a starter that was killed at any moment."""

import json
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import psycopg
import pytest

from infra.settings import ROOT
from infra.stack import SERVICES, Stack, StackFailure, open_stack
from infra.stack.ports import HOST
from infra.stack.record import Book, Entry, State
from tests.serving import environment
from tests.stack.conftest import StartStack
from tests.stack.wire import CLIENTS

LIGHT = ("postgres", "redis", "toxiproxy")
"""The servers that start at once."""
SEEDS = 12
ORPHAN_SECONDS_MAX = 10.0
"""How long what makes a database's folder may go on without its starter, on a loaded machine."""


def pids(stack: Stack) -> list[int | None]:
    return [server.entry.pid for server in stack.servers.values()]


def servers_of(folder: Path) -> list[psutil.Process]:
    """Every process of any server over the folder, whoever started it: each works in it or below it."""
    everything = psutil.process_iter(["cwd", "status"])
    alive = [process for process in everything if process.info["status"] != psutil.STATUS_ZOMBIE]
    return [process for process in alive if str(folder) in (process.info["cwd"] or "")]


def test_a_second_start_attaches_and_anybody_can_stop(own_stack: StartStack) -> None:
    first = own_stack(*LIGHT)
    assert None not in pids(first)
    second = open_stack(first.folder, LIGHT)
    assert second.start() == []
    assert pids(second) == pids(first)
    assert second.environment() == first.environment()
    running = servers_of(first.folder)
    assert {server.entry.pid for server in first.servers.values()} <= {process.pid for process in running}
    assert sorted(second.stop()) == sorted(LIGHT)
    assert pids(first) == [None, None, None]
    assert not [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert first.stop() == []


def test_ports_and_passwords_stay_from_one_start_to_the_next_unless_new_ports_are_wanted(own_stack: StartStack) -> None:
    stack = own_stack("redis")
    before = stack.redis.entry
    with pytest.raises(StackFailure, match="Redis still runs"):
        stack.start(new_ports=True)
    stack.stop()
    stack.start()
    assert (stack.redis.entry.ports, stack.redis.url) == (before.ports, before.url)
    stack.stop()
    stack.start(new_ports=True)
    assert stack.redis.entry.ports != before.ports
    assert stack.redis.entry.password == before.password
    assert stack.redis.answers()


def test_stacks_run_side_by_side(own_stack: StartStack, tmp_path: Path) -> None:
    one, other = own_stack(*LIGHT), own_stack(*LIGHT, folder=tmp_path / "other")
    ports = [
        port for stack in (one, other) for name in SERVICES for port in Book(stack.folder).entry(name).ports.values()
    ]
    assert len(ports) == len(set(ports))
    assert one.postgres.entry.password != other.postgres.entry.password
    one.stop()
    assert all(server.answers() for server in other.servers.values())


def test_any_server_can_be_had_without_the_others_and_they_join_later(own_stack: StartStack) -> None:
    own_stack("redis")
    with pytest.raises(StackFailure, match="This stack has no PostgreSQL"):
        _ = own_stack("redis").postgres
    stack = own_stack(*LIGHT)
    assert all(server.answers() for server in stack.servers.values())
    CLIENTS["redis"](stack.redis.proxied_url).close()


def test_an_unknown_service_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(StackFailure) as failure:
        open_stack(None, ("mysql",))
    assert "mysql" in failure.value.what
    assert "kafka, postgres, redis, cassandra, toxiproxy" in failure.value.fix


def test_when_one_does_not_start_those_that_this_start_started_are_stopped(own_stack: StartStack) -> None:
    stack = own_stack("redis", "postgres")
    stack.postgres.stop()
    stack.redis.stop()
    (stack.folder / "redis" / "redis.conf").unlink()
    (stack.folder / "redis" / "redis.conf").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        stack.start()
    assert pids(stack) == [None, None]
    assert not servers_of(stack.folder)


def test_the_record_is_for_its_owner_alone_and_has_everything(own_stack: StartStack) -> None:
    stack = own_stack("redis")
    path = stack.folder / "state.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    entry = json.loads(path.read_text())["services"]["redis"]
    process = psutil.Process(entry["pid"])
    assert process.create_time() == pytest.approx(entry["born"], abs=1)
    assert entry["url"] == f"redis://:{entry['password']}@{HOST}:{entry['ports']['server']}/0"
    assert entry["proxied_url"] != entry["url"]
    assert "ready to accept connections" in Path(entry["log"]).read_text().lower()
    assert entry["password"] not in " ".join(process.cmdline())


def test_a_process_that_has_the_recorded_id_by_now_is_not_ours(own_stack: StartStack) -> None:
    stack = own_stack("redis")
    stack.stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            born = psutil.Process(stranger.pid).create_time()
            Book(stack.folder).change("redis", pid=stranger.pid, born=born - 3_600)
            assert stack.redis.process is None
            assert stack.stop() == []
            assert stranger.poll() is None
            assert stack.start() == ["redis"]
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_record_that_cannot_be_read_is_said_with_a_fix(tmp_path: Path) -> None:
    record = tmp_path / "state.json"
    record.write_text("{")
    with pytest.raises(StackFailure) as failure:
        open_stack(tmp_path).start()
    record.unlink()
    assert "state.json cannot be read" in failure.value.what


def test_the_record_is_whole_after_many_changes_at_once(tmp_path: Path) -> None:
    change = "import sys; from infra.stack.record import Book; from pathlib import Path\n"
    change += "for n in range(50): Book(Path(sys.argv[1])).change(sys.argv[2], pid=n)"
    changing = [
        subprocess.Popen([sys.executable, "-c", change, str(tmp_path), name], cwd=ROOT) for name in ("one", "two")
    ]
    assert [process.wait(60) for process in changing] == [0, 0]
    found = msgspec.json.decode((tmp_path / "state.json").read_bytes(), type=State)
    assert found.services == {"one": Entry(pid=49), "two": Entry(pid=49)}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_starter_killed_at_any_moment_leaves_nothing_that_the_next_does_not_know(tmp_path: Path, seed: int) -> None:
    seconds = random.Random(seed).uniform(0.2, 1.4)
    folder = tmp_path / "stack"
    words = [word for name in LIGHT for word in ("--only", name)]
    starter = subprocess.Popen(
        [sys.executable, "-P", "-m", "streams.cli.stack", "up", "--dir", str(folder), *words],
        cwd=ROOT,
        env=environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(seconds)
    starter.kill()
    starter.wait()
    stack = open_stack(folder, LIGHT, durable=False)
    try:
        stack.start()
        assert all(server.answers() for server in stack.servers.values()), f"killed after {seconds:.3f} s"
        with psycopg.connect(stack.postgres.url) as connection:
            connection.execute("SELECT 1")
    finally:
        stack.stop()
    # An initdb of the killed starter is no server; it ends by itself.
    deadline = time.monotonic() + ORPHAN_SECONDS_MAX
    while left := servers_of(folder):
        assert time.monotonic() < deadline, f"{left} after a kill after {seconds:.3f} s"
        time.sleep(0.05)


def test_a_starter_ends_without_a_word_about_what_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    # What is registered first runs last: after what the module itself does in the end, and while it can be told.
    start = "import atexit, sys; from pathlib import Path\n"
    start += "atexit.register(lambda: sys.modules['infra.stack.server']._CHILDREN.clear())\n"
    start += "from infra.stack import start_stack\n"
    start += "start_stack(Path(sys.argv[1]), ('redis',), durable=False, say=lambda line: None)"
    words = [sys.executable, "-W", "always::ResourceWarning", "-c", start, str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    try:
        assert open_stack(folder, ("redis",)).redis.answers()
    finally:
        open_stack(folder, ("redis",)).stop()
    assert done.stderr == ""


def test_kafka_outlives_its_killed_starter_and_is_stopped_by_another(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    start = "import sys, os, signal; from pathlib import Path; from infra.stack import start_stack\n"
    start += "start_stack(Path(sys.argv[1]), ('kafka',), durable=False); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", start, str(folder)], cwd=ROOT, check=False)
    stack = open_stack(folder, ("kafka",))
    try:
        assert stack.kafka.answers()
        pid = stack.kafka.entry.pid
        assert stack.start() == []
        assert stack.kafka.entry.pid == pid
    finally:
        stack.stop()
    assert not servers_of(folder)
