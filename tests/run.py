"""``./task test``: style, format, types and all tests but those on the native stack (``./task test:stack``).

With arguments, which go to pytest, the tests alone: those that the arguments name.
"""

import subprocess
import sys
import time

from infra.settings import ROOT

CHECKS = {
    "style": ("ruff", "check", "."),
    "format": ("ruff", "format", "--check", "."),
    "types": ("mypy",),
}


def main(arguments: list[str]) -> int:
    """Run everything, the tests also when a check before them failed. Gives the exit code."""
    failed = [] if arguments else [name for name, command in CHECKS.items() if not passes(name, command)]
    processes = [] if any(word.startswith(("-n", "-s", "--pdb")) for word in arguments) else ["-n", "auto"]
    # In the order of the collection: as it is, files of few tests come last, and those are the ones that take long.
    spread = ("--dist", "loadfile", "--no-loadscope-reorder")
    tests = ("pytest", *processes, *spread, *(arguments or ("-m", "not stack")))
    if failed:
        sys.stderr.write(f"\nFAILED before the tests: {', '.join(failed)}\n")
    code = subprocess.run([sys.executable, "-P", "-m", *tests], cwd=ROOT, check=False).returncode
    return code or bool(failed)


def passes(name: str, command: tuple[str, ...]) -> bool:
    """Run one check and say how long it took."""
    began = time.monotonic()
    code = subprocess.run([sys.executable, "-P", "-m", *command], cwd=ROOT, check=False).returncode
    sys.stderr.write(f"{name}: {'ok' if code == 0 else 'FAILED'} in {time.monotonic() - began:.1f} s\n")
    return code == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
