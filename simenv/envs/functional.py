"""Functional: a task as pure, batched, differentiable functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simenv.envs.task import Task, load_task
from simenv.errors import expect_shape
from simenv.mpm import Control, State
from simenv.mpm.parameters import Overrides
from simenv.registry import find


class Functional:
    """A task over N environments; holds no episode state of its own.

    Args:
        task_id: a registered id, or the path "module:Class" of a `Task`.
        num_envs: batch size N.
        device: "cpu", "cuda:0" or "auto".
        dtype: "float32", or "float64" for checks.
        threads: CPU threads; default all cores.
        options: the task's own options.
    """

    def __init__(
        self,
        task_id: str,
        *,
        num_envs: int = 1,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        **options: Any,
    ) -> None:
        task_id = task_id.removeprefix("simenv:")
        path = task_id if ":" in task_id else find(task_id).task
        self.task: Task = load_task(path, **options)
        self.simulator = self.task.scene.build(
            num_envs, device=device, dtype=dtype, threads=threads
        )
        self.task.bind(self.simulator)
        self._rest = self.simulator.initial_state()

    @property
    def num_envs(self) -> int:
        """Batch size N."""
        return self.simulator.num_envs

    @property
    def device(self) -> str:
        """Where the tensors live."""
        return self.simulator.device

    def initial(self, seed: int = 0) -> State:
        """Start states; environment i is drawn from seed + i."""
        return self.start([np.random.default_rng(seed + i) for i in range(self.num_envs)])

    def start(self, rngs: Sequence[np.random.Generator]) -> State:
        """As many start states as there are generators (at most N)."""
        return self.task.perturb(self._rest[: len(rngs)].clone(), rngs)

    def transition(
        self, state: State, action: Tensor, parameters: Overrides | None = None
    ) -> State:
        """The state one environment step later.

        Args:
            state: N environments.
            action: (N, A); clipped to [-1, 1], which stops the gradient outside.
            parameters: material parameters that replace the scene's (`Simulator.step`).

        Raises:
            ShapeError: a wrong shape.
        """
        return self.simulator.step(state, self.control(state, action), parameters)

    def control(self, state: State, action: Tensor) -> Control:
        """What an action (N, A) makes muscles and tools do."""
        return self.task.control(state, self._action(action))

    def observation(self, state: State) -> Tensor:
        """(N, O)."""
        return self.task.observe(state)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """(N,)."""
        return self.task.reward(state, self._action(action), after)

    def cost(self, state: State, action: Tensor, after: State) -> Tensor:
        """(N,), at least 0."""
        return self.task.cost(state, self._action(action), after)

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
