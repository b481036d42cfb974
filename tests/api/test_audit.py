"""The conformance audit of GraphQL over HTTP (npm ``graphql-http``), against the served stack. Needs Node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.api.stack import Stack

FOLDER = Path(__file__).with_name("audit")
AUDITS = 61

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None,
    reason="Node.js is missing: the audit of GraphQL over HTTP was not run",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The locked packages, by whatever registry this machine's npm uses."""
    folder = tmp_path_factory.mktemp("audit")
    for name in ("package.json", "package-lock.json", ".npmrc", "audit.mjs"):
        shutil.copy(FOLDER / name, folder)
    done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@needs_node
def test_all_audits_pass(installed: Path, stack: Stack) -> None:
    done = subprocess.run(
        ["node", "audit.mjs", f"{stack.url}/graphql"],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [f"{one['id']} {one['name']}: {one['reason']}" for one in results if one["status"] != "ok"]
    assert failed == []
    assert len(results) == AUDITS


def test_the_lockfile_names_no_registry() -> None:
    assert "resolved" not in (FOLDER / "package-lock.json").read_text()
