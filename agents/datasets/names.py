"""Names of datasets, and where they and the work behind them are kept. Imports nothing heavy."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from simenv.errors import DatasetError
from simenv.registry import PREFIX

SPLITS = ("random", "medium", "expert", "medium-replay", "medium-expert")
MANIFEST = "manifest.json"
"""File beside `data/` with the SHA-256 of every file in it."""
HDF5, METADATA = "data/main_data.hdf5", "data/metadata.json"
"""What Minari writes."""
VERSION = re.compile(r"-v\d+$")


def root() -> Path:
    """Folder of all local Minari datasets: $MINARI_DATASETS_PATH, or ~/.minari/datasets."""
    chosen = os.environ.get("MINARI_DATASETS_PATH")
    return Path(chosen) if chosen else Path.home() / ".minari" / "datasets"


def work(*parts: str) -> Path:
    """A path in the hidden folder beside the datasets, which Minari does not look into."""
    return root().joinpath(".simenv", *parts)


def environment_name(task_id: str, size: str = "small") -> str:
    """First part of a dataset's name: the id without its version.

    simenv's ids stay as they are, those of others turn to lower case, as in Minari's own datasets.
    """
    stem = VERSION.sub("", task_id)
    if not task_id.startswith(PREFIX):
        return re.sub(r"[^-\w/]", "-", stem).lower()
    return stem if size == "small" else f"{stem}-{size}"


def dataset_name(task_id: str, split: str, size: str = "small", version: int = 0) -> str:
    """Name of a dataset, for example simenv/SoftWalker2D/medium-v0 or pendulum/medium-v0."""
    return f"{environment_name(task_id, size)}/{split}-v{version}"


def local_names() -> list[str]:
    """Names of all local datasets, whoever made them and in whatever state they are."""
    base, found = root(), []
    for folder, inside, _ in os.walk(base, followlinks=True):
        if "data" in inside and Path(folder) != base:
            found.append(Path(folder).relative_to(base).as_posix())
            inside.clear()
        inside[:] = [name for name in inside if not name.startswith(".")]
    return sorted(found)


def folder_of(name: str) -> Path:
    """Folder of a local dataset.

    Raises:
        DatasetError: there is none; the message suggests the nearest names.
    """
    known = local_names()
    if name in known:
        return root() / name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {known or 'none'}"
    raise DatasetError(
        f"no dataset {name!r} in {root()}; {hint} ('simenv dataset list' shows all, "
        "'simenv dataset make' makes one)"
    )


def read_metadata(name: str) -> dict[str, Any]:
    """What metadata.json of a local dataset says.

    Raises:
        DatasetError: no such dataset, or the file is missing or damaged.
    """
    file = folder_of(name) / METADATA
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        words = f"dataset {name}: its metadata cannot be read, {file}: {error}"
        raise DatasetError(words) from error
    if not isinstance(content, dict):
        raise DatasetError(f"dataset {name}: its metadata, {file}, are no dictionary")
    return content


def digest(content: Any) -> str:
    """Eight hexadecimal digits that tell JSON-able contents apart."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
