"""Which goals to practise: the task's own, any of the box, or those of SVGG.

    python benchmarks/goals.py [--goals svgg uniform task] [--seeds 0 1 2] [--steps 12000]

Soft actor-critic with hindsight replay on FingerReach2D-Goal, whose tip can hold 16 % of the goals'
box. Each training is measured on the same 100 goals within reach, 1000 and 2000 steps before its
end and at its end; the figures are means of the three. Nothing but the source of training goals
differs.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.vec_env import VecEnv

from agents.environments import make_vec
from agents.goals.measure import Rates, success_rates
from agents.goals.training import GOALS, make_goal_training

TASK = "simenv/FingerReach2D-Goal-v0"
GOALS_MEASURED = 100
AGENT: dict[str, Any] = {
    "buffer_size": 50_000,
    "learning_starts": 480,
    "gradient_steps": 8,
    "batch_size": 256,
    "learning_rate": 1e-3,
    "final_learning_rate": 1e-4,
    "gamma": 0.95,
    "tau": 0.02,
    "ent_coef": 0.02,
    "policy_delay": 2,
    "policy_kwargs": {"net_arch": [128, 128], "normalize": True},
}


class Measure(BaseCallback):
    """Success rates at some environment steps."""

    def __init__(self, env: VecEnv, marks: list[int]) -> None:
        super().__init__()
        self.env, self.marks = env, marks
        self.rates: list[Rates] = []

    def _on_step(self) -> bool:
        while self.marks and self.num_timesteps >= self.marks[0]:
            self.marks.pop(0)
            self.rates.append(success_rates(self.model, self.env))
        return True


def run(goals: str, seed: int, steps: int, env: VecEnv) -> np.ndarray:
    """Mean rates (3,) of the last three measurements of one training."""
    model, feed = make_goal_training(TASK, goals, seed=seed, **AGENT)
    measure = Measure(env, [steps - 2000, steps - 1000, steps])
    model.learn(steps, callback=CallbackList([measure] if feed is None else [feed, measure]))
    return np.mean(measure.rates, axis=0)


def main() -> None:
    """Every source of goals with every seed, one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--goals", nargs="+", choices=GOALS, default=["svgg", "uniform", "task"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=12_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    env = make_vec(TASK, GOALS_MEASURED)
    print("| goals | seed | success at any step | at the last step | near at the last step |")
    print("|---|---|---|---|---|")
    for goals in options.goals:
        rows = []
        for seed in options.seeds:
            rows.append(run(goals, seed, options.steps, env))
            print(f"| {goals} | {seed} | " + " | ".join(f"{r:.2f}" for r in rows[-1]) + " |")
        print(f"| {goals} | mean | " + " | ".join(f"{r:.2f}" for r in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
