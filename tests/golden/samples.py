"""Stored events as files: what the log holds of each wire name, readable for ever with the keys beside them."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from domain.event import Event, Id
from domain.ids import derived
from infra.codec import Codec
from infra.keyring import Keyring, MemoryKeys
from schemas import golden
from schemas.envelope import Metadata
from schemas.registry import UPCASTERS, WIRE, Upcaster

MASTER_KEY = b"the master key of stored samples"
META = Metadata(
    command_id=derived("sample", "command"),
    correlation_id=derived("sample", "correlation"),
    causation_id=None,
    actor_id=derived("sample", "actor"),
    occurred_at=datetime(2014, 2, 3, 4, 5, 6, tzinfo=UTC),
    recorded_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
)
STREAM_ID = derived("sample", "stream")


class FileKeys(MemoryKeys):
    """Wrapped keys kept in ``keys.json``, base64 by author."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            super().create({Id(author): b64decode(box) for author, box in stored.items()})

    def create(self, wrapped: Mapping[Id, bytes]) -> Mapping[Id, bytes | None]:
        """Keep these keys in the file as well."""
        kept = super().create(wrapped)
        stored = {author: b64encode(box).decode() for author, box in sorted(self._wrapped.items()) if box is not None}
        self._path.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
        return kept


def codec(folder: Path, wire: Mapping[str, type[Event]] = WIRE, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> Codec:
    """A codec with the keys of the samples in this folder."""
    return Codec(Keyring(FileKeys(folder / "samples" / "keys.json"), MASTER_KEY), wire, upcasters)


def write(folder: Path, wire: Mapping[str, type[Event]] = WIRE, replace: Sequence[str] = ()) -> list[str]:
    """Write the schemas and samples that are missing, and those to ``replace``; gives their wire names."""
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    written = golden.write_schemas(folder, wire, replace)
    coding = codec(folder, wire, {})
    for name, kind in wire.items():
        path = folder / "samples" / f"{name}.json"
        if name in replace or not path.exists():
            events = golden.samples(name, kind)
            keys = coding.keyring.ensure(coding.authors(events))
            stored = [
                _stored(event, coding.encode(STREAM_ID, event, coding.encode_meta(META), keys)) for event in events
            ]
            path.write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            written.append(name)
    return sorted(set(written))


def _stored(event: Event, encoded: tuple[str, bytes]) -> dict[str, Any]:
    topic, state = encoded
    return {"topic": topic, "stored": state.decode(), "event": msgspec.to_builtins(event)}
