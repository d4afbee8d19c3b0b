"""Wrappers around single environments: other signatures, and costs for those without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from simenv.errors import ConfigurationError


class SafetyTuple(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives the cost its own place: (observation, reward, cost, terminated, truncated, info).

    The signature of Safety-Gymnasium (Ji et al., NeurIPS 2023), which OmniSafe's agents expect.

    Args:
        env: an environment that reports `info["cost"]`, such as a "-Safe" id.
    """

    def step(self, action: Any) -> Any:
        """Advance by one step.

        Raises:
            ConfigurationError: the environment reports no cost.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "cost" not in info:
            raise ConfigurationError(
                f"{self.env} reports no info['cost']; make a '-Safe' id, such as "
                "'simenv/SoftWalker2D-Safe-v0'"
            )
        return observation, reward, info["cost"], terminated, truncated, info


class WithCost(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Reports `info["cost"]` in an environment that has none, at resets too (0).

    Args:
        env: any environment.
        cost: (env, action, observation after it) -> cost of the step, at least 0.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        cost: Callable[[gymnasium.Env[Any, Any], Any, Any], float],
    ) -> None:
        super().__init__(env)
        self._cost = cost

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "cost": 0.0}

    def step(self, action: Any) -> Any:
        """Advance by one step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        cost = float(self._cost(self.env, action, observation))
        return observation, reward, terminated, truncated, {**info, "cost": cost}


def effort(env: gymnasium.Env[Any, Any], action: Any, observation: Any) -> float:
    """Mean size of the action's components, as shares of their bounds."""
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
    return float(np.mean(np.abs((np.asarray(action) - middle) / half)))


COSTS = {"effort": effort}
"""Costs by name, for `simenv train --cost`."""
