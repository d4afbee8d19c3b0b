"""What is measured, and how often."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

EDGE = 0.3
"""Edge [m] of the cube."""
PER_EDGE = 20
"""Particles along an edge of the cube of the comparison: 8,000 in all."""
CELLS = 32
"""Grid cells along the 1 m domain of the comparison."""
SUBSTEPS = 50
"""Substeps of 0.1 ms in an environment step."""
WALKER = "simenv/SoftWalker2D-v0"


@dataclass(frozen=True)
class Plan:
    """Sizes of a benchmark run.

    Attributes:
        rounds: measurements of every engine of the comparison, which take turns.
        steps: environment steps in one measurement of the comparison.
        scaling_rounds: measurements of every row of the scaling tables.
        edges: particles along the cube's edge, one row each.
        envs: numbers of walkers, one row each.
        env_steps: steps of the vector environment in one measurement.
        variants: whether dimension, threads and number format are varied.
    """

    rounds: int
    steps: int
    scaling_rounds: int
    edges: tuple[int, ...]
    envs: tuple[int, ...]
    env_steps: int
    variants: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the record."""
        return asdict(self)


FULL = Plan(
    rounds=7,
    steps=10,
    scaling_rounds=3,
    edges=(10, 16, 22, 32, 46),
    envs=(1, 2, 4, 8, 16, 32, 64),
    env_steps=80,
    variants=True,
)
QUICK = Plan(
    rounds=3, steps=2, scaling_rounds=3, edges=(), envs=(64,), env_steps=20, variants=False
)


def cores() -> int:
    """CPUs of this machine."""
    return os.cpu_count() or 1
