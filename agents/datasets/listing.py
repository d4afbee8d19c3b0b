"""What `simenv dataset list` and `simenv dataset info` print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.datasets.metadata import NESTED, SPREAD, made_here, require_sound
from agents.datasets.names import folder_of, local_names, read_metadata, root
from agents.datasets.references import dataset_reference
from simenv.errors import DatasetError
from simenv.listing import aligned

HEADERS = ("name", "id", "split", "episodes", "transitions", "mean return", "size on disk")
RIGHT = {"episodes", "transitions", "mean return", "size on disk"}
NONE = "–"


def table() -> str:
    """One row per local dataset; those that cannot be read say so."""
    names = local_names()
    if not names:
        return f"no datasets in {root()}; 'simenv dataset make ID --split random' makes one"
    return aligned(HEADERS, [_row(name) for name in names], RIGHT)


def describe(name: str) -> str:
    """Metadata, returns and costs of a dataset, one entry per line.

    Raises:
        DatasetError: no such dataset, or its metadata cannot be read.
    """
    metadata = _sound_metadata(name)
    scores = _scores(metadata)
    own = metadata.pop("simenv", {})
    statistics = own.pop("statistics", {})
    for key in NESTED:
        if metadata.get(key) is not None:
            metadata[key] = json.loads(metadata[key])
    metadata |= {"folder": str(folder_of(name)), "size on disk": _size(folder_of(name))}
    sections = {"dataset": metadata, "made by simenv": own, "statistics": statistics}
    if scores is not None:
        sections["normalised score"] = scores
    return "\n\n".join(_section(title, rows) for title, rows in sections.items() if rows)


def _row(name: str) -> dict[str, str]:
    row = dict.fromkeys(HEADERS, NONE) | {"name": name, "size on disk": _size(folder_of(name))}
    try:
        metadata = _sound_metadata(name)
    except DatasetError:
        return row | {"id": "damaged: see 'simenv dataset check'"}
    own = metadata.get("simenv", {})
    mean = own.get("statistics", {}).get("return", {}).get("mean")
    return row | {
        "id": own.get("id", NONE),
        "split": own.get("split", NONE),
        "episodes": str(metadata["total_episodes"]),
        "transitions": str(metadata["total_steps"]),
        "mean return": NONE if mean is None else f"{mean:.2f}",
    }


def _sound_metadata(name: str) -> dict[str, Any]:
    """Metadata of a dataset, of which everything shown is there and of its kind."""
    metadata = read_metadata(name)
    require_sound(name, metadata, made_here(folder_of(name), metadata))
    return metadata


def _scores(metadata: Mapping[str, Any]) -> dict[str, float] | None:
    """Mean and quartiles of the episodes' scores; None without an expert's return."""
    reference = dataset_reference(metadata)
    if reference is None or "simenv" not in metadata:
        return None
    spread = metadata["simenv"]["statistics"]["return"]
    return {rank: float(reference.scores(spread[rank])) for rank in SPREAD}


def _section(title: str, rows: Mapping[str, Any]) -> str:
    return "\n".join([title, *_lines(rows, "  ")])


def _lines(rows: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in rows.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {_text(value)}")
    return lines


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _size(folder: Path) -> str:
    """Of all files in a folder."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{size / 1e6:.1f} MB"
