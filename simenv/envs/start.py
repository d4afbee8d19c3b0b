"""How an episode starts: what of pose, material and target is drawn at random, what is given."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from simenv.errors import ConfigurationError


@dataclass(frozen=True)
class Start:
    """Reset options that every task understands.

    Attributes:
        pose: True moves the bodies by up to the task's `pose_range`; False leaves the small
            disturbance that every start has.
        material: True draws every factor of the task's `material_ranges`; a mapping of their names
            to factors sets them, those left out being 1; False leaves the materials as they are.
        target: True draws the goal of a task that has one; an array (G,) sets it; False takes the
            task's own middle goal.
    """

    pose: bool = False
    material: bool | Mapping[str, float] = False
    target: bool | Sequence[float] | np.ndarray = True

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> Start:
        """From reset options; "reset_mask" belongs to the vector environment and is left alone.

        Raises:
            ConfigurationError: an option that does not exist, or one of the wrong kind.
        """
        known = [field.name for field in fields(cls)]
        given = {k: v for k, v in (options or {}).items() if k != "reset_mask"}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"options are {known}"
                raise ConfigurationError(f"unknown reset option {name!r}; {hint}")
        start = cls(**given)
        if not isinstance(start.pose, (bool, np.bool_)):
            raise ConfigurationError(f"reset option pose = {start.pose!r} must be True or False")
        if not isinstance(start.material, (bool, np.bool_, Mapping)):
            raise ConfigurationError(
                f"reset option material = {start.material!r} must be True, False or a mapping of "
                "names to factors"
            )
        return start

    @property
    def draws_goal(self) -> bool:
        """Whether the goal is drawn, neither given nor the middle one."""
        return isinstance(self.target, (bool, np.bool_)) and bool(self.target)

    def aim(self, target: np.ndarray) -> Start:
        """The same with another goal (G,)."""
        return replace(self, target=target)

    def plain(self) -> dict[str, Any]:
        """As reset options of plain numbers, lists and dictionaries."""
        target = self.target
        return {
            "pose": bool(self.pose),
            "material": dict(self.material)
            if isinstance(self.material, Mapping)
            else bool(self.material),
            "target": bool(target)
            if isinstance(target, (bool, np.bool_))
            else np.asarray(target, dtype=float).tolist(),
        }

    def factors(
        self, ranges: Mapping[str, tuple[float, float]], rng: np.random.Generator
    ) -> list[float]:
        """Factor of every material parameter in `ranges`; drawn evenly in their logarithms."""
        if isinstance(self.material, Mapping):
            return self._given_factors(self.material, ranges)
        if not self.material:
            return [1.0] * len(ranges)
        if not ranges:
            raise ConfigurationError("this task has no material_ranges to draw materials from")
        return [float(np.exp(rng.uniform(np.log(a), np.log(b)))) for a, b in ranges.values()]

    @staticmethod
    def _given_factors(
        given: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
    ) -> list[float]:
        if unknown := sorted(set(given) - set(ranges)):
            raise ConfigurationError(
                f"reset option material names no parameter {unknown}; it may name {list(ranges)}"
            )
        for name, factor in given.items():
            if not (np.isfinite(factor) and factor > 0):
                raise ConfigurationError(f"material factor {name!r} = {factor} must be > 0")
        return [float(given.get(name, 1.0)) for name in ranges]
