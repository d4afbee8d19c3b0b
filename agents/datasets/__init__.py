"""Offline datasets: made, listed, described and checked; kept as local Minari datasets.

>>> from agents.datasets import make, normalized_score
>>> from agents.options import MakeDataset
>>> make(MakeDataset("Pendulum-v1", "random", transitions=10_000))
>>> normalized_score("simenv/SoftWalker2D-v0", 80.0)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.datasets.checks import Problem, check
    from agents.datasets.making import make
    from agents.datasets.names import SPLITS, dataset_name
    from agents.datasets.references import Reference, known_reference, normalized_score

__all__ = [
    "SPLITS",
    "Problem",
    "Reference",
    "check",
    "dataset_name",
    "known_reference",
    "make",
    "normalized_score",
]

_MODULES = {
    "SPLITS": "names",
    "Problem": "checks",
    "Reference": "references",
    "check": "checks",
    "dataset_name": "names",
    "known_reference": "references",
    "make": "making",
    "normalized_score": "references",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, so that names alone cost nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module 'agents.datasets' has no attribute {name!r}")
    return getattr(importlib.import_module(f"agents.datasets.{_MODULES[name]}"), name)
