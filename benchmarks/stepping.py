"""What a step of every task costs: one environment alone, and sixteen together.

    python benchmarks/stepping.py [--rounds N] [ID ...]

Prints a table: particles, substeps, milliseconds of an environment step of one environment on one
thread (median over rounds of twenty steps under random actions), and environment steps per second
of sixteen environments in the native vector environment on all threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import gymnasium
import numpy as np

import simenv

STEPS, ENVS = 20, 16


def seconds_per_step(env: Any, rounds: int) -> float:
    """Median over rounds of the wall time of a step under random actions."""
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    medians = []
    for _ in range(rounds + 1):
        actions = rng.uniform(-1, 1, (STEPS, *env.action_space.shape)).astype(np.float32)
        began = time.perf_counter()
        for action in actions:
            env.step(action)
        medians.append((time.perf_counter() - began) / STEPS)
        env.reset(seed=0)
    return statistics.median(medians[1:])


def row(task_id: str, rounds: int) -> str:
    """A line of the table."""
    single = gymnasium.make(task_id)
    scene = single.unwrapped._episodes.functional.task.scene
    alone = seconds_per_step(single.unwrapped, rounds)
    batch = gymnasium.make_vec(task_id, num_envs=ENVS)
    together = ENVS / seconds_per_step(batch, rounds)
    name = simenv.TASKS[task_id].family
    return (
        f"| {name} | {scene.dim}-D | {scene.num_particles:,} | {scene.substeps} | "
        f"{1e3 * alone:.1f} | {together:,.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", help="task ids; default: every family's first")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ids = options.ids or [i for i, spec in simenv.TASKS.items() if spec.variant is None]
    print("| task | | particles | substeps | ms per step, single | env steps/s, 16 together |")
    print("|---|---|---|---|---|---|")
    for task_id in ids:
        print(row(task_id, options.rounds), flush=True)


if __name__ == "__main__":
    main()
