"""Shapes with round faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.checks import check_length, check_same_dim, checked_vector
from simenv.mpm.shapes.frames import frame_along

RIM_POINTS = 16
"""Contact points on each rim of a cylinder."""
MOST_BALLS = 17
"""Contact balls along a capsule, at most."""


@dataclass(frozen=True)
class Sphere(Shape):
    """Ball (disc in 2-D) with `center` and `radius` [m]."""

    center: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        checked_vector("Sphere center", self.center)
        check_length("Sphere radius", self.radius)

    @property
    def dim(self) -> int:
        return len(self.center)

    def sdf(self, x: Array) -> Array:
        return np.linalg.norm(x - np.asarray(self.center, float), axis=-1) - self.radius

    def support(self, direction: Array) -> float:
        return float(direction @ self.center) + self.radius

    def radius_about(self, point: Array) -> float:
        return float(np.linalg.norm(np.asarray(self.center) - point)) + self.radius

    def mass_properties(self) -> MassProperties:
        r, center = self.radius, np.asarray(self.center, float)
        if self.dim == 2:
            area = math.pi * r * r
            return MassProperties(area, center, area * r * r / 2 * np.eye(1))
        volume = 4.0 / 3.0 * math.pi * r**3
        return MassProperties(volume, center, 0.4 * volume * r * r * np.eye(3))

    def contact_points(self) -> Array:
        """The sphere itself."""
        return np.array([[*self.center, self.radius]], dtype=np.float64)


@dataclass(frozen=True)
class _Rod(Shape):
    """A solid of revolution about the segment from `start` to `end` [m]."""

    start: Sequence[float]
    end: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        name = type(self).__name__
        checked_vector(f"{name} start", self.start)
        checked_vector(f"{name} end", self.end)
        check_same_dim(name, start=self.start, end=self.end)
        check_length(f"{name} radius", self.radius)

    @property
    def dim(self) -> int:
        return len(self.start)

    @property
    def length(self) -> float:
        """Length of the segment [m]."""
        return float(np.linalg.norm(self._ends[1] - self._ends[0]))

    @property
    def axis(self) -> Array:
        """Unit vector (d,) from start to end; along y where they coincide."""
        along = self._ends[1] - self._ends[0]
        return along / self.length if self.length > 0.0 else np.eye(self.dim)[1]

    @property
    def _ends(self) -> Array:
        return np.asarray([self.start, self.end], float)

    @property
    def _middle(self) -> Array:
        return self._ends.mean(axis=0)

    def _inertia(self, about_axis: float, across: float) -> Array:
        """(3, 3) of a solid of revolution, from its moments about the axis and across it."""
        along = np.outer(self.axis, self.axis)
        return across * (np.eye(3) - along) + about_axis * along


@dataclass(frozen=True)
class Capsule(_Rod):
    """All points within `radius` [m] of the segment from `start` to `end` [m]."""

    def sdf(self, x: Array) -> Array:
        start = self._ends[0]
        axis = self._ends[1] - start
        along = np.clip(((x - start) @ axis) / max(axis @ axis, 1e-300), 0.0, 1.0)
        return np.linalg.norm(x - start - along[..., None] * axis, axis=-1) - self.radius

    def support(self, direction: Array) -> float:
        return float(np.max(self._ends @ direction)) + self.radius

    def radius_about(self, point: Array) -> float:
        return float(np.max(np.linalg.norm(self._ends - point, axis=1))) + self.radius

    def mass_properties(self) -> MassProperties:
        """Sums over the middle part and, by the parallel axis theorem, the two round ends."""
        r, h = self.radius, self.length
        if self.dim == 2:
            area = math.pi * r * r + 2 * r * h
            ends = math.pi * r * r * (r * r / 2 + h * h / 4) + 4 * h * r**3 / 3
            polar = 2 * r * h * (h * h + 4 * r * r) / 12 + ends
            return MassProperties(area, self._middle, np.array([[polar]]))
        bar, ends = math.pi * r * r * h, 4 / 3 * math.pi * r**3
        about_axis = bar * r * r / 2 + ends * 0.4 * r * r
        across = bar * (h * h / 12 + r * r / 4)
        across += ends * (0.4 * r * r + h * h / 4 + 3 * h * r / 8)
        volume = math.pi * r * r * (h + 4 * r / 3)
        return MassProperties(volume, self._middle, self._inertia(about_axis, across))

    def contact_points(self) -> Array:
        """Balls along the segment, its ends among them, at most a radius apart unless too many."""
        count = min(MOST_BALLS, 1 + math.ceil(self.length / self.radius))
        centers = np.linspace(self._ends[0], self._ends[1], count)
        return np.pad(centers, ((0, 0), (0, 1)), constant_values=self.radius)


@dataclass(frozen=True)
class Cylinder(_Rod):
    """All points of space within `radius` [m] of the segment, beyond neither of its ends."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim != 3:
            raise ConfigurationError(f"{self} is {self.dim}-D, a Cylinder is 3-D; use a Box in 2-D")
        check_length("Cylinder length", self.length)

    def sdf(self, x: Array) -> Array:
        r = x - self._middle
        along = r @ self.axis
        across = np.linalg.norm(r - along[..., None] * self.axis, axis=-1)
        q = np.stack([across - self.radius, np.abs(along) - self.length / 2], axis=-1)
        outside = np.linalg.norm(np.maximum(q, 0.0), axis=-1)
        return outside + np.minimum(np.max(q, axis=-1), 0.0)

    def support(self, direction: Array) -> float:
        across = math.sqrt(max(0.0, 1.0 - float(self.axis @ direction) ** 2))
        return float(np.max(self._ends @ direction)) + self.radius * across

    def radius_about(self, point: Array) -> float:
        r = point - self._middle
        along = float(r @ self.axis)
        across = float(np.linalg.norm(r - along * self.axis))
        return math.hypot(across + self.radius, abs(along) + self.length / 2)

    def mass_properties(self) -> MassProperties:
        r, h = self.radius, self.length
        volume = math.pi * r * r * h
        inertia = self._inertia(volume * r * r / 2, volume * (3 * r * r + h * h) / 12)
        return MassProperties(volume, self._middle, inertia)

    def contact_points(self) -> Array:
        """Points of the two rims and the middles of the two ends."""
        angle = np.arange(RIM_POINTS) * (2 * math.pi / RIM_POINTS)
        spokes = np.stack([np.cos(angle), np.zeros(RIM_POINTS), np.sin(angle)], axis=1)
        rim = self.radius * spokes @ frame_along(self.axis).T
        rims = (self._ends[:, None] + rim).reshape(-1, 3)
        return np.pad(np.concatenate([rims, self._ends]), ((0, 0), (0, 1)))
