"""The base of all shapes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simenv.errors import ConfigurationError, require_count
from simenv.mpm.shapes.sampling import (
    check_seed,
    check_spacing,
    even_sequence,
    lattice_batches,
    lattice_counts,
)

Array = NDArray[np.float64]

SLOPE_STEP = 1.0e-6
"""Half width [-] of the difference that gives normals, over the longest edge of the bounds."""
SEARCHED = 2**22
"""Lattice points tried before a shape counts as too thin for a lattice."""
MOST_CANDIDATES = 2**28
"""Points of its bounds that are tried to fill a shape, at most: a minute's work."""
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
        self.check_finite()
        return self.bounds

    @property
    def extent(self) -> float:
        """Longest edge [m] of the bounds, maybe infinite."""
        lower, upper = self.bounds
        return float(np.max(upper - lower))

    def check_finite(self) -> None:
        """Raise ConfigurationError if the shape is infinite."""
        if not math.isfinite(self.extent):
            raise self.infinite()

    def infinite(self) -> ConfigurationError:
        """The error about what only a finite shape has."""
        return ConfigurationError(
            f"{self} is infinite: it has no volume and no mass, and no particles fill it. "
            "A HalfSpace by itself can be a tool; elsewhere put a Box in its place"
        )

    def normal(self, x: Array) -> Array:
        """Outward unit normal (..., d) at points (..., d): the slope of the signed distance.

        By central differences; zero where the slope vanishes, as in the middle of a sphere.
        """
        steps = SLOPE_STEP * self.extent * np.eye(self.dim)
        slope = np.stack([self.sdf(x + step) - self.sdf(x - step) for step in steps], axis=-1)
        length = np.linalg.norm(slope, axis=-1, keepdims=True)
        return slope / np.where(length > 0.0, length, 1.0)

    def particles(self, spacing: float) -> Array:
        """Positions (P, d) [m] of a lattice of about `spacing` [m] inside the shape.

        Raises:
            ConfigurationError: the spacing is not positive, too coarse for one particle or too fine
                for the memory of a computer.
        """
        check_spacing(spacing)
        self._check_fineness(spacing)
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
            ConfigurationError: a count below 1 or too large, a negative seed, or a shape too thin
                to be hit.
        """
        require_count("count", count)
        check_seed(seed)
        lower, upper = self.finite_bounds
        share = self.volume / float(np.prod(upper - lower))
        expected = math.ceil((count + 1) / share)
        if expected > MOST_CANDIDATES:
            raise ConfigurationError(
                f"{count} particles take {expected:.3g} points spread over the bounds of {self}, "
                f"of which it fills {share:.3g}, and at most {MOST_CANDIDATES} are tried; use a "
                "smaller count, make it thicker, or a Union of pieces"
            )
        shift = np.random.default_rng(int(seed)).random(self.dim)
        return self._first_inside(int(count), shift, expected)

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
        lower, upper = self.finite_bounds
        counts = lattice_counts(lower, upper, spacing)
        batches = lattice_batches(lower, upper, counts, BATCH)
        return np.concatenate([points[self.sdf(points) < 0.0] for points in batches])

    def _check_fineness(self, spacing: float) -> None:
        lower, upper = self.finite_bounds
        number = float(np.prod((upper - lower) / spacing))
        if number > MOST_CANDIDATES:
            enough = spacing * (1.001 * number / MOST_CANDIDATES) ** (1 / self.dim)
            raise ConfigurationError(
                f"particle spacing {spacing} [m] means {number:.3g} points in the bounds of "
                f"{self}, more than {MOST_CANDIDATES}; use at least {enough:.6g}"
            )

    def _finer(self, spacing: float) -> str:
        """Advice after an empty lattice: a spacing that is fine enough, if there is one."""
        while np.prod(lattice_counts(*self.finite_bounds, spacing), dtype=float) < SEARCHED:
            if len(self._lattice_inside(spacing)):
                return f"use at most {spacing:.6g}"
            spacing /= 2
        return f"nor at {spacing:.6g}: make it thicker"
