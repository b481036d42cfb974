"""The locked dependencies: every package pinned and hashed, and the locks as pyproject.toml wants them."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.settings import ROOT

IMAGE, RUNTIME, EVERYTHING = LOCKS = ("requirements-image.lock", "requirements.lock", "requirements-dev.lock")


def pinned(lock: str) -> dict[str, tuple[str, str, list[str]]]:
    """Each package of a lock: its version, the marker of where it is wanted, and its hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = line.split("--hash=sha256:")
        name, _, rest = requirement.partition("==")
        pin, _, marker = rest.partition(";")
        found[canonicalize_name(name)] = (pin.strip(), marker.strip(), [word.strip() for word in hashes])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    packages = pinned(lock)
    assert packages
    for name, (pin, _, hashes) in packages.items():
        assert re.fullmatch(r"[0-9][A-Za-z0-9.+!]*", pin), name
        assert hashes, name
        assert all(re.fullmatch("[0-9a-f]{64}", word) for word in hashes), name


def test_the_locks_have_everything_that_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    image = project["project"]["dependencies"]
    runtime = [*image, *project["project"]["optional-dependencies"]["embedded"]]
    for lock, wanted in (
        (IMAGE, image),
        (RUNTIME, runtime),
        (EVERYTHING, [*runtime, *project["dependency-groups"]["dev"]]),
    ):
        packages = pinned(lock)
        for requirement in map(Requirement, wanted):
            name = canonicalize_name(requirement.name)
            assert name in packages, f"{lock} lacks {name}: ./task lock"
            assert requirement.specifier.contains(packages[name][0]), f"{lock} has another {name}: ./task lock"


def test_all_locks_pin_the_same_versions() -> None:
    image, runtime, everything = (pinned(lock) for lock in LOCKS)
    assert {name: everything[name] for name in runtime} == runtime
    assert {name: runtime[name] for name in image} == image


def test_the_image_has_no_engines_and_all_that_its_packages_ask_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    image = pinned(IMAGE)
    assert not {Requirement(words).name for words in project["optional-dependencies"]["embedded"]} & image.keys()
    wanted, seen = [Requirement(words) for words in project["dependencies"]], set[tuple[str, str]]()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        assert name in image, f"{IMAGE} lacks {name}: ./task lock"
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                asked = map(Requirement, requires(name) or ())
                wanted += [one for one in asked if one.marker is None or one.marker.evaluate({"extra": extra})]
    alone = {name for name, (_, marker, _) in image.items() if not marker or Marker(marker).evaluate()}
    assert alone <= {name for name, _ in seen}, "nobody asks for these"


def test_what_runs_the_tests_is_what_is_locked() -> None:
    for name, (pin, marker, _) in pinned(EVERYTHING).items():
        if marker and not Marker(marker).evaluate():
            continue
        try:
            assert version(name) == pin, f"{name}: run ./task test"
        except PackageNotFoundError:
            pytest.fail(f"{name} {pin} is locked and not installed: run ./task test")
