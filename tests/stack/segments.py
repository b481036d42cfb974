"""The files of a broker that is down, cut where its disk might have ended when its power failed."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HEAD: Final = struct.Struct("!qiibih")
"""A batch begins with this (Kafka's documentation, message format): base offset, length of what follows it, the
leader's epoch, version, checksum, attributes."""
BEFORE_LENGTH_ENDS: Final = 12
"""Bytes up to what that length counts."""
CONTROL: Final = 1 << 5
"""The attribute of a mark at the end of a transaction."""


def cut_tail(broker: Path, topic: str, partition: int, transactions: int) -> int:
    """Cut the last transactions off the newest segment of a partition; the bytes that are left of it."""
    newest = max((broker / "data" / f"{topic}-{partition}").glob("*.log"))
    ends = list(_ends_of_transactions(newest.read_bytes()))
    left = ends[-transactions - 1]
    os.truncate(newest, left)
    return left


def _ends_of_transactions(segment: bytes) -> Iterator[int]:
    at = 0
    while at + HEAD.size <= len(segment):
        _, length, _, _, _, attributes = HEAD.unpack_from(segment, at)
        if length <= 0:
            return  # allocated, and not written yet
        at += BEFORE_LENGTH_ENDS + length
        if attributes & CONTROL:
            yield at
