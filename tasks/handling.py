"""What tasks that handle soft matter with tools have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from simenv.mpm import State

Bound = Sequence[float] | np.ndarray
"""A corner of the room that a tool has."""


def jitter(like: Tensor, rngs: Sequence[np.random.Generator], reach: float) -> Tensor:
    """Displacements of up to `reach` along each axis, each row of `like` by its own generator."""
    drawn = np.stack([rng.uniform(-reach, reach, like.shape[1:]) for rng in rngs])
    return torch.as_tensor(drawn).to(like)


def jittered(rest: State, rngs: Sequence[np.random.Generator], reach: float) -> State:
    """Every particle moved by up to `reach` [m] along each axis (`jitter`)."""
    return rest.replace(x=rest.x + jitter(rest.x, rngs, reach))


def held_within(place: Tensor, velocity: Tensor, box: tuple[Bound, Bound], step: float) -> Tensor:
    """The velocity that a step from `place` may have without leaving a box.

    Args:
        place: of a tool [m], (N, d).
        velocity: wanted [m/s], (N, d).
        box: lower and upper corner [m], d numbers each.
        step: duration of a step [s].

    Returns:
        Velocity (N, d) [m/s]; one that stays within is left as it is.
    """
    lower, upper = (
        torch.as_tensor(corner, dtype=place.dtype, device=place.device) for corner in box
    )
    slowest, fastest = (lower - place) / step, (upper - place) / step
    return torch.minimum(torch.maximum(velocity, slowest), fastest)
