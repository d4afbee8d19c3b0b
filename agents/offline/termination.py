"""Where episodes end, from observations alone: models of dynamics must know it.

The rules are those of Gymnasium's documentation of the environments ("Episode End").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from simenv.errors import require_one_of

Rule = Callable[[Tensor], Tensor]
"""Next observations (B, O) to bool (B,)."""

NEVER, LEARNT, AUTO = "never", "learnt", "auto"


def within(values: Tensor, low: float, high: float) -> Tensor:
    """Whether values lie strictly between two bounds."""
    return (values > low) & (values < high)


def _finite(after: Tensor) -> Tensor:
    return torch.isfinite(after).all(dim=1)


def hopper(after: Tensor) -> Tensor:
    """Height below 0.7, angle beyond 0.2, or a state beyond 100."""
    healthy = (after[:, 0] > 0.7) & within(after[:, 1], -0.2, 0.2)
    return ~(healthy & within(after[:, 1:], -100.0, 100.0).all(dim=1))


def walker(after: Tensor) -> Tensor:
    """Height outside (0.8, 2), or an angle beyond 1."""
    return ~(within(after[:, 0], 0.8, 2.0) & within(after[:, 1], -1.0, 1.0))


def ant(after: Tensor) -> Tensor:
    """Height outside [0.2, 1]."""
    return ~(_finite(after) & (after[:, 0] >= 0.2) & (after[:, 0] <= 1.0))


def humanoid(after: Tensor) -> Tensor:
    """Height outside (1, 2)."""
    return ~within(after[:, 0], 1.0, 2.0)


def inverted_pendulum(after: Tensor) -> Tensor:
    """Angle beyond 0.2."""
    return ~(_finite(after) & (after[:, 1].abs() <= 0.2))


RULES: dict[str, Rule] = {
    "Hopper": hopper,
    "Walker2d": walker,
    "Ant": ant,
    "Humanoid": humanoid,
    "InvertedPendulum": inverted_pendulum,
}
"""By the name of the environment without its version (v4 and v5)."""


COMMON: dict[str, Any] = {
    "terminate_when_unhealthy": True,
    "exclude_current_positions_from_observation": True,
}
"""Arguments with which every rule was written, of the environments that have them."""
ASSUMED: dict[str, dict[str, Any]] = {
    "Hopper": {
        "healthy_z_range": (0.7, math.inf),
        "healthy_angle_range": (-0.2, 0.2),
        "healthy_state_range": (-100.0, 100.0),
    },
    "Walker2d": {"healthy_z_range": (0.8, 2.0), "healthy_angle_range": (-1.0, 1.0)},
    "Ant": {"healthy_z_range": (0.2, 1.0)},
    "Humanoid": {"healthy_z_range": (1.0, 2.0)},
    "InvertedPendulum": {},
}
"""Arguments of the environments that their rules are about, beside those of `COMMON`."""


def resolve(
    termination: str, env_id: str | None, ends: bool, env_options: Mapping[str, Any] | None = None
) -> str:
    """What "auto" means: the rule of an environment, or what the data say.

    Args:
        termination: "auto", "never", "learnt", or a name in `RULES`.
        env_id: of the dataset's environment.
        ends: whether the dataset has a true end of an episode.
        env_options: arguments that the environment was made with. Where they change its rule,
            "auto" goes by the data.

    Returns:
        "never", "learnt", or a name in `RULES`.

    Raises:
        ConfigurationError: another word.
    """
    if termination == AUTO:
        name, _, version = (env_id or "").partition("-")
        if name in RULES and version in ("v4", "v5") and _as_assumed(name, env_options or {}):
            return name
        return LEARNT if ends else NEVER
    require_one_of("termination", termination, [AUTO, NEVER, LEARNT, *RULES])
    return termination


def _as_assumed(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an environment's arguments are those of its rule; JSON makes lists of ranges."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return all(given.get(k, v) == v for k, v in (COMMON | ASSUMED[name]).items())
