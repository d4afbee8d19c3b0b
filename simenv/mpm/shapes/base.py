"""The base of all shapes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simenv.errors import ConfigurationError, require_count
from simenv.mpm.shapes.primitive import Primitive
from simenv.mpm.shapes.sampling import (
    check_seed,
    check_spacing,
    even_sequence,
    lattice,
    lattice_counts,
)

Array = NDArray[np.float64]

SLOPE_STEP = 1.0e-6
"""Half width [m] of the difference that gives normals."""
MOST_CANDIDATES = 2**22
"""Lattice points tried before a shape counts as too thin for a lattice."""
PATIENCE = 100
"""Times as many candidates as should do are tried before a shape counts as too thin to sample."""
BATCH = 2**18
"""Candidates taken at once, which bounds the memory that sampling needs."""


class MassProperties(NamedTuple):
    """Of a solid of unit density.

    Attributes:
        volume: [m³], area [m²] in 2-D.
        centroid: (d,) [m].
        inertia: about the centroid, (3, 3) [m⁵] in 3-D, (1, 1) [m⁴] in 2-D.
    """

    volume: float
    centroid: Array
    inertia: Array


class Shape(ABC):
    """A solid region of the plane or of space; lengths in metres."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """2 or 3."""

    @abstractmethod
    def sdf(self, x: Array) -> Array:
        """Signed distance [m], negative inside. `x` (..., d) gives (...)."""

    @abstractmethod
    def support(self, direction: Array) -> float:
        """Largest x · direction [m] of the shape's points, for a unit vector (d,)."""

    @abstractmethod
    def radius_about(self, point: Array) -> float:
        """Largest distance [m] of the shape's points from a point (d,)."""

    @abstractmethod
    def mass_properties(self) -> MassProperties:
        """Volume, centroid and inertia of the shape filled with unit density."""

    @abstractmethod
    def contact_points(self) -> Array:
        """Balls (K, d + 1) that touch the surface from within: centre and, last, radius [m].

        A body meets walls and other bodies with these. A ball of radius 0 is a surface point.
        """

    @abstractmethod
    def primitives(self) -> list[Primitive]:
        """The shape as a kernel evaluates it, in this order."""

    @property
    def volume(self) -> float:
        """Volume [m³], area [m²] in 2-D."""
        return self.mass_properties().volume

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper corner [m] of the axis-aligned bounding box, each (d,)."""
        axes = np.eye(self.dim)
        lower = np.array([-self.support(-axis) for axis in axes])
        return lower, np.array([self.support(axis) for axis in axes])

    @property
    def finite_bounds(self) -> tuple[Array, Array]:
        """The bounds; ConfigurationError if they are infinite."""
        lower, upper = self.bounds
        if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
            raise self.infinite()
        return lower, upper

    def infinite(self) -> ConfigurationError:
        """The error about what only a finite shape has."""
        return ConfigurationError(
            f"{self} is infinite: it has no volume and no mass, and no particles fill it. "
            "Use it as a tool only, or a Box in its place"
        )

    def normal(self, x: Array) -> Array:
        """Outward unit normal (..., d) at points (..., d): the slope of the signed distance.

        By central differences; zero where the slope vanishes, as in the middle of a sphere.
        """
        steps = SLOPE_STEP * np.eye(self.dim)
        slope = np.stack([self.sdf(x + step) - self.sdf(x - step) for step in steps], axis=-1)
        length = np.linalg.norm(slope, axis=-1, keepdims=True)
        return slope / np.where(length > 0.0, length, 1.0)

    def particles(self, spacing: float) -> Array:
        """Positions (P, d) [m] of a lattice of about `spacing` [m] inside the shape.

        Raises:
            ConfigurationError: the spacing is not positive, or too coarse for one particle.
        """
        check_spacing(spacing)
        inside = self._lattice_inside(spacing)
        if len(inside) == 0:
            raise ConfigurationError(
                f"{self} holds no particle at spacing {spacing} [m]; {self._finer(spacing / 2)}"
            )
        return inside

    def sample(self, count: int, seed: int = 0) -> Array:
        """Exactly `count` evenly spread positions (count, d) [m] inside the shape.

        They are the first inside of a low-discrepancy sequence over the bounds (`even_sequence`),
        shifted by a random vector that the seed determines.

        Raises:
            ConfigurationError: a count below 1, a negative seed, or a shape too thin to be hit.
        """
        require_count("count", count)
        check_seed(seed)
        lower, upper = self.finite_bounds
        share = self.volume / float(np.prod(upper - lower))
        shift = np.random.default_rng(int(seed)).random(self.dim)
        return self._first_inside(int(count), shift, math.ceil((count + 1) / share))

    def _first_inside(self, count: int, shift: Array, expected: int) -> Array:
        """The first points inside; on average `expected` of the sequence hold enough of them."""
        lower, upper = self.finite_bounds
        found, batch = np.empty((0, self.dim)), min(expected, BATCH)
        for start in range(0, PATIENCE * expected, batch):
            points = lower + (upper - lower) * even_sequence(shift, start, batch)
            found = np.concatenate([found, points[self.sdf(points) < 0.0]])
            if len(found) >= count:
                return found[:count]
        raise ConfigurationError(
            f"only {len(found)} of {PATIENCE * expected} points spread over the bounds of {self} "
            f"are inside, too few for {count} particles; make it thicker"
        )

    def _lattice_inside(self, spacing: float) -> Array:
        points = lattice(*self.finite_bounds, spacing)
        return points[self.sdf(points) < 0.0]

    def _finer(self, spacing: float) -> str:
        """Advice after an empty lattice: a spacing that is fine enough, if there is one."""
        while np.prod(lattice_counts(*self.finite_bounds, spacing), dtype=float) < MOST_CANDIDATES:
            if len(self._lattice_inside(spacing)):
                return f"use at most {spacing:.6g}"
            spacing /= 2
        return f"nor at {spacing:.6g}: make it thicker"
