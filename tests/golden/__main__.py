"""``python -m tests.golden``: write the golden schemas and samples that are missing; published ones stay."""

import argparse
import sys

from schemas import golden
from schemas.registry import WIRE
from tests.golden.samples import write


def main() -> int:
    """Exit code 0 if all is well afterwards, 1 if a published schema still differs."""
    parser = argparse.ArgumentParser(prog=golden.COMMAND, description=__doc__)
    parser.add_argument(
        "--replace", nargs="+", default=[], choices=sorted(WIRE), metavar="NAME@VERSION",
        help="write these again although they are published: only for what was in no release yet",
    )  # fmt: skip
    replace = parser.parse_args().replace
    for name in write(golden.FOLDER, replace=replace):
        sys.stderr.write(f"wrote {name}\n")
    left = golden.problems()
    for problem in left:
        sys.stderr.write(f"{problem}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
