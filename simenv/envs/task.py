"""Task: the scene, spaces, control, observation, reward and success of an environment.

Everything a task says about a state is plain torch on a batch, so what is trained on is what is
differentiated. `Functional`, `Env` and `VectorEnv` are its faces.
"""

from __future__ import annotations

import importlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from simenv.envs.points import between
from simenv.envs.start import Start
from simenv.errors import ConfigurationError, ShapeError
from simenv.mpm import Control, Scene, Simulator, State
from simenv.mpm.parameters import Overrides

OBSERVATION_BOUND = 10.0
"""Observations are scaled to order one and clipped here, so that their space is bounded."""


class Task(ABC):
    """Base of all tasks.

    A subclass sets `scene` in its constructor and fills in the verbs below. Shapes: N
    environments, A actions, O observations, G numbers of a goal; every tensor lives on the
    simulator's device. One class serves all variants of an id: `costs` those with "-Safe", the
    goal methods those with "-Goal".

    Args:
        size: one of `sizes`.
        softness: k [1/m] of the contact of the task's tools, which smooths gradients
            (`Scene.add_tool`); 0 is hard contact.

    Attributes:
        scene: what is simulated.
        num_actions: A; actions are in [-1, 1].
        num_observations: O, the goal of a task that has one not counted.
        num_goals: G; 0 for a task without goals.
        goal_tolerance: distance between achieved and desired goal [unit of the goal] that counts
            as reached.
        goal_low: lower corner (G,) of the box that holds all goals, for agents that choose goals
            themselves (`agents.goals`); empty where a box says nothing about them.
        goal_high: its upper corner (G,).
        cost_names: what the safe variant counts.
        pose_range: how far `Start.pose` moves the bodies along each axis [m].
        material_ranges: factors that `Start.material` draws, by name of a parameter ("E") of all
            bodies that have it, or of one body ("torso.E").
        horizon: environment steps per episode.
        sizes: accepted values of the `size` option.
    """

    sizes: ClassVar[tuple[str, ...]] = ("small", "full")
    num_actions: ClassVar[int]
    num_observations: ClassVar[int]
    num_goals: ClassVar[int] = 0
    goal_tolerance: ClassVar[float] = 0.0
    goal_low: ClassVar[tuple[float, ...]] = ()
    goal_high: ClassVar[tuple[float, ...]] = ()
    cost_names: ClassVar[tuple[str, ...]] = ()
    pose_range: ClassVar[tuple[float, ...]] = ()
    material_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    horizon: ClassVar[int]
    scene: Scene

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        if size not in self.sizes:
            raise ConfigurationError(f"size {size!r} is not one of {self.sizes}")
        if not (math.isfinite(softness) and softness >= 0.0):
            raise ConfigurationError(f"softness = {softness} [1/m] must be finite and >= 0")
        self.size, self.softness = size, softness

    @property
    def action_space(self) -> spaces.Box:
        """Box(-1, 1) of shape (A,)."""
        return spaces.Box(-1.0, 1.0, (self.num_actions,), np.float32)

    @property
    def num_features(self) -> int:
        """O + G."""
        return self.num_observations + self.num_goals

    @property
    def observation_space(self) -> spaces.Box:
        """Bounded Box of shape (O + G,): the task's own numbers, then its goal."""
        bound = OBSERVATION_BOUND
        return spaces.Box(-bound, bound, (self.num_features,), np.float32)

    def features(self, state: State) -> Tensor:
        """Observation (N, O + G) within `observation_space`."""
        parts = [self.observe(state), self.goal_features(state)]
        return torch.clamp(torch.cat(parts, dim=1), -OBSERVATION_BOUND, OBSERVATION_BOUND)

    def bind(self, simulator: Simulator) -> None:
        """Prepare tensors that depend on the simulator (particle groups, say)."""
        self.simulator = simulator

    # ------------------------------------------------------------------ the verbs

    @abstractmethod
    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Start states: `rest` (len(rngs) environments) varied, each row by its own generator."""

    @abstractmethod
    def control(self, state: State, action: Tensor) -> Control:
        """What an action (N, A) in [-1, 1] does during the next step."""

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """Observation (N, O), without the goal."""

    @abstractmethod
    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Reward (N,) of the step from `state` to `after`."""

    @abstractmethod
    def success(self, state: State) -> Tensor:
        """Whether the task is done: bool (N,)."""

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Safety costs (N,) of the step, at least 0, for each of `cost_names`; none by default."""
        return {}

    def terminal(self, state: State) -> Tensor:
        """Whether the episode ends by its own rules: bool (N,); never by default."""
        return torch.zeros(state.num_envs, dtype=torch.bool, device=state.x.device)

    def target_points(self) -> Tensor | None:
        """Where the material should be, points (M, d) [m]; None: the task has no such picture."""
        return None

    def target_particles(self) -> slice:
        """The particles that should be there."""
        return slice(None)

    def attraction(self, state: State) -> Tensor:
        """Mean distance (N,) [m] of the tools to the particle nearest to each."""
        tools = [i for i, rigid in enumerate(self.scene.rigids) if not rigid.free]
        places = state.pose[:, tools, : self.scene.dim]
        return between(places, state.x[:, self.target_particles()]).amin(dim=2).mean(dim=1)

    def script(self, state: State, t: int) -> Tensor | None:
        """Action (N, A) of a hand-written controller that does the task; None: there is none."""
        return None

    @abstractmethod
    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """What to draw of the first environment: see `simenv.envs.picture`."""

    # ------------------------------------------------------------------ goals

    def draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        """A goal (G,) at random; of a task with goals."""
        return np.zeros(0)

    def middle_goal(self) -> np.ndarray:
        """The goal (G,) of a start that draws none."""
        return np.zeros(0)

    def achieved_goal(self, state: State) -> Tensor:
        """What has been achieved, in the terms of the goal, (N, G)."""
        return state.context[:, :0]

    def desired_goal(self, state: State) -> Tensor:
        """The goal of each environment, (N, G)."""
        return state.context[:, : self.num_goals]

    def goal_distance(self, achieved: Tensor, desired: Tensor) -> Tensor:
        """How far apart two goals (..., G) are: (...), in the unit of the goal."""
        return torch.linalg.vector_norm(achieved - desired, dim=-1)

    def goal_features(self, state: State) -> Tensor:
        """The goal as the observation carries it, (N, G), of order one."""
        return self.desired_goal(state)

    # ------------------------------------------------------------------ starts

    def start(
        self,
        rest: State,
        rngs: Sequence[np.random.Generator],
        options: Start,
        goals: np.ndarray | None = None,
    ) -> State:
        """Start states (n environments, one per generator), each from its own generator.

        Args:
            rest: n environments at rest.
            rngs: n generators.
            options: what is drawn and what is given.
            goals: (n, G) that take the place of those in the options.

        Raises:
            ConfigurationError: an option that the task does not have, or outside its bounds.
        """
        chosen = [options] * len(rngs) if goals is None else [options.aim(g) for g in goals]
        context = np.stack([self._context(o, rng) for o, rng in zip(chosen, rngs, strict=True)])
        state = rest.replace(context=torch.as_tensor(context).to(rest.x))
        state = self.perturb(state, rngs)
        if options.pose:
            state = self.shift(state, self._offsets(rngs))
        return state.replace(context=torch.cat([state.context, self.remember(state)], dim=1))

    def remember(self, state: State) -> Tensor:
        """Numbers of the start (n, K) that the task needs later (`remembered`); none by default."""
        return state.context[:, :0]

    def remembered(self, state: State) -> Tensor:
        """What `remember` noted at the start, (N, K)."""
        return state.context[:, self.num_goals + len(self.material_ranges) :]

    def shift(self, state: State, offset: Tensor) -> State:
        """Bodies and free rigid bodies moved by `offset` (n, d) [m]; tools stay."""
        pose = state.pose.clone()
        free = [i for i, rigid in enumerate(self.scene.rigids) if rigid.free]
        pose[:, free, : self.scene.dim] += offset[:, None]
        return state.replace(x=state.x + offset[:, None], pose=pose)

    def parameters(self, state: State) -> Overrides:
        """Material parameters of each environment, where any differs from the scene's."""
        factors = state.context[:, self.num_goals :][:, : len(self.material_ranges)].detach()
        if not self.material_ranges or bool((factors == 1.0).all()):
            return {}
        overrides: dict[str, dict[str, Tensor]] = {}
        for name, factor in zip(self.material_ranges, factors.T, strict=True):
            owner, _, parameter = name.rpartition(".")
            for body in self.scene.bodies:
                values = body.material.values()
                if parameter in values and owner in ("", body.name):
                    overrides.setdefault(body.name, {})[parameter] = factor * float(
                        values[parameter]
                    )
        return overrides

    def _context(self, options: Start, rng: np.random.Generator) -> np.ndarray:
        """Goal and material factors of one environment."""
        factors = options.factors(self.material_ranges, rng)
        return np.concatenate([self._goal(options, rng), factors])

    def _goal(self, options: Start, rng: np.random.Generator) -> np.ndarray:
        if isinstance(options.target, (bool, np.bool_)):
            return self.draw_goal(rng) if options.target else self.middle_goal()
        try:
            goal = np.asarray(options.target, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"reset option target = {options.target!r} must be True, False or "
                f"{self.num_goals} numbers: {error}"
            ) from error
        if goal.shape != (self.num_goals,) or not np.all(np.isfinite(goal)):
            raise ShapeError(
                f"reset option target = {goal.tolist()} must hold {self.num_goals} finite numbers"
            )
        return goal

    def _offsets(self, rngs: Sequence[np.random.Generator]) -> Tensor:
        if not self.pose_range:
            raise ConfigurationError(
                f"{type(self).__name__} has no pose_range; leave reset option pose at False"
            )
        reach = np.asarray(self.pose_range)
        return torch.as_tensor(
            np.stack([rng.uniform(-reach, reach) for rng in rngs]),
            dtype=self.simulator.dtype,
            device=self.simulator.device,
        )


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
