"""Evaluation: whole episodes on fixed seeds, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.controllers import load_controller, random_controller
from agents.options import Evaluate
from agents.runs import Run
from agents.trajopt.rollout import Controller
from simenv.envs.functional import Functional

Actor = Callable[[Any], np.ndarray]
"""From observations of E environments, dictionaries included, to their actions (E, A)."""
StateController = Callable[[Any, int], Tensor]
"""From a state of N environments and the step t to their actions (N, A)."""


@dataclass(frozen=True)
class Score:
    """What E episodes came to.

    Attributes:
        returns: (E,), undiscounted.
        success: bool (E,), whether the task was done at any step.
        lengths: (E,) [steps].
        costs: (E,), undiscounted; None where the environment gives no cost.
    """

    returns: np.ndarray
    success: np.ndarray
    lengths: np.ndarray
    costs: np.ndarray | None = None

    def row(self, cost_limit: float | None = None) -> dict[str, float]:
        """Means and standard deviations, the success rate and, with costs, the violation rate.

        Args:
            cost_limit: bound on the cost of an episode; an episode above it violates it.
        """
        row = {
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "success_rate": float(self.success.mean()),
            "length_mean": float(self.lengths.mean()),
        }
        if self.costs is None:
            return row
        row |= {"cost_mean": float(self.costs.mean()), "cost_std": float(self.costs.std())}
        if cost_limit is not None:
            row["violation_rate"] = float((self.costs > cost_limit).mean())
        return row


# ------------------------------------------------------------------------------- episodes


@contextmanager
def forked_random(seed: int) -> Iterator[None]:
    """Random numbers from `seed` inside; afterwards the global generators go on where they were.

    Concerns numpy's global generator and torch's on every device in use: some policies draw even
    when asked for deterministic actions, and an evaluation must not change the training around it.
    """
    state = np.random.get_state()  # noqa: NPY002  (the global generator is what is guarded)
    # `torch.manual_seed` would also leave a seed waiting for a GPU that is not in use yet.
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


@torch.no_grad()
def play_episodes(env: VecEnv, act: Actor, seed: int) -> Score:
    """One whole episode per environment; environment i starts from seed + i.

    The environments are reset first and left somewhere inside an episode: use some that serve
    for nothing else. The global random generators are as before afterwards.

    Args:
        env: E environments (`agents.environments.make_vec`).
        act: observations -> actions (E, A).
        seed: of environment 0, and of what `act` draws from the global generators.
    """
    returns, costs = np.zeros(env.num_envs), np.zeros(env.num_envs)
    lengths = np.zeros(env.num_envs, dtype=int)
    success, alive = np.zeros(env.num_envs, dtype=bool), np.ones(env.num_envs, dtype=bool)
    with_costs = False
    with forked_random(seed):
        env.seed(seed)
        observations = env.reset()
        while alive.any():
            observations, rewards, dones, infos = env.step(act(observations))
            with_costs |= any("cost" in info for info in infos)
            returns += np.where(alive, rewards, 0.0)
            costs += np.where(alive, [info.get("cost", 0.0) for info in infos], 0.0)
            lengths += alive
            success |= alive & np.array([_succeeded(info) for info in infos])
            alive &= ~dones
    return Score(returns, success, lengths, costs if with_costs else None)


def _succeeded(info: dict[str, Any]) -> bool:
    return bool(info.get("success", False)) or bool(info.get("is_success", False))


def random_actor(env: VecEnv, seed: int) -> Actor:
    """Uniform actions within the bounds of the action space."""
    rng, space = np.random.default_rng(seed), cast(Box, env.action_space)

    def act(observations: Any) -> np.ndarray:
        return rng.uniform(space.low, space.high, (env.num_envs, *space.shape)).astype(space.dtype)

    return act


@torch.no_grad()
def play(functional: Functional, controller: Controller, seed: int) -> Score:
    """One episode per environment; environment i starts from seed + i."""
    return play_states(functional, by_observation(functional, controller), seed)[0]


@torch.no_grad()
def play_states(
    functional: Functional, controller: StateController, seed: int
) -> tuple[Score, Tensor]:
    """`play` for a controller of states; the score and the actions (N, T, A), in [-1, 1]."""
    state, actions = functional.initial(seed), []
    success = torch.zeros(functional.num_envs, dtype=torch.bool, device=functional.device)
    alive, safe = ~success, functional.variant == "safe"
    sums = torch.zeros(3, functional.num_envs, dtype=torch.float64, device=functional.device)
    for t in range(functional.task.horizon):
        action = controller(state, t).clamp(-1.0, 1.0)
        after = functional.transition(state, action)
        reward = functional.reward(state, action, after)
        cost = functional.cost(state, action, after) if safe else torch.zeros_like(reward)
        sums += torch.where(alive, torch.stack([reward, cost, torch.ones_like(reward)]), 0.0)
        success |= alive & functional.success(after)
        alive &= ~functional.terminal(after)
        actions.append(action)
        state = after
    returns, costs, lengths = sums.cpu().numpy()
    score = Score(returns, success.cpu().numpy(), lengths.astype(int), costs if safe else None)
    return score, torch.stack(actions, dim=1)


def by_observation(functional: Functional, controller: Controller) -> StateController:
    """A controller of observations as one of states."""

    def act(state: Any, t: int) -> Tensor:
        return controller(functional.task.features(state), t)

    return act


# ------------------------------------------------------------------------------- the command


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
