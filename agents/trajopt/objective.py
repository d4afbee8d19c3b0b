"""What trajectory optimisation maximises, as the schemes say."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from agents.schemes import Schemes
from agents.trajopt.policies import Policy
from simenv.envs.points import chamfer
from simenv.envs.task import Task
from simenv.errors import ConfigurationError
from simenv.mpm import State


def check_schemes(schemes: Schemes, task: Task, policy: Policy | None = None) -> None:
    """Raise ConfigurationError for a switch that the task, or the policy, cannot serve."""
    if schemes.freeze and policy is not None and not policy.by_step:
        raise ConfigurationError(
            f"freeze = {schemes.freeze} keeps actions of single steps, and a parameter of this "
            f"{type(policy).__name__} has a say in several; use an open-loop or plan policy "
            "without knots, or freeze = 0"
        )
    if schemes.loss != "reward" and task.target_points() is None:
        raise ConfigurationError(
            f"{type(task).__name__} has no target points, so no {schemes.loss!r} loss; use "
            "loss='reward'"
        )
    if schemes.softness:
        _check_softness(schemes.softness, task)
    if schemes.attraction and not task.scene.tools:
        raise ConfigurationError(f"{type(task).__name__} has no tools to attract; use attraction=0")


def _check_softness(softness: float, task: Task) -> None:
    tools = [tool.softness for tool in task.scene.tools]
    if not tools:
        raise ConfigurationError(f"{type(task).__name__} has no tools to soften; use softness=0")
    if set(tools) != {softness}:
        raise ConfigurationError(
            f"softness = {softness:g} is built into a task's tools, and those of "
            f"{type(task).__name__} have {tools}: make it with "
            f"simenv.functional(…, softness={softness:g}), and let a hard one judge (judge=…)"
        )


def gain(schemes: Schemes, task: Task, reward: Tensor, after: State) -> Tensor:
    """What a step adds to the objective, (N,): the larger the better."""
    value = reward if schemes.loss == "reward" else -distance(schemes.loss, task, after)
    return value - schemes.attraction * task.attraction(after) if schemes.attraction else value


def distance(kind: str, task: Task, state: State) -> Tensor:
    """Distance [m] of the particles to the task's target points, (N,).

    "chamfer": mean distance to the nearest, both ways; "pointwise": root mean square of each to
    its own.
    """
    target = task.target_points()
    assert target is not None
    x = state.x[:, task.target_particles()]
    target = target.to(x).expand(x.shape[0], -1, -1)
    if kind == "pointwise":
        # A norm, whose slope is finite where all points are in their places.
        return torch.linalg.vector_norm((x - target).flatten(1), dim=1) / math.sqrt(x.shape[1])
    return chamfer(x, target)


class LossWindow:
    """How many steps count: `loss_start` at first, more whenever the loss stands still.

    Attributes:
        steps: of the present window.
    """

    def __init__(self, schemes: Schemes, horizon: int) -> None:
        self.schemes, self.horizon = schemes, horizon
        self.steps = min(schemes.loss_start or horizon, horizon)
        self._before = 0
        self._best: float | None = None
        self._stale = 0

    @property
    def frozen(self) -> int:
        """Steps at the beginning whose actions are kept, all of which an earlier window moved."""
        if not self.schemes.freeze:
            return 0
        return max(0, min(self._before, self.steps - self.schemes.freeze))

    def see(self, objective: float) -> bool:
        """Take note of an iteration's objective over the present window; whether that grows.

        One that is not finite, as every set broke, says nothing.
        """
        if not math.isfinite(objective):
            return False
        least = self.schemes.min_gain
        if self._best is None or objective - self._best > least * abs(self._best):
            self._best, self._stale = objective, 0
        else:
            # The best stays, so that small gains add up to one that counts, or to none.
            self._stale += 1
        if self._stale < self.schemes.patience or self.steps >= self.horizon:
            return False
        self._before = self.steps
        self.steps = min(self.steps + self.schemes.loss_growth, self.horizon)
        self._best, self._stale = None, 0
        return True
