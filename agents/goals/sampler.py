"""GoalSampler: who chooses the goals of training episodes; uniform goals as the plain case."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from simenv.envs.task import load_task
from simenv.errors import ConfigurationError, expect_shape
from simenv.registry import face_of

MOST_NUMBERS = 6
"""Goals of more numbers than this are not sampled from a box."""


@dataclass(frozen=True)
class GoalBox:
    """The box that holds all goals of a task.

    Attributes:
        low: lower corner (G,) [unit of the goal].
        high: upper corner (G,).

    Raises:
        ConfigurationError: corners that are not finite, not in order, or too many numbers.
    """

    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        low, high = (np.asarray(corner, dtype=np.float64) for corner in (self.low, self.high))
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if low.ndim != 1 or not len(low):
            raise ConfigurationError(f"low must hold at least one number, not shape {low.shape}")
        expect_shape("upper corner of the goals' box", high.shape, low.shape)
        if not (np.isfinite([low, high]).all() and (low < high).all()):
            raise ConfigurationError(
                f"low = {low.tolist()} must be finite and below high = {high.tolist()}"
            )
        if len(low) > MOST_NUMBERS:
            raise ConfigurationError(
                f"goals of {len(low)} numbers are too many to sample (at most {MOST_NUMBERS}); "
                "let the task draw them (goals='task')"
            )

    @classmethod
    def of(cls, task_id: str, **options: Any) -> GoalBox:
        """The box of a task's goals; `options` are the task's own.

        Raises:
            ConfigurationError: the task has no goals, or no box says where they are.
        """
        task = load_task(face_of(task_id)["task"], **options)
        name = type(task).__name__
        if not task.num_goals:
            raise ConfigurationError(f"{name} has no goals; take a '-Goal' id")
        if not task.goal_low:
            raise ConfigurationError(
                f"{name} has goals of {task.num_goals} numbers that no box describes, so they "
                "cannot be sampled from one; let the task draw them (goals='task')"
            )
        return cls(np.asarray(task.goal_low), np.asarray(task.goal_high))

    @property
    def num_goals(self) -> int:
        """G."""
        return len(self.low)

    def to_unit(self, goals: np.ndarray) -> np.ndarray:
        """Goals (..., G) with the box as [-1, 1]."""
        return (np.asarray(goals) - self.low) * (2.0 / (self.high - self.low)) - 1.0

    def from_unit(self, units: np.ndarray) -> np.ndarray:
        """The inverse of `to_unit`."""
        return self.low + (np.asarray(units) + 1.0) * ((self.high - self.low) / 2.0)


class Episode(NamedTuple):
    """What a sampler learns from one finished episode.

    Attributes:
        initial: achieved goal (G,) at its start.
        desired: its goal (G,).
        achieved: achieved goals (T, G) after each step.
        success: whether the goal was held at the last step.
    """

    initial: np.ndarray
    desired: np.ndarray
    achieved: np.ndarray
    success: bool


class GoalSampler(ABC):
    """Chooses the goals of episodes; knows nothing of the agent that pursues them."""

    @abstractmethod
    def draw(self, count: int) -> np.ndarray:
        """Goals (count, G) for as many episodes."""

    def observe(self, episode: Episode) -> None:  # noqa: B027 (a sampler need not learn)
        """Take note of a finished episode; ignored by default."""

    def advance(self, steps: int) -> None:  # noqa: B027
        """So many environment steps, over all environments, have been taken since the last call."""

    @abstractmethod
    def get_state(self) -> dict[str, Any]:
        """Everything that the coming draws depend on."""

    @abstractmethod
    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""


class UniformGoals(GoalSampler):
    """Goals evenly from the whole box, reachable or not.

    Args:
        box: where goals are.
        seed: of the draws.
    """

    def __init__(self, box: GoalBox, *, seed: int = 0) -> None:
        self.box = box
        self._rng = np.random.default_rng(seed)

    def draw(self, count: int) -> np.ndarray:
        """Evenly distributed goals (count, G)."""
        return self._rng.uniform(self.box.low, self.box.high, (count, self.box.num_goals))

    def get_state(self) -> dict[str, Any]:
        """The generator's."""
        return {"generator": self._rng.bit_generator.state}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self._rng.bit_generator.state = state["generator"]
