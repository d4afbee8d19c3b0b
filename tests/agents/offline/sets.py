"""Datasets small enough to be written and learnt from in a second."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.offline.data import Batch, Transitions

minari = pytest.importorskip("minari")

BATCH = Batch(
    observations=torch.tensor([[1.0], [2.0]]),
    actions=torch.tensor([[0.5], [-0.5]]),
    rewards=torch.tensor([[1.0], [3.0]]),
    next_observations=torch.tensor([[2.0], [4.0]]),
    terminated=torch.tensor([[0.0], [1.0]]),
)
"""Two transitions, the second to an end, to work losses out by hand."""

BOXES = (spaces.Box(-10.0, 10.0, (2,), np.float32), spaces.Box(-2.0, 2.0, (1,), np.float32))
"""Spaces of the episodes below."""


def episode(number: int, steps: int = 4, terminated: bool = False, **changes: Any) -> Any:
    """An episode whose numbers say where they are from: observation t is (number, t)."""
    from minari.data_collector import EpisodeBuffer

    last = np.arange(steps) == steps - 1
    fields = {
        "observations": np.stack([np.full(steps + 1, float(number)), np.arange(steps + 1.0)], 1),
        "actions": np.linspace(-2.0, 2.0, steps)[:, None],
        "rewards": 10.0 * number + np.arange(steps),
        "terminations": last & terminated,
        "truncations": last & (not terminated),
        "infos": {},
    }
    return EpisodeBuffer(id=None, **fields | changes)


def write(name: str, episodes: list[Any], **options: Any) -> Any:
    """Write a dataset of episodes under MINARI_DATASETS_PATH."""
    if "env" not in options:
        options = {"observation_space": BOXES[0], "action_space": BOXES[1]} | options
    with warnings.catch_warnings():
        # Minari asks for authors and descriptions.
        warnings.simplefilter("ignore", UserWarning)
        return minari.create_dataset_from_buffers(name, episodes, **options)


def pendulum(
    name: str, episodes: int = 3, damage: dict[str, Any] | None = None, **options: Any
) -> Any:
    """Write episodes of uniform actions in Pendulum-v1; the last one with damaged fields."""
    import gymnasium

    env, rng, found = gymnasium.make("Pendulum-v1"), np.random.default_rng(0), []
    for number in range(episodes):
        seen, rewards = [env.reset(seed=number)[0]], []
        actions = rng.uniform(-2.0, 2.0, (200, 1)).astype(np.float32)
        for action in actions:
            observation, reward, *_ = env.step(action)
            seen.append(observation)
            rewards.append(reward)
        fields = {"observations": np.stack(seen), "actions": actions, "rewards": np.array(rewards)}
        worse = damage if damage and number == episodes - 1 else {}
        found.append(episode(number, 200, **fields | worse))
    return write(name, found, env="Pendulum-v1", **options)


def read_pendulum(root: Any, patch: Any, reference: tuple[float, float] | None = None) -> Any:
    """Write pendulum/toy-v0 under a folder that is the home of datasets from now on; read it."""
    from agents.offline.reading import read

    patch.setenv("MINARI_DATASETS_PATH", str(root))
    low, high = reference or (None, None)
    pendulum("pendulum/toy-v0", ref_min_score=low, ref_max_score=high)
    return read("pendulum/toy-v0")


def bandit(size: int = 2_000, *, slope: float = 0.8, noise: float | None = None) -> Transitions:
    """One-step episodes of reward −(a − slope·z)², z uniform in [-1, 1].

    Args:
        size: transitions.
        slope: of the best action.
        noise: deviation of the data's actions from the best; None: uniform actions.
    """
    rng = np.random.default_rng(0)
    z = rng.uniform(-1.0, 1.0, (size, 1))
    a = rng.uniform(-1.0, 1.0, (size, 1))
    if noise is not None:
        a = np.clip(slope * z + noise * rng.standard_normal((size, 1)), -1.0, 1.0)
    rewards = -((a - slope * z) ** 2)[:, 0]
    return Transitions.from_arrays(z, a, rewards, z, np.ones(size, bool))


def regret(model: Any, slope: float = 0.8) -> float:
    """Mean squared distance of the policy's actions from the best ones of `bandit`."""
    grid = np.linspace(-1.0, 1.0, 101)[:, None]
    return float(np.mean((model.predict(grid)[0] - slope * grid) ** 2))
