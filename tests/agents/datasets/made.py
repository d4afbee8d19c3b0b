"""Datasets made for tests, and what they hold."""

from __future__ import annotations

from pathlib import Path

import minari
import numpy as np

from agents.datasets import making
from agents.options import MakeDataset
from agents.runs import Run
from tests.agents.datasets.line import LINE


def content(name: str) -> list[dict[str, np.ndarray]]:
    """Every array of every episode."""
    return [
        {
            "observations": e.observations,
            "actions": e.actions,
            "rewards": e.rewards,
            "terminations": e.terminations,
            "truncations": e.truncations,
            **(e.infos or {}),
        }
        for e in minari.load_dataset(name)
    ]


def equal(one: list[dict[str, np.ndarray]], other: list[dict[str, np.ndarray]]) -> bool:
    """Whether two datasets hold the same bits."""
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        for a, b in zip(one, other, strict=True)
    )


def make(split: str, root: Path, task_id: str = LINE, **options) -> str:
    """Name of a dataset, made now."""
    given = {"transitions": 150, "num_envs": 4, "progress_bar": False, **options}
    return making.make(MakeDataset(task_id, split, **given)).relative_to(root).as_posix()


def expert_run(root: Path) -> Run:
    """The expert that was trained beside the datasets."""
    return Run(next((root / ".simenv" / "runs").glob("toy-line-sac-0-????????")))
