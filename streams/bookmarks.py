"""How far each archive has been imported, so that an interrupted import goes on where it was."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from psycopg import Connection

SAMPLE_BYTES = 1 << 20
"""How much of a file's beginning tells it from others."""


def fingerprint(path: Path) -> str:
    """The same for the same archive wherever it lies: its size and the hash of its beginning."""
    with path.open("rb") as file:
        return f"{path.stat().st_size}-{sha256(file.read(SAMPLE_BYTES)).hexdigest()}"


class Bookmarks:
    """Bookmarks in ``log.imports``. The connection must be in autocommit."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def lines_done(self, mark: str) -> int:
        """Lines that an interrupted import of the archive has done; 0 if there was none, or it was finished."""
        found = self._connection.execute(
            "SELECT lines FROM log.imports WHERE fingerprint = %s AND NOT finished", (mark,)
        ).fetchone()
        return int(found[0]) if found else 0

    def keep(self, mark: str, path: Path, lines: int, *, finished: bool = False) -> None:
        """Remember that all lines up to that one are in the log."""
        self._connection.execute(
            "INSERT INTO log.imports (fingerprint, path, lines, finished) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (fingerprint) DO UPDATE"
            " SET path = excluded.path, lines = excluded.lines, finished = excluded.finished, updated_at = now()",
            (mark, str(path), lines, finished),
        )
