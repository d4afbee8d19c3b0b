"""Spaces as plain values, and the environment that has nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from simenv.errors import ConfigurationError


class Spaces(VecEnv):
    """An environment with spaces and nothing else, for an agent that is loaded to predict."""

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        self.render_mode = None
        super().__init__(1, observation_space, action_space)

    def _absent(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ConfigurationError("this agent was loaded without an environment: load(path, env=…)")

    reset = step_async = step_wait = env_method = _absent
    set_attr = _absent

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The render mode, which the base class asks for; nothing else is there."""
        return [getattr(self, attr_name)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing is wrapped."""
        return [False]

    def close(self) -> None:
        """Nothing to release."""


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A Box, Dict or Discrete space as plain values and arrays.

    Raises:
        ConfigurationError: a space of another kind.
    """
    if isinstance(space, spaces.Box):
        bounds = {"low": np.asarray(space.low), "high": np.asarray(space.high)}
        return {"kind": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **bounds}
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "spaces": {k: describe_space(s) for k, s in space.items()}}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    raise ConfigurationError(f"{space} cannot be saved; Box, Dict and Discrete spaces can")


def space_from(saved: Mapping[str, Any]) -> spaces.Space[Any]:
    """The space that `describe_space` described."""
    if saved["kind"] == "Box":
        return spaces.Box(saved["low"], saved["high"], dtype=np.dtype(saved["dtype"]).type)
    if saved["kind"] == "Dict":
        return spaces.Dict({name: space_from(s) for name, s in saved["spaces"].items()})
    return spaces.Discrete(saved["n"], start=saved["start"])


def same(one: Any, other: Any) -> bool:
    """Whether two descriptions are alike, arrays included."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


def show_space(described: Any) -> str:
    """A description for people; anything else as it prints."""
    return str(space_from(described)) if isinstance(described, Mapping) else str(described)


def to_unit(actions: Any, space: spaces.Box) -> np.ndarray:
    """Actions (…, A) of a space as float32 in [-1, 1]; those outside its bounds are clipped."""
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    scaled = 2.0 * (np.asarray(actions, np.float64) - low) / (high - low) - 1.0
    return np.clip(scaled, -1.0, 1.0).astype(np.float32)


def from_unit(actions: np.ndarray, space: spaces.Box) -> np.ndarray:
    """Actions (…, A) in [-1, 1] in the units of a space."""
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    scaled = low + 0.5 * (np.clip(actions, -1.0, 1.0).astype(np.float64) + 1.0) * (high - low)
    return scaled.astype(space.dtype)
