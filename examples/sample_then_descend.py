"""A gait found by sampling, made faster by gradients: where to start, then how to go on.

    python examples/sample_then_descend.py

About a minute on two cores; writes plan.gif into the present folder. A sampler looks everywhere,
with a periodic gait of a few numbers. Its actions, freed to be what they like at every step, are
then improved by gradients through the whole episode.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import simenv
from agents.controllers import by_observation
from agents.evaluation import play_states
from agents.recording import frames
from agents.trajopt import Result, Schemes, make_policy, optimise, sample
from agents.trajopt.samplers import MPPI
from simenv.render import write_gif

TASK = "simenv/SoftWalker2D-v0"
SEED = 0


def search(population: int, iterations: int) -> tuple[Tensor, float]:
    """Actions (1, T, A) of the best gait of some populations, and its return."""
    batch, functional = simenv.functional(TASK, num_envs=population + 1), simenv.functional(TASK)
    policy = make_policy("gait", batch.task, population + 1)
    rows, actions = policy.table.shape[1:]
    # Returns differ by some tens: with a temperature of 5 the best few count.
    settings = {"population": population, "temperature": 5.0, "seed": SEED}
    sampler = MPPI(rows, actions, low=-policy.bound, high=policy.bound, **settings)
    found = sample(batch, policy, sampler, iterations=iterations, seed=SEED)
    gait = make_policy("gait", functional.task, 1)
    gait.load_state_dict(found.best)
    taken = play_states(functional, by_observation(functional, gait), SEED)[1]
    return taken, found.best_return


def descend(actions: Tensor, iterations: int) -> Result:
    """The same actions after some steps of Adam, with gradients through the whole episode."""
    functional = simenv.functional(TASK)
    plan = make_policy("plan", functional.task, 1)
    plan.set_table(actions)
    return optimise(
        functional,
        plan,
        iterations=iterations,
        learning_rate=0.03,
        schemes=Schemes(window=0),
        seed=SEED,
    )


def draw(best: dict[str, torch.Tensor], path: Path) -> None:
    """An episode of the plan as a GIF."""
    functional = simenv.functional(TASK)
    plan = make_policy("plan", functional.task, 1)
    plan.load_state_dict(best)
    write_gif(path, frames(functional, by_observation(functional, plan), SEED, 480), fps=20)


def main(population: int = 32, iterations: int = 15) -> tuple[float, float]:
    """Search, descend, draw; both returns."""
    actions, sampled = search(population, iterations)
    print(f"a gait by sampling: return {sampled:.1f}")
    found = descend(actions, iterations)
    print(f"a plan by gradients from there: return {found.best_return:.1f}")
    draw(found.best, Path("plan.gif"))
    return sampled, found.best_return


if __name__ == "__main__":
    main()
