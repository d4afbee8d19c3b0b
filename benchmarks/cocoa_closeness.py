"""How near to the data COCOA's anchors and differences are, where its policies go and beyond.

    python -m benchmarks.cocoa_closeness [--out runs/offline_table] [--anchor-steps 1 3 5]

Reads the finished COCOA runs of `benchmarks.offline_table`, trains nothing, and writes
closeness.csv (a line per run and kind of states) and closeness.md into the same folder. A figure
is a mean distance to the nearest of the dataset's, in units of what the dataset's own have to their
nearest other one (`agents.offline.anchors.closeness`): of states, of their anchors and of
their differences. The states are

    visited   those of ten episodes of the policy
    backward  `reverse_length` steps of the backward model away from the data: such as the
              anchor-seeking policy was fitted to lead back from
    noisy     the data's with normal noise of their own deviation
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.offline.anchors import closeness, visited, walk_back
from agents.offline.cocoa import COCOA
from benchmarks.comparison import head, line
from benchmarks.offline_table import AGENTS, DATASETS, Make, Training
from benchmarks.processes import write_rows

EPISODES = 10
"""Whose states are visited."""
ROWS = 2_000
"""States of the other kinds."""
KEYS = ("dataset", "agent", "states", "steps")
COLUMNS = ("state", "anchor", "difference")


def states(model: COCOA) -> Iterator[tuple[str, Tensor]]:
    """Kinds of raw states (N, O), one after another."""
    generator = torch.Generator().manual_seed(0)
    yield "visited", visited(model, EPISODES)
    data = model.dataset
    some, others = torch.randint(len(data), (2, ROWS), generator=generator)
    start, held = data.next_observations[some], data.actions[others]
    *_, (farthest, _) = walk_back(model.reverse, start, held, generator, model.reverse_length)
    yield "backward", farthest
    deviation = data.observations.std(dim=0)
    yield "noisy", start + deviation * torch.randn(start.shape, generator=generator)


def measure(job: Training, anchor_steps: Sequence[int]) -> list[dict[str, Any]]:
    """A row per kind of states and number of steps to the anchors, of a finished run."""
    checkpoint = job.run.checkpoints()[-1]
    model = COCOA.load(checkpoint, dataset=Make(job.data).name, env=job.data.id)
    torch.manual_seed(0)
    name = {"dataset": job.data_label, "agent": job.label, "seed": job.seed}
    found, rows = dict(states(model)), []
    # What leads to the anchors is fitted for steps of any number.
    for steps in anchor_steps:
        model.anchor_steps = steps
        for kind, seen in found.items():
            about = name | {"states": kind, "steps": steps}
            rows.append(about | closeness(model, seen) | model.pretraining)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over seeds, a line per dataset, agent, kind of states and number of steps."""
    groups: dict[tuple[str, ...], list[list[float]]] = {}
    for row in rows:
        key = tuple(str(row[column]) for column in KEYS)
        groups.setdefault(key, []).append([row[column] for column in COLUMNS])
    lines = head([*KEYS, *COLUMNS, "runs"])
    for (first, *others), found in groups.items():
        means = [f"{mean:.2f}" for mean in np.mean(found, axis=0)]
        lines.append(line(first, [*others, *means, str(len(found))]))
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Measure every finished run; the exit code is 1 if there is none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/offline_table"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--anchor-steps", nargs="+", type=int, default=[1, 3, 5])
    options = parser.parse_args(words)
    os.environ["MINARI_DATASETS_PATH"] = str((options.out / "datasets").resolve())
    jobs = [
        Training(label, data, seed, options.out)
        for data in DATASETS
        for label, agent in AGENTS.items()
        if agent.algorithm == "cocoa"
        for seed in options.seeds
    ]
    rows = [row for job in jobs if job.done() for row in measure(job, options.anchor_steps)]
    if not rows:
        print(f"no finished COCOA runs in {options.out}; python -m benchmarks.offline_table first")
        return 1
    write_rows(options.out / "closeness.csv", rows)
    (options.out / "closeness.md").write_text(table(rows))
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
