"""Control by planning anew at every step, with the simulator as its own model.

    python examples/receding_horizon.py

About a minute on two cores. At every step iCEM tries plans of a few steps side by side in one
batch, the first action of the best is taken, and the search goes on from the plan shifted by a
step.
"""

from __future__ import annotations

import torch

import simenv
from agents.evaluation import play_states
from agents.trajopt import Receding, Trials
from agents.trajopt.samplers import ICEM, Sampler

TASK = "simenv/SoftJumper-v0"
SEED = 0


def controller(horizon: int, population: int, iterations: int) -> Receding:
    """A controller of one environment that looks `horizon` steps ahead."""
    actions = simenv.functional(TASK).task.num_actions

    def fresh() -> Sampler:
        options = {"population": population, "elites": population // 4, "seed": SEED}
        return ICEM(horizon, actions, iterations=iterations, **options)

    batch = simenv.functional(TASK, num_envs=fresh().most)
    return Receding(fresh, Trials(batch, steps=horizon), iterations)


def main(horizon: int = 10, population: int = 20, iterations: int = 2) -> tuple[float, float]:
    """Play an episode by planning, and one with slack muscles; both returns."""
    player = controller(horizon, population, iterations)
    functional = simenv.functional(TASK)
    score = play_states(functional, player, SEED)[0]
    planned, jumped = score.returns[0], "" if score.success[0] else "not "
    # Most of the return is speed: who hurries along earns more than who jumps.
    print(f"planned: return {planned:.1f}, {jumped}as high as the task wants")
    print(f"         {player.trials.simulated:,} steps simulated")
    slack = torch.zeros(1, functional.task.num_actions)
    rest = play_states(functional, lambda state, t: slack, SEED)[0].returns[0]
    print(f"slack: return {rest:.1f}")
    return float(planned), float(rest)


if __name__ == "__main__":
    main()
