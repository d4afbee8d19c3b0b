"""Episodes played step by step, without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from simenv.envs.functional import Functional
from simenv.envs.start import Start
from simenv.mpm import State

if TYPE_CHECKING:
    from agents.controllers import Player


class Step(NamedTuple):
    """A step of N environments.

    Attributes:
        t: its number, from 0.
        state: before it.
        action: (N, A), in [-1, 1].
        after: the state after it.
        reward: (N,).
    """

    t: int
    state: State
    action: Tensor
    after: State
    reward: Tensor


@torch.no_grad()
def episode(
    functional: Functional, player: Player, seed: int, start: Start | None = None
) -> Iterator[Step]:
    """Steps of an episode as they are played, up to the horizon.

    An end that is the task's own, and a step that broke, are for the caller to see.

    Args:
        functional: the task.
        player: (state, t) -> action (N, A), which is clipped.
        seed: of environment 0; environment i starts from seed + i.
        start: what is drawn of the start and what is given; None: as the task starts.
    """
    state = functional.initial(seed, start)
    for t in range(functional.task.horizon):
        action = player(state, t).clamp(-1.0, 1.0)
        after = functional.transition(state, action)
        yield Step(t, state, action, after, functional.reward(state, action, after))
        state = after
