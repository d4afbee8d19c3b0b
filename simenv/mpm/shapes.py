"""Geometry: from shapes to particles, and signed distances.

A shape samples itself on a regular lattice. Its particles share its exact volume, so that a
body's mass is ρ V to rounding, whatever the spacing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simenv.errors import ConfigurationError

Array = NDArray[np.float64]


class Shape(ABC):
    """A solid region of the plane or of space; lengths in metres."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """2 or 3."""

    @property
    @abstractmethod
    def volume(self) -> float:
        """Exact volume [m³], area [m²] in 2-D."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper corner [m] of the axis-aligned bounding box, each (d,)."""

    @abstractmethod
    def sdf(self, x: Array) -> Array:
        """Signed distance [m], negative inside. `x` (..., d) gives (...)."""

    def particles(self, spacing: float) -> Array:
        """Positions (P, d) [m] of a lattice of about `spacing` [m] inside the shape.

        Raises:
            ConfigurationError: the spacing is not positive, or too coarse for one particle.
        """
        if not (math.isfinite(spacing) and spacing > 0.0):
            raise ConfigurationError(f"particle spacing {spacing} [m] must be finite and > 0")
        inside = self._lattice_inside(spacing)
        if len(inside) == 0:
            enough = spacing / 2
            while len(self._lattice_inside(enough)) == 0:
                enough /= 2
            raise ConfigurationError(
                f"{self} holds no particle at spacing {spacing} [m]; use at most {enough:.6g}"
            )
        return inside

    def _lattice_inside(self, spacing: float) -> Array:
        lattice = _lattice(*self.bounds, spacing)
        return lattice[self.sdf(lattice) < 0.0]


def _lattice(lower: Array, upper: Array, spacing: float) -> Array:
    """Cell-centred points (P, d), the spacing adjusted to divide each edge evenly."""
    axes = []
    for a, b in zip(lower, upper, strict=True):
        n = max(1, round((b - a) / spacing))
        axes.append(a + (np.arange(n) + 0.5) * (b - a) / n)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(lower))


def _vector(name: str, value: Sequence[float]) -> Array:
    v = np.asarray(value, dtype=np.float64)
    if v.ndim != 1 or len(v) not in (2, 3) or not np.all(np.isfinite(v)):
        raise ConfigurationError(f"{name} = {value} must hold 2 or 3 finite numbers [m]")
    return v


def _length(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ConfigurationError(f"{name} = {value} [m] must be finite and > 0")


@dataclass(frozen=True)
class Box(Shape):
    """Axis-aligned box (rectangle in 2-D) with `center` and edge lengths `size` [m]."""

    center: Sequence[float]
    size: Sequence[float]

    def __post_init__(self) -> None:
        center, size = _vector("Box center", self.center), _vector("Box size", self.size)
        if len(center) != len(size):
            raise ConfigurationError(f"Box center {self.center} and size {self.size} differ in d")
        for edge in size:
            _length("Box size", float(edge))

    @property
    def dim(self) -> int:
        return len(self.center)

    @property
    def volume(self) -> float:
        return float(np.prod(self.size))

    @property
    def bounds(self) -> tuple[Array, Array]:
        center, half = np.asarray(self.center, float), np.asarray(self.size, float) / 2
        return center - half, center + half

    def sdf(self, x: Array) -> Array:
        lower, upper = self.bounds
        q = np.abs(x - (lower + upper) / 2) - (upper - lower) / 2
        outside = np.linalg.norm(np.maximum(q, 0.0), axis=-1)
        return outside + np.minimum(np.max(q, axis=-1), 0.0)


@dataclass(frozen=True)
class Capsule(Shape):
    """All points within `radius` [m] of the segment from `start` to `end` [m]."""

    start: Sequence[float]
    end: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        start, end = _vector("Capsule start", self.start), _vector("Capsule end", self.end)
        if len(start) != len(end):
            raise ConfigurationError(f"Capsule start {self.start} and end {self.end} differ in d")
        _length("Capsule radius", self.radius)

    @property
    def dim(self) -> int:
        return len(self.start)

    @property
    def length(self) -> float:
        """Length of the inner segment [m]."""
        return float(np.linalg.norm(np.asarray(self.end, float) - np.asarray(self.start, float)))

    @property
    def volume(self) -> float:
        r, h = self.radius, self.length
        if self.dim == 2:
            return math.pi * r * r + 2 * r * h
        return math.pi * r * r * (h + 4 * r / 3)

    @property
    def bounds(self) -> tuple[Array, Array]:
        ends = np.asarray([self.start, self.end], float)
        return ends.min(axis=0) - self.radius, ends.max(axis=0) + self.radius

    def sdf(self, x: Array) -> Array:
        start = np.asarray(self.start, float)
        axis = np.asarray(self.end, float) - start
        along = np.clip(((x - start) @ axis) / max(axis @ axis, 1e-300), 0.0, 1.0)
        return np.linalg.norm(x - start - along[..., None] * axis, axis=-1) - self.radius


@dataclass(frozen=True)
class Sphere(Shape):
    """Ball (disc in 2-D) with `center` and `radius` [m]."""

    center: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        _vector("Sphere center", self.center)
        _length("Sphere radius", self.radius)

    @property
    def dim(self) -> int:
        return len(self.center)

    @property
    def volume(self) -> float:
        r = self.radius
        return math.pi * r * r if self.dim == 2 else 4.0 / 3.0 * math.pi * r**3

    @property
    def bounds(self) -> tuple[Array, Array]:
        center = np.asarray(self.center, float)
        return center - self.radius, center + self.radius

    def sdf(self, x: Array) -> Array:
        return np.linalg.norm(x - np.asarray(self.center, float), axis=-1) - self.radius
