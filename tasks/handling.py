"""What tasks that handle soft matter with tools have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from simenv.mpm import State


def jittered(rest: State, rngs: Sequence[np.random.Generator], reach: float) -> State:
    """Every particle moved by up to `reach` [m] along each axis, each row by its own generator."""
    shape = rest.x.shape[1:]
    jitter = np.stack([rng.uniform(-reach, reach, shape) for rng in rngs])
    return rest.replace(x=rest.x + torch.as_tensor(jitter).to(rest.x))


def held_within(
    place: Tensor, velocity: Tensor, box: tuple[Sequence[float], Sequence[float]], step: float
) -> Tensor:
    """The velocity that a step from `place` may have without leaving a box.

    Args:
        place: of a tool [m], (N, d).
        velocity: wanted [m/s], (N, d).
        box: lower and upper corner [m], d numbers each.
        step: duration of a step [s].

    Returns:
        Velocity (N, d) [m/s]; one that stays within is left as it is.
    """
    lower, upper = (place.new_tensor(corner) for corner in box)
    slowest, fastest = (lower - place) / step, (upper - place) / step
    return torch.minimum(torch.maximum(velocity, slowest), fastest)


def evenly(total: int, count: int) -> Tensor:
    """`count` of `total` indices, spread evenly, int64."""
    return torch.linspace(0, total - 1, count).round().long()
