"""What chooses the actions of a dataset: chance, or the agent of a finished run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.sac.policies import Actor
from torch import Tensor

from agents.actor_critic import ActorCritic
from agents.runs import Run
from agents.training import load_agent
from simenv.errors import ConfigurationError

Behaviour = Callable[[Any], tuple[np.ndarray, np.ndarray | None]]
"""From observations of N environments to actions (N, …) in the environment's own units, and the
logarithm of their density (N,) there, None where it is not known. Draws come from torch's global
generator."""


def require_bounded(space: Any, task_id: str) -> Box:
    """The action space, if it is a Box with finite bounds.

    Raises:
        ConfigurationError: it is something else.
    """
    if not isinstance(space, Box) or not space.is_bounded():
        raise ConfigurationError(
            f"the action space of {task_id} is {space}; datasets need a Box with finite bounds"
        )
    return space


def random_behaviour(space: Box) -> Behaviour:
    """Uniform actions within the bounds of an action space."""
    low, high = np.float64(space.low), np.float64(space.high)
    log_prob = -np.log(high - low).sum()

    def act(observations: Any) -> tuple[np.ndarray, np.ndarray]:
        nested = isinstance(observations, dict)
        count = len(next(iter(observations.values())) if nested else observations)
        shares = torch.rand((count, *space.shape), dtype=torch.float64).numpy()
        return _inside(low + (high - low) * shares, space), np.full(count, log_prob)

    return act


def trained_behaviour(run: Run, space: Box, device: str) -> Behaviour:
    """Sampled actions of a run's last checkpoint, or its only ones where the policy has no noise.

    Densities are told of the soft actor-critics, whose actors are squashed Gaussians; of FLAC,
    whose actor is a flow, and of all other agents they are not known.
    """
    agent = load_agent(run, device)
    return _proposed(agent, space) if isinstance(agent, ActorCritic) else _predicted(agent, space)


def _proposed(agent: ActorCritic, space: Box) -> Behaviour:
    """Densities are carried over from [-1, 1] to the environment's units."""
    agent.policy.set_training_mode(False)
    low, high = np.float64(space.low), np.float64(space.high)
    stretch = np.log((high - low) / 2).sum()
    known = isinstance(agent.actor, Actor)

    def act(observations: Any) -> tuple[np.ndarray, np.ndarray | None]:
        seen, _ = agent.policy.obs_to_tensor(observations)
        actions, penalty = agent.propose(seen)
        shares = (_numpy(actions).reshape(-1, *space.shape) + 1) / 2
        log_prob = _numpy(penalty)[:, 0] - stretch if known else None
        return _inside(low + (high - low) * shares, space), log_prob

    return act


def _predicted(agent: Any, space: Box) -> Behaviour:
    def act(observations: Any) -> tuple[np.ndarray, None]:
        return _inside(agent.predict(observations, deterministic=False)[0], space), None

    return act


def _inside(actions: np.ndarray, space: Box) -> np.ndarray:
    """In the space's own kind of number, where rounding may lead beyond a bound."""
    return np.clip(actions.astype(space.dtype), space.low, space.high)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy().astype(np.float64)
