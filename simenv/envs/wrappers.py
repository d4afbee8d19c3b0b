"""Wrappers for users who expect other signatures than Gymnasium's."""

from __future__ import annotations

from typing import Any

import gymnasium

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
