"""Model-based agents that learn in a second, and what is asked of all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback

from agents.offline.dynamics import Outcome
from agents.offline.ensemble import Members
from tests.agents.offline.test_algorithm import assert_same

BANDIT: dict[str, Any] = {
    "net_arch": (32, 32),
    "batch_size": 64,
    "learning_rate": 3e-3,
    "actor_learning_rate": 3e-3,
    "temperature": 0.005,
    "model_widths": (32, 32),
    "model_max_epochs": 60,
    "model_learning_rate": 3e-3,
    "rollout_every": 100,
    "rollout_batch": 1_000,
    "penalty": 0.1,
}
"""Enough to learn the reward of `sets.bandit`."""

TINY: dict[str, Any] = {
    "net_arch": (8,),
    "batch_size": 16,
    "seed": 1,
    "model_members": 3,
    "model_elites": 2,
    "model_widths": (8,),
    "model_max_epochs": 2,
}
ROLLOUTS: dict[str, Any] = {"rollout_every": 7, "rollout_batch": 10, "rollout_retain": 2}


def outcome(std: list[list[float]], mean: list[list[float]] | None = None) -> Outcome:
    """Of one step, given what each member says of one feature, the reward and maybe the cost."""
    deviations = torch.tensor(std)[:, None]
    means = torch.zeros_like(deviations) if mean is None else torch.tensor(mean)[:, None]
    members = Members(means, deviations, torch.zeros(len(std), 1, 0))
    one = torch.ones(1, 1)
    return Outcome(one, 10 * one, 0 * one, None, members)


def assert_resumes(make: Any, folder: Path, at: int, parts: Any, updates: int = 25) -> None:
    """Broken off before the update `at`, an agent goes on to the same bits.

    Args:
        make: makes the agent, untrained.
        folder: for its checkpoint.
        at: updates after which it is broken off.
        parts: tensors of the agent that its modules and optimisers do not hold.
        updates: all of them.
    """
    whole = make().learn(updates, log_interval=10)
    noise = torch.rand(3)

    class Save(BaseCallback):
        def _on_rollout_start(self) -> None:
            if self.num_timesteps == at:
                self.model.save_checkpoint(folder / "c")

        def _on_step(self) -> bool:
            return True

    make().learn(updates, callback=Save(), log_interval=10)
    torch.manual_seed(99)
    again = make()
    again.load_checkpoint(folder / "c")
    assert again.num_timesteps == at
    again.learn(updates - at, log_interval=10)
    assert_same(whole, again)
    assert all(torch.equal(one, two) for one, two in zip(parts(whole), parts(again), strict=True))
    assert again.losses == whole.losses
    assert torch.equal(again._generator.get_state(), whole._generator.get_state())
    assert torch.equal(torch.rand(3), noise)
