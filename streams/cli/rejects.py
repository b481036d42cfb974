"""The bad lines of one archive: the first ones on standard error, all of them in a file."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from streams.cli.console import words
from streams.importer import Rejected

SHOWN_MAX = 20
"""Bad lines of one import of a file that are shown."""


class Rejects:
    """Says and lists what is passed over, as number and reason.

    The list is named after the archive and its fingerprint ``mark``: archives of one name in two folders have two.
    An import that goes on after line ``skip`` goes on with the list, too.
    """

    def __init__(self, folder: Path, archive: Path, mark: str, skip: int) -> None:
        self._name = archive.name
        self._path = folder / f"{archive.name}.{mark.rpartition('-')[2][:8]}.rejected.txt"
        self._skip = skip
        self._file: BinaryIO | None = None
        self._shown = 0

    def __enter__(self) -> "Rejects":
        if self._skip and self._path.exists():
            self._file = self._path.open("r+b")
            self._cut()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def written(self) -> Path | None:
        """Where they are, if there are any."""
        return self._path if self._file is not None else None

    def flush(self) -> None:
        """Before the archive is bookmarked: a killed import has listed what the next one will not read."""
        if self._file is not None:
            self._file.flush()

    def __call__(self, rejected: Rejected) -> None:
        """Say this one, and list it."""
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = self._path.open("wb")
        self._file.write(f"{rejected.number}\t{rejected.reason}\n".encode())
        self._shown += 1
        if self._shown <= SHOWN_MAX:
            words.print(f"{self._name}, line {rejected.number}: {rejected.reason}", markup=False, highlight=False)
        elif self._shown == SHOWN_MAX + 1:
            words.print(f"{self._name}: further bad lines are listed in {self._path}", markup=False, highlight=False)

    def _cut(self) -> None:
        """Keep what was listed of lines that are not read again."""
        assert self._file is not None
        kept = 0
        for line in self._file:
            number = line.partition(b"\t")[0]
            if not (line.endswith(b"\n") and number.isdigit() and int(number) <= self._skip):
                break
            kept += len(line)
        self._file.seek(kept)
        self._file.truncate()
        if not kept:
            self._file.close()
            self._file = None
