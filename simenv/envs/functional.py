"""Functional: a task as pure, batched, differentiable functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simenv.envs.observers import Observation, make_observer
from simenv.envs.start import Start
from simenv.envs.task import Task, load_task
from simenv.errors import ConfigurationError, expect_shape
from simenv.mpm import Control, State
from simenv.mpm.parameters import Overrides
from simenv.registry import face_of

VARIANTS = (None, "safe", "goal")
REWARDS = ("sparse", "dense")


class Functional:
    """A task over N environments; holds no episode state of its own.

    Args:
        task_id: a registered id, or the path "module:Class" of a `Task`.
        num_envs: batch size N.
        device: "cpu", "cuda:0" or "auto".
        dtype: "float32", or "float64" for checks.
        threads: CPU threads; default all cores.
        variant: None, "safe" or "goal"; a registered id says it by its name.
        obs: "state" (the task's own numbers), "particles" or "pixels" (see `observers.py`).
        reward_type: of a goal variant: "sparse" (0 where the goal is reached, else -1) or "dense"
            (minus the distance to it).
        options: the task's own options.

    Raises:
        UnknownTaskError: no such id.
        ConfigurationError: an option that does not exist, or outside its bounds.
    """

    def __init__(
        self,
        task_id: str,
        *,
        num_envs: int = 1,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        variant: str | None = None,
        obs: str = "state",
        reward_type: str = "sparse",
        **options: Any,
    ) -> None:
        face = face_of(task_id)
        self.variant, self.reward_type = face.get("variant", variant), reward_type
        self.task: Task = load_task(face["task"], **options)
        self._check_variant()
        self.simulator = self.task.scene.build(
            num_envs, device=device, dtype=dtype, threads=threads
        )
        self.task.bind(self.simulator)
        self.observer = make_observer(self, obs, self.variant)
        self._rest = self.simulator.initial_state()

    def _check_variant(self) -> None:
        if self.variant not in VARIANTS:
            raise ConfigurationError(f"variant {self.variant!r} is not one of {VARIANTS}")
        if self.reward_type not in REWARDS:
            raise ConfigurationError(f"reward_type {self.reward_type!r} is not one of {REWARDS}")
        if self.variant == "goal" and not self.task.num_goals:
            raise ConfigurationError(f"{type(self.task).__name__} has no goals, so no goal variant")

    @property
    def num_envs(self) -> int:
        """Batch size N."""
        return self.simulator.num_envs

    @property
    def device(self) -> str:
        """Where the tensors live."""
        return self.simulator.device

    def initial(self, seed: int = 0, start: Start | None = None) -> State:
        """Start states; environment i is drawn from seed + i, as `start` says."""
        rngs = [np.random.default_rng(seed + i) for i in range(self.num_envs)]
        return self.start(rngs, start)

    def start(
        self,
        rngs: Sequence[np.random.Generator],
        start: Start | None = None,
        goals: np.ndarray | None = None,
    ) -> State:
        """As many start states as there are generators (at most N); `goals` as in `Task.start`."""
        return self.task.start(self._rest[: len(rngs)].clone(), rngs, start or Start(), goals)

    def transition(
        self, state: State, action: Tensor, parameters: Overrides | None = None
    ) -> State:
        """The state one environment step later.

        Args:
            state: N environments.
            action: (N, A); clipped to [-1, 1], which stops the gradient outside.
            parameters: material parameters that replace the scene's, and those that the start
                drew (`Simulator.step`).

        Raises:
            ShapeError: a wrong shape.
        """
        return self.advance(state, self.control(state, action), parameters)

    def control(self, state: State, action: Tensor) -> Control:
        """What an action (N, A) makes muscles and tools do."""
        return self.task.control(state, self._action(action))

    def advance(self, state: State, control: Control, parameters: Overrides | None = None) -> State:
        """The state one environment step later, under a control; `parameters` as `transition`."""
        merged = dict(self.task.parameters(state))
        for body, values in (parameters or {}).items():
            merged[body] = {**merged.get(body, {}), **values}
        return self.simulator.step(state, control, merged)

    def observation(self, state: State) -> Observation:
        """(N, O), or what the `obs` option and the variant make of it."""
        return self.observer(state)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """(N,)."""
        if self.variant == "goal":
            achieved = self.task.achieved_goal(after)
            return self.goal_reward(achieved, self.task.desired_goal(after))
        return self.task.reward(state, self._action(action), after)

    def goal_reward(self, achieved: Tensor, desired: Tensor) -> Tensor:
        """Reward (...) of a goal variant where `achieved` (..., G) was reached for `desired`."""
        distance = self.task.goal_distance(achieved, desired)
        if self.reward_type == "dense":
            return -distance
        return -(distance > self.task.goal_tolerance).to(distance.dtype)

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """(N,) by name, each at least 0."""
        return self.task.costs(state, self._action(action), after)

    def cost(self, state: State, action: Tensor, after: State) -> Tensor:
        """(N,): all of `costs` together."""
        costs = self.costs(state, action, after).values()
        return sum(costs, torch.zeros_like(after.x[:, 0, 0]))

    def terminal(self, state: State) -> Tensor:
        """Bool (N,)."""
        return self.task.terminal(state)

    def success(self, state: State) -> Tensor:
        """Bool (N,)."""
        return self.task.success(state)

    def _action(self, action: Tensor) -> Tensor:
        expect_shape("action", action.shape, (self.num_envs, self.task.num_actions))
        action = action.to(dtype=self.simulator.dtype, device=self.device)
        return torch.clamp(action, -1.0, 1.0)
