"""Archive files as people have them: NDJSON, plain or compressed, read line by line in bounded memory."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import cast

from backports import zstd
from msgspec import Struct

CHUNK_BYTES = 1 << 20
"""How much is decompressed at once."""
LINE_BYTES_MAX = 16 << 20
"""The longest line that is kept in memory; the longest real ones, galleries with comments, are below 1 MiB."""
WINDOW_LOG_MAX = 31
"""The largest zstd window, 2 GiB: the monthly archives are written with ``--long=31``. The decompressor holds it."""

_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_OTHERS = {
    b"PK\x03\x04": "a zip file: unpack it first",
    b"BZh": "a bzip2 file: unpack it first, or recompress it with zstd",
    b"\xfd7zXZ\x00": "an xz file: unpack it first, or recompress it with zstd",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
}


class NotAnArchiveError(Exception):
    """A file that no archive can be read from. The message says what it is instead, and what to do."""


class CutOffError(Exception):
    """The file ends in the middle of its compressed stream: all lines up to here were given."""


class ArchiveLine(Struct, frozen=True, gc=False):
    """A line of an archive: its number from 1, and its bytes (``None``: longer than ``LINE_BYTES_MAX``)."""

    number: int
    content: bytes | None


class ArchiveFile:
    """An archive opened for reading once, from the beginning. ``bytes_read`` of ``size`` tells how far it is."""

    def __init__(self, path: Path) -> None:
        """Look at the file's beginning. Raises ``NotAnArchiveError``, or ``OSError`` when it cannot be read."""
        if path.is_dir():
            raise NotAnArchiveError(f"{path} is a folder: name the files in it")
        self.path = path
        self._raw = path.open("rb")
        self.size = path.stat().st_size
        beginning = self._raw.read(4096)
        self._raw.seek(0)
        self._stream: BufferedIOBase | None = None
        try:
            self._stream = self._opened(beginning)
        except NotAnArchiveError:
            self.close()
            raise

    def __enter__(self) -> "ArchiveFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def bytes_read(self) -> int:
        """Bytes of the file itself that were read so far."""
        return self.size if self._raw.closed else self._raw.tell()

    def close(self) -> None:
        """Give the file back."""
        if self._stream is not None and self._stream is not self._raw:
            self._stream.close()
        self._raw.close()

    def lines(self) -> Iterator[ArchiveLine]:
        """All lines that are not blank, in order. Raises ``CutOffError`` where the compressed stream ends too early."""
        number, rest, overlong = 1, b"", False
        while True:
            chunk = self._chunk()
            pieces = (rest + chunk).split(b"\n") if chunk else [rest]
            rest = pieces.pop() if chunk else b""
            for piece in pieces:
                if overlong:
                    yield ArchiveLine(number, None)
                    overlong = False
                elif piece.strip():
                    yield ArchiveLine(number, piece)
                number += 1
            if not chunk:
                return
            if len(rest) > LINE_BYTES_MAX:
                rest, overlong = b"", True

    def _opened(self, beginning: bytes) -> BufferedIOBase:
        if beginning.startswith(_ZSTD) or (len(beginning) >= 4 and beginning[1:4] == b"\x2a\x4d\x18"):
            options = {int(zstd.DecompressionParameter.window_log_max): WINDOW_LOG_MAX}
            return cast("BufferedIOBase", zstd.ZstdFile(self._raw, options=options))
        if beginning.startswith(_GZIP):
            return cast("BufferedIOBase", gzip.GzipFile(fileobj=self._raw))
        for magic, what in _OTHERS.items():
            if beginning.startswith(magic):
                raise NotAnArchiveError(f"{self.path} is {what}")
        text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
        if text and not text.startswith(b"{"):
            raise NotAnArchiveError(
                f"{self.path} holds no archive: neither zstd nor gzip, and its first line is no JSON object. "
                "Archives are RS_… and RC_… files with one JSON object a line"
            )
        if beginning.startswith(b"\xef\xbb\xbf"):
            self._raw.seek(3)
        return self._raw

    def _chunk(self) -> bytes:
        assert self._stream is not None
        try:
            return self._stream.read1(CHUNK_BYTES)  # what precedes damage is given before the damage is met
        except EOFError as error:
            raise CutOffError(f"{self.path} is cut off: the compressed stream does not end") from error
        except (zstd.ZstdError, zlib.error, gzip.BadGzipFile) as error:
            raise CutOffError(f"{self.path} is damaged from here on: {error}") from error
