"""What metadata of a dataset must say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from reprlib import repr as short
from typing import Any

from agents.datasets.names import MANIFEST
from simenv.errors import DatasetError

NUMBER, MAYBE = (int, float), (int, float, type(None))
WORDS = {str: "text", int: "a whole number", NUMBER: "a number", MAYBE: "a number or null"}
"""Kinds of value, and what they are called."""
SPREAD = dict.fromkeys(("mean", "lower_quartile", "median", "upper_quartile"), NUMBER)
COUNTS = {"dataset_id": str, "total_episodes": int, "total_steps": int}
"""Kinds of what any dataset needs."""
KINDS = {
    **COUNTS,
    "observation_space": str,
    "action_space": str,
    "env_spec": str,
    "algorithm_name": str,
    "simenv": {
        "version": str,
        "id": str,
        "split": str,
        "size": str,
        "seed": int,
        "parts": {},
        "reference": {"random": NUMBER, "expert": MAYBE, "episodes": int, "by": str},
        "statistics": {"return": SPREAD, "length": SPREAD},
    },
}
"""Kinds of what those made here have besides; a dictionary stands for one with these entries."""
NESTED = ("observation_space", "action_space", "env_spec", "eval_env_spec")
"""Metadata that are JSON within JSON."""
SCALE = ("ref_min_score", "ref_max_score")
"""What Minari calls the returns of scores 0 and 100, where there are any."""


def made_here(folder: Path, metadata: Mapping[str, Any]) -> bool:
    """Whether simenv made a dataset; all others are foreign."""
    return "simenv" in metadata or (folder / MANIFEST).is_file()


def metadata_faults(metadata: Mapping[str, Any], own: bool) -> Iterator[tuple[str, str]]:
    """Field and fault of all that is missing or of another kind.

    Args:
        metadata: as the file has them.
        own: of a dataset made here.
    """
    kinds = KINDS if own else COUNTS
    yield from _kinds(metadata, kinds, "")
    for field in SCALE:
        yield from _kinds(metadata.get(field), MAYBE, field)
    for field in NESTED:
        if isinstance(text := metadata.get(field), str):
            try:
                json.loads(text)
            except ValueError as error:
                yield field, f"is no JSON: {error}"
        elif text is not None and field not in kinds:
            yield field, f"is {short(text)}, not text"


def require_sound(name: str, metadata: Mapping[str, Any], own: bool) -> None:
    """Raise `DatasetError` at the first of the `metadata_faults` of a dataset."""
    for field, what in metadata_faults(metadata, own):
        raise DatasetError(
            f"dataset {name} is damaged: in its metadata {field} {what}; see 'simenv dataset check'"
        )


def _kinds(found: Any, kind: Any, field: str) -> Iterator[tuple[str, str]]:
    if not isinstance(kind, dict):
        if isinstance(found, bool) or not isinstance(found, kind):
            yield field, f"is {short(found)}, not {WORDS[kind]}"
    elif not isinstance(found, dict):
        yield field, f"is {short(found)}, not a dictionary"
    else:
        for name, inner in kind.items():
            path = f"{field}.{name}".lstrip(".")
            if name in found:
                yield from _kinds(found[name], inner, path)
            else:
                yield path, "is missing"
