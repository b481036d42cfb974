"""Archive files: plain and compressed, whole, cut off, and no archives at all."""

import gzip
import tracemalloc
from pathlib import Path

import pytest
from backports import zstd

from streams import archive_files
from streams.archive_files import ArchiveFile, ArchiveLine, CutOffError, NotAnArchiveError
from tests.imports.archives import Month, lines, long_window, write

CONTENT = list(lines(Month(2014, 5, posts=3_000, comments=0).submissions()))


def read(path: Path) -> list[ArchiveLine]:
    with ArchiveFile(path) as archive:
        return list(archive.lines())


@pytest.mark.parametrize("name", ["RS_2014-05", "RS_2014-05.zst", "RS_2014-05.gz", "renamed.bin"])
def test_the_same_lines_whatever_the_compression(tmp_path: Path, name: str) -> None:
    with ArchiveFile(write(tmp_path / name, CONTENT)) as archive:
        assert list(archive.lines()) == [ArchiveLine(i, line[:-1]) for i, line in enumerate(CONTENT, 1)]
        assert archive.bytes_read == archive.size


def test_a_window_of_two_gibibytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "RS.zst"
    with zstd.ZstdFile(path, "w", options=long_window(31)) as out:
        out.writelines(CONTENT)
    window_descriptor = path.read_bytes()[5]
    assert 1 << (10 + (window_descriptor >> 3)) == 1 << 31  # RFC 8878, section 3.1.1.1.2
    assert read(path) == [ArchiveLine(i, line[:-1]) for i, line in enumerate(CONTENT, 1)]


def test_frames_one_after_the_other_are_one_archive(tmp_path: Path) -> None:
    path = tmp_path / "RS.zst"
    path.write_bytes(b"".join(zstd.compress(line) for line in CONTENT[:10]))
    assert len(read(path)) == 10


def test_a_last_line_without_its_end_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "RS"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b"')
    assert read(path) == [ArchiveLine(1, b'{"a":1}\r'), ArchiveLine(4, b'{"b"')]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "RS").write_bytes(b"")
    assert read(tmp_path / "RS") == []


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_a_stream_cut_off_gives_its_lines_and_says_so(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"RS{suffix}", CONTENT)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    given: list[ArchiveLine] = []
    with ArchiveFile(path) as archive, pytest.raises(CutOffError):
        given.extend(archive.lines())
    assert 0 < len(given) < len(CONTENT)
    assert given == [ArchiveLine(i, line[:-1]) for i, line in enumerate(CONTENT[: len(given)], 1)]


def test_an_overlong_line_is_passed_over_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "LINE_BYTES_MAX", 2 << 20)
    path = tmp_path / "RS.zst"
    path.write_bytes(zstd.compress(b'{"a":1}\n' + b"{" + b"x" * (64 << 20) + b'\n{"b":2}\n'))
    tracemalloc.start()
    given = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert given == [ArchiveLine(1, b'{"a":1}'), ArchiveLine(2, None), ArchiveLine(3, b'{"b":2}')]
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK\x03\x04rest", "zip"), (b"\x89PNG\r\n", "PNG"), (b"hello\n", "no archive"), (b"[1,2]\n", "no archive")],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "RS").write_bytes(content)
    with pytest.raises(NotAnArchiveError, match=what):
        ArchiveFile(tmp_path / "RS")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAnArchiveError, match="folder"):
        ArchiveFile(tmp_path)


def test_a_damaged_stream_says_so(tmp_path: Path) -> None:
    path = tmp_path / "RS.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n' * 100_000)[:200] + b"garbage" * 50)
    with pytest.raises(CutOffError, match=r"damaged|cut off"):
        read(path)
