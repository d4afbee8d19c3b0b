"""The SHA-256 of a dataset's files, kept beside them, by which a change is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from agents.checkpoints import file_digest
from agents.datasets.names import HDF5, MANIFEST, METADATA

FORMAT = 1


def write_manifest(folder: Path) -> None:
    """Write the digests of a dataset's files."""
    digests = {file: file_digest(folder / file) for file in (HDF5, METADATA)}
    content = {"format": FORMAT, "sha256": digests}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n")


def changes(folder: Path) -> Iterator[tuple[str, str]]:
    """File and fault of whatever is not as the manifest has it; nothing without a manifest."""
    if not (folder / MANIFEST).is_file():
        return
    try:
        digests = dict(json.loads((folder / MANIFEST).read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield MANIFEST, f"is damaged: {error!r}"
        return
    for part in (HDF5, METADATA):
        if not (folder / part).is_file():
            yield part, "is missing"
        elif file_digest(folder / part) != digests.get(part):
            yield part, f"its SHA-256 is not that of {MANIFEST}: it has changed"
