"""Evaluation: whole episodes on fixed seeds, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from agents.controllers import load_controller, random_controller
from agents.options import Evaluate
from agents.runs import Run
from agents.trajopt.rollout import Controller, rollout
from simenv.envs.functional import Functional


@dataclass(frozen=True)
class Score:
    """Returns and successes of E episodes.

    Attributes:
        returns: (E,).
        success: bool (E,), whether the task was done at any step.
    """

    returns: np.ndarray
    success: np.ndarray

    def row(self) -> dict[str, float]:
        """Mean, standard deviation and success rate."""
        return {
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "success_rate": float(self.success.mean()),
        }


@torch.no_grad()
def play(functional: Functional, controller: Controller, seed: int) -> Score:
    """One episode per environment; environment i starts from seed + i."""
    run = rollout(functional, controller, functional.initial(seed))
    return Score(run.rewards.sum(dim=0).cpu().numpy(), run.success.cpu().numpy())


def evaluate(options: Evaluate) -> dict[str, dict[str, float]]:
    """Score a run's controller and random actions on the same seeds; writes evaluation.json."""
    run = Run(options.run)
    config = run.config
    functional = run.functional(num_envs=options.episodes, device=options.device)
    controllers = {
        config["command"]: load_controller(run, functional),
        "random": random_controller(functional, options.seed),
    }
    rows = {name: play(functional, c, options.seed).row() for name, c in controllers.items()}
    run.write_json("evaluation.json", {"episodes": options.episodes, "seed": options.seed, **rows})
    return rows


def table(rows: dict[str, dict[str, float]]) -> str:
    """Plain-text table of scores."""
    lines = [f"{'controller':<12} {'return':>10} {'± std':>8} {'success':>8}"]
    for name, row in rows.items():
        lines.append(
            f"{name:<12} {row['return_mean']:>10.2f} {row['return_std']:>8.2f} "
            f"{row['success_rate']:>8.0%}"
        )
    return "\n".join(lines)
