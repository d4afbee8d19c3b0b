"""Where episodes end, from observations alone: models of dynamics must know it.

The rules are those of Gymnasium's documentation of the environments ("Episode End").
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simenv.errors import ConfigurationError

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


def resolve(termination: str, env_id: str | None, ends: bool) -> str:
    """What "auto" means: the rule of an environment, or what the data say.

    Args:
        termination: "auto", "never", "learnt", or a name in `RULES`.
        env_id: of the dataset's environment.
        ends: whether the dataset has a true end of an episode.

    Returns:
        "never", "learnt", or a name in `RULES`.

    Raises:
        ConfigurationError: another word.
    """
    if termination == AUTO:
        name, _, version = (env_id or "").partition("-")
        if name in RULES and version in ("v4", "v5"):
            return name
        return LEARNT if ends else NEVER
    if termination not in (NEVER, LEARNT, *RULES):
        raise ConfigurationError(
            f"termination = {termination!r} must be one of {[AUTO, NEVER, LEARNT, *RULES]}"
        )
    return termination
