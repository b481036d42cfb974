"""``./task bench -- NAME [--long]``: run one benchmark. Progress on standard error; standard output ends with its JSON.

A benchmark is a module here with a function ``run(long: bool) -> list[dict]`` that measures its baseline in the same
run. Names of modules that would be keywords end in an underscore; a hyphen of a name is an underscore of its module.
"""

import json
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from infra.failures import Failure
from streams.cli.console import explain_error

FIELDS = ("name", "value", "unit", "baseline", "ratio", "goal", "holds")
"""What each result says, in this order."""


class Bench(Protocol):
    """What a module of this package is."""

    def run(self, long: bool) -> list[dict[str, Any]]:
        """Measure; a ``long`` run may take more than a minute."""
        ...


class NoSuchBench(Failure):
    """No benchmark has that name."""


def names() -> list[str]:
    """All benchmarks, as they are asked for."""
    modules = (path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return sorted(
        stem.rstrip("_").replace("_", "-")
        for stem in modules
        if "def run(" in (Path(__file__).parent / f"{stem}.py").read_text()
    )


def find(name: str) -> Bench:
    """The benchmark of that name. Raises ``NoSuchBench``."""
    if name not in names():
        raise NoSuchBench(
            f"There is no benchmark {name!r}.", f"There are: {', '.join(names())}.", "./task bench -- append"
        )
    stem = name.replace("-", "_")
    stem = stem if (Path(__file__).parent / f"{stem}.py").exists() else f"{stem}_"
    return cast("Bench", import_module(f"tests.bench.{stem}"))


def main(words: Sequence[str]) -> int:
    """Run what was named. Gives 0 when it was measured, whether the goals hold or not, and 1 when it could not be."""
    wanted = [word for word in words if not word.startswith("-")]
    unknown = [word for word in words if word.startswith("-") and word != "--long"]
    try:
        if len(wanted) != 1 or unknown:
            raise NoSuchBench(
                "Which benchmark?",
                f"One name, and --long if it may take longer: {', '.join(names())}.",
                "./task bench -- append",
            )
        bench = find(wanted[0])
        began = time.monotonic()
        before = additions()
        results = [{field: result[field] for field in FIELDS} for result in bench.run("--long" in words)]
    except Failure as failure:
        return explain_error(failure, internal=False)
    for result in results:
        sys.stderr.write(f"{_line(result)}\n")
    sys.stderr.write(
        f"{wanted[0]}: {time.monotonic() - began:.0f} s; a core added {before / 1e6:,.0f} million numbers a second"
        f" in Python before, {additions() / 1e6:,.0f} million after\n"
    )
    sys.stderr.flush()
    sys.stdout.write(json.dumps({"bench": wanted[0], "results": results}) + "\n")
    return 0


def additions() -> float:
    """How many numbers a core adds in a second in Python now, at best: shared machines change their speed."""
    count, best = 500_000, float("inf")
    for _ in range(5):
        began, total = time.perf_counter(), 0
        for number in range(count):
            total += number
        best = min(best, time.perf_counter() - began)
    return count / best


def _line(result: dict[str, Any]) -> str:
    mark = "holds" if result["holds"] else "FAILS"
    beside = "" if result["baseline"] is None else f", baseline {_number(result['baseline'])}"
    return f"{mark}  {result['name']:<22} {_number(result['value'])} {result['unit']}{beside} (goal: {result['goal']})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
