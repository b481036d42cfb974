"""The rules of style that no linter knows, each a test over every file that git tracks or would."""

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import ROOT

PACKAGES = ("domain", "schemas", "commands", "projections", "infra", "streams", "read_api")
MAY_IMPORT = {
    "domain": set(),
    "schemas": {"domain"},
    "commands": {"schemas", "domain"},
    "projections": {"schemas", "domain"},
    "infra": {"commands", "projections", "schemas", "domain"},
    "read_api": {"infra", "commands", "projections", "schemas", "domain"},
    "streams": {"read_api", "infra", "commands", "projections", "schemas", "domain"},
}
"""Imports point one way. ``streams`` serves ``read_api`` in the embedded process; nothing points back."""

PURE = ("domain", "projections")
IMPURE_MODULES = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
"""What a decision or a fold has no use for: clocks, randomness and I/O are arguments."""

MODULE_LINES_MAX = 450
OPEN_TASKS = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")))
MACHINE_PATHS = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/User" + "s/")))
INDEX_HOSTS = re.compile(
    "|".join(("pypi" + r"\.", "pythonhosted" + r"\.", "--(extra-)?index" + "-url", "--find" + "-links"))
)


def tracked(*suffixes: str) -> list[Path]:
    """Every file of the repository with one of these suffixes, also those that are new."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    paths = [ROOT / name for name in listed if not suffixes or name.endswith(suffixes)]
    return [path for path in paths if path.is_file()]


def sources(package: str) -> list[Path]:
    return [path for path in tracked(".py") if path.relative_to(ROOT).parts[0] == package]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The top-level name of everything that a module imports, also inside functions and for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.lineno, (node.module or "").partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for line, name in imported(path)
        if name in {*PACKAGES, "tests"} - allowed
    ]
    assert sources(package)
    assert not wrong


@pytest.mark.parametrize("package", PURE)
def test_what_is_pure_imports_nothing_impure(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(package)
        for line, name in imported(path)
        if name in IMPURE_MODULES
    ]
    assert not wrong


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_each_package_resolves_inside_this_repository(package: str) -> None:
    file = importlib.import_module(package).__file__
    assert file is not None
    assert Path(file).resolve() == (ROOT / package / "__init__.py").resolve()


def test_modules_are_of_readable_length() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in tracked(".py")}
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > MODULE_LINES_MAX}


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_have_docstrings(package: str) -> None:
    missing = [
        f"{path.relative_to(ROOT)}:{line} {name}" for path in sources(package) for line, name in undocumented(path)
    ]
    assert not missing


def undocumented(path: Path) -> Iterator[tuple[int, str]]:
    """Modules, public classes, public functions and public methods of public classes that say nothing of themselves."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    if not ast.get_docstring(module):
        yield 1, "the module"
    for node in module.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.lineno, node.name
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            public = isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_")
            if public and not ast.get_docstring(method) and not _inherits_its_meaning(method):
                yield method.lineno, f"{node.name}.{method.name}"


def _inherits_its_meaning(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """What a decorator says: Strawberry's description is what clients read, a setter is its getter's other half."""
    said = [ast.unparse(decorator) for decorator in method.decorator_list]
    return any("description=" in text or "overload" in text or text.endswith(".setter") for text in said)


def test_nothing_is_left_open() -> None:
    assert not _lines(OPEN_TASKS, tracked(".py", ".sql", ".md", ".yml", ".toml", "task", "run"))


def test_no_path_of_a_machine_is_in_a_file() -> None:
    assert not _lines(
        MACHINE_PATHS, tracked(".py", ".sql", ".md", ".yml", ".toml", ".lock", ".json", ".graphql", "task", "run")
    )


def test_no_package_index_is_named() -> None:
    assert not _lines(
        INDEX_HOSTS, tracked(".py", ".md", ".yml", ".toml", ".lock", ".txt", ".cfg", ".ini", "task", "run")
    )


def _lines(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:100]}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
