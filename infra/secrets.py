"""The secrets of one installation: generated once, kept in a file that only its owner can read.

Losing them loses data: personal text in the log is encrypted with keys that ``master_key`` wraps, and the names
that are taken are found by ``name_key``. Hence a missing file beside existing data is refused, never replaced.
"""

import base64
import binascii
import json
import os
import secrets
import stat
from pathlib import Path

from msgspec import Struct

from infra.failures import Failure

KEY_LENGTH = 32
"""Bytes of each key: AES-256 and HMAC-SHA-256 take 32."""

FILE_NAME = "secrets.json"


class SecretsFailure(Failure):
    """The file of secrets is missing, can be read by others, or is not what it should be."""


class Secrets(Struct, frozen=True):
    """Four independent keys of 32 random bytes.

    ``master_key`` wraps the keys of authors, ``name_key`` hashes names into the ids of their claims,
    ``token_key`` signs access tokens, ``cursor_key`` signs cursors and position tokens.
    """

    master_key: bytes
    name_key: bytes
    token_key: bytes
    cursor_key: bytes

    def __repr__(self) -> str:
        return "Secrets(…)"


def load_or_create_secrets(data_dir: Path, *, has_data: bool) -> Secrets:
    """The secrets of this folder; generated when there are none and ``has_data`` is false.

    Raises ``SecretsFailure``.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        if has_data:
            raise SecretsFailure(
                f"{path} is missing, but there is data beside it.",
                "Its keys decrypt every name, title and text in the log; without them they cannot be read again.",
                f"Put the file back from your backup. To start over with nothing: rm -r {data_dir}",
            )
        create_secrets(path)
    return load_secrets(data_dir)


def create_secrets(path: Path) -> bool:
    """Make a file of new secrets, that only its owner can read; false when there is one, which stays as it is.

    Raises ``SecretsFailure`` when it cannot be written.
    """
    try:
        return _create(path)
    except OSError as error:
        raise SecretsFailure(
            f"{path} cannot be made.", f"{error.strerror or error}.", "Make the folder yours, or name another file."
        ) from None


def load_secrets(place: Path) -> Secrets:
    """The secrets in that file, or in the file of that folder.

    Raises ``SecretsFailure`` when the file is missing, open to others or malformed.
    """
    path = file_of(place)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SecretsFailure(
                f"{path} can be read by other users of this machine (mode {mode:04o}).",
                "Whoever reads it can forge tokens and decrypt the log.",
                f"chmod 600 {path}",
            )
        text = path.read_bytes()
    except FileNotFoundError:
        raise SecretsFailure(
            f"{path} is missing.",
            "Without secrets nothing can be read or written.",
            "Start it once (./task up), for a fleet make them (moot secrets create), or put the file back.",
        ) from None
    except PermissionError:
        raise SecretsFailure(
            f"{path} belongs to another user.", "It was made by whoever ran Moot first.", "Run as that user."
        ) from None
    return _parsed(path, text)


def file_of(place: Path) -> Path:
    """The file of secrets that a file or a folder stands for."""
    return place / FILE_NAME if place.is_dir() else place


def _parsed(path: Path, text: bytes) -> Secrets:
    try:
        content = json.loads(text)
        values = {name: base64.b64decode(content[name], validate=True) for name in Secrets.__struct_fields__}
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise _malformed(path, f"{type(error).__name__}: {error}") from None
    for name, value in values.items():
        if len(value) != KEY_LENGTH:
            raise _malformed(path, f"{name} has {len(value)} bytes, not {KEY_LENGTH}")
    return Secrets(**values)


def _malformed(path: Path, why: str) -> SecretsFailure:
    return SecretsFailure(
        f"{path} is not a file of secrets.",
        f"{why}. It was cut off or edited.",
        "Put the file back from your backup; it is never generated again over existing data.",
    )


def _create(path: Path) -> bool:
    """Write new secrets so that a crash leaves either no file or a whole one, and a race leaves the first."""
    keys = {name: base64.b64encode(secrets.token_bytes(KEY_LENGTH)).decode() for name in Secrets.__struct_fields__}
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(keys, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)
    return True
