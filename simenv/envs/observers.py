"""Observers: what an environment shows of its state, as numbers, particles or pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from simenv.envs.points import evenly
from simenv.envs.task import OBSERVATION_BOUND
from simenv.errors import ConfigurationError
from simenv.mpm import State

if TYPE_CHECKING:
    from simenv.envs.functional import Functional

Observation = Tensor | dict[str, Tensor]

PARTICLES = 200
"""Most particles that a particle observation shows."""
PIXELS = (64, 128)
"""Height and width of a pixel observation."""


def each(f: Callable[[Any], Any], observation: Any) -> Any:
    """`f` of an observation, or of every entry of a dictionary of them."""
    if isinstance(observation, dict):
        return {name: f(value) for name, value in observation.items()}
    return f(observation)


class Observer(ABC):
    """Maps states to observations.

    Attributes:
        space: of one environment's observation.
    """

    space: spaces.Space[Any]

    @abstractmethod
    def __call__(self, state: State) -> Observation:
        """Observations of N environments."""


class Features(Observer):
    """The task's own numbers, with its goal behind them unless a goal variant carries that."""

    def __init__(self, functional: Functional, goal: bool) -> None:
        self.task = functional.task
        self.read = self.task.features if goal else self.task.observe
        self.space = self.task.observation_space if goal else _box(self.task.num_observations)

    def __call__(self, state: State) -> Tensor:
        """(N, O + G), or (N, O)."""
        return _bounded(self.read(state))


class Particles(Observer):
    """Positions and velocities of up to 200 particles, then pose and twist of every rigid body.

    Particles are chosen evenly by number and keep their places from step to step. Positions are
    relative to the middle of the domain, in units of half its longest edge.
    """

    def __init__(self, functional: Functional, goal: bool) -> None:
        self.task, simulator = functional.task, functional.simulator
        self.goal = goal and self.task.num_goals > 0
        scene, total = self.task.scene, simulator.num_particles
        self.shown = evenly(total, min(PARTICLES, total)).to(functional.device)
        like: dict[str, Any] = {"dtype": simulator.dtype, "device": functional.device}
        self.middle = torch.as_tensor(scene.size / 2, **like)
        self.scale = float(scene.size.max() / 2)
        rest = simulator.initial_state()
        rigid = rest.pose[0].numel() + rest.twist[0].numel()
        count = 2 * scene.dim * len(self.shown) + rigid + self.goal * self.task.num_goals
        self.space = _box(count)

    def __call__(self, state: State) -> Tensor:
        """(N, 2 d k + the rigid bodies' numbers (+ G))."""
        d = len(self.middle)
        x = (state.x[:, self.shown] - self.middle) / self.scale
        where = (state.pose[..., :d] - self.middle) / self.scale
        parts = [x, state.v[:, self.shown], where, state.pose[..., d:], state.twist]
        numbers = torch.cat([part.flatten(1) for part in parts], dim=1)
        goal = [self.task.goal_features(state)] if self.goal else []
        return _bounded(torch.cat([numbers, *goal], dim=1))


class Pixels(Observer):
    """A picture (64, 128, 3), uint8, as `render` draws it; without gradients."""

    def __init__(self, functional: Functional, goal: bool) -> None:
        from simenv.envs.picture import Painter

        if goal and functional.task.num_goals:
            raise ConfigurationError(
                "obs='pixels' does not show the goal of this task; use its goal variant"
            )
        self.painter = Painter(functional, width=PIXELS[1], height=PIXELS[0])
        self.space = spaces.Box(0, 255, (*PIXELS, 3), np.uint8)

    def __call__(self, state: State) -> Tensor:
        """(N, 64, 128, 3)."""
        frames = [self.painter.frame(state, None, index=i) for i in range(state.num_envs)]
        return torch.as_tensor(np.stack(frames), device=state.x.device)


class WithGoals(Observer):
    """The dictionary of a goal variant: observation, achieved_goal and desired_goal."""

    def __init__(self, functional: Functional, inner: Observer) -> None:
        self.task, self.inner = functional.task, inner
        goal = _box(self.task.num_goals)
        self.space = spaces.Dict(
            {"observation": inner.space, "achieved_goal": goal, "desired_goal": goal}
        )

    def __call__(self, state: State) -> dict[str, Tensor]:
        """Tensors (N, ·)."""
        seen = self.inner(state)
        assert isinstance(seen, Tensor)
        return {
            "observation": seen,
            "achieved_goal": _bounded(self.task.achieved_goal(state)),
            "desired_goal": self.task.desired_goal(state),
        }


OBSERVERS: dict[str, type[Features] | type[Particles] | type[Pixels]] = {
    "state": Features,
    "particles": Particles,
    "pixels": Pixels,
}


def make_observer(functional: Functional, obs: str, variant: str | None) -> Observer:
    """The observer of an `obs` option and a variant.

    Raises:
        ConfigurationError: no such observation.
    """
    if obs not in OBSERVERS:
        raise ConfigurationError(f"obs {obs!r} is not one of {list(OBSERVERS)}")
    inner = OBSERVERS[obs](functional, goal=variant != "goal")
    return WithGoals(functional, inner) if variant == "goal" else inner


def _box(count: int) -> spaces.Box:
    return spaces.Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, (count,), np.float32)


def _bounded(numbers: Tensor) -> Tensor:
    return torch.clamp(numbers, -OBSERVATION_BOUND, OBSERVATION_BOUND)
