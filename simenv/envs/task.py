"""Task: the scene, spaces, control, observation, reward and success of an environment.

Everything a task says about a state is plain torch on a batch, so what is trained on is what is
differentiated. `Functional`, `Env` and `VectorEnv` are its faces.
"""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from simenv.errors import ConfigurationError
from simenv.mpm import Control, Scene, Simulator, State

OBSERVATION_BOUND = 10.0
"""Observations are scaled to order one and clipped here, so that their space is bounded."""


class Task(ABC):
    """Base of all tasks.

    A subclass sets `scene` in its constructor and fills in the verbs below. Shapes: N
    environments, A actions, O observations; every tensor lives on the simulator's device.

    Attributes:
        scene: what is simulated.
        num_actions: A; actions are in [-1, 1].
        num_observations: O.
        horizon: environment steps per episode.
        sizes: accepted values of the `size` option.
    """

    sizes: ClassVar[tuple[str, ...]] = ("small", "full")
    num_actions: ClassVar[int]
    num_observations: ClassVar[int]
    horizon: ClassVar[int]
    scene: Scene

    def __init__(self, *, size: str = "small") -> None:
        if size not in self.sizes:
            raise ConfigurationError(f"size {size!r} is not one of {self.sizes}")
        self.size = size

    @property
    def action_space(self) -> spaces.Box:
        """Box(-1, 1) of shape (A,)."""
        return spaces.Box(-1.0, 1.0, (self.num_actions,), np.float32)

    @property
    def observation_space(self) -> spaces.Box:
        """Bounded Box of shape (O,)."""
        bound = OBSERVATION_BOUND
        return spaces.Box(-bound, bound, (self.num_observations,), np.float32)

    def bind(self, simulator: Simulator) -> None:
        """Prepare tensors that depend on the simulator (particle groups, say)."""
        self.simulator = simulator

    @abstractmethod
    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Start states: `rest` (len(rngs) environments) varied, each row by its own generator."""

    @abstractmethod
    def control(self, state: State, action: Tensor) -> Control:
        """What an action (N, A) in [-1, 1] does during the next step."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """Observation (N, O)."""

    @abstractmethod
    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Reward (N,) of the step from `state` to `after`."""

    @abstractmethod
    def success(self, state: State) -> Tensor:
        """Whether the task is done: bool (N,)."""

    def cost(self, state: State, action: Tensor, after: State) -> Tensor:
        """Safety cost (N,) of the step, at least 0; none by default."""
        return torch.zeros_like(after.x[:, 0, 0])

    def terminal(self, state: State) -> Tensor:
        """Whether the episode ends by its own rules: bool (N,); never by default."""
        return torch.zeros(state.num_envs, dtype=torch.bool, device=state.x.device)

    @abstractmethod
    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """What to draw of the first environment: see `simenv.envs.picture`."""


def load_task(path: str, **options: Any) -> Task:
    """Make the task at "module:Class".

    Raises:
        ConfigurationError: no such class, or an option it does not have.
    """
    module, _, name = path.partition(":")
    try:
        make: type[Task] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"no task at {path!r} ('module:Class'): {error}") from error
    known = list(inspect.signature(make).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise ConfigurationError(f"{name} has no option {unknown}; it has {known}")
    return make(**options)
