"""Shapes with flat faces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.checks import check_length, check_same_dim, checked_vector


@dataclass(frozen=True)
class Box(Shape):
    """Axis-aligned box (rectangle in 2-D) with `center` and edge lengths `size` [m]."""

    center: Sequence[float]
    size: Sequence[float]

    def __post_init__(self) -> None:
        checked_vector("Box center", self.center)
        check_same_dim("Box", center=self.center, size=self.size)
        for edge in checked_vector("Box size", self.size):
            check_length("Box size", float(edge))

    @property
    def dim(self) -> int:
        return len(self.center)

    def sdf(self, x: Array) -> Array:
        q = np.abs(x - np.asarray(self.center, float)) - self._half
        outside = np.linalg.norm(np.maximum(q, 0.0), axis=-1)
        return outside + np.minimum(np.max(q, axis=-1), 0.0)

    def support(self, direction: Array) -> float:
        return float(direction @ self.center + np.abs(direction) @ self._half)

    def radius_about(self, point: Array) -> float:
        return float(np.linalg.norm(np.abs(np.asarray(self.center) - point) + self._half))

    def mass_properties(self) -> MassProperties:
        volume = float(np.prod(self.size))
        spread = volume * np.asarray(self.size, float) ** 2 / 12  # ∫ r_a² about the centre
        inertia = spread.sum() * np.eye(1) if self.dim == 2 else np.diag(spread.sum() - spread)
        return MassProperties(volume, np.asarray(self.center, float), inertia)

    def contact_points(self) -> Array:
        """Corners, middles of the edges and, in 3-D, of the faces."""
        places = [p for p in product((-1.0, 0.0, 1.0), repeat=self.dim) if any(p)]
        points = np.asarray(self.center) + np.asarray(places) * self._half
        return np.pad(points, ((0, 0), (0, 1)))

    @property
    def _half(self) -> Array:
        return np.asarray(self.size, float) / 2


class HalfSpace(Shape):
    """All points below a plane (a line in 2-D); infinite, so for tools such as a floor only.

    Args:
        point: on the plane, (d,) [m].
        normal: direction (d,) out of the solid, of any length but zero.

    Attributes:
        outward: unit normal (d,).
    """

    def __init__(self, point: Sequence[float], normal: Sequence[float]) -> None:
        self.point = checked_vector("HalfSpace point", point)
        outward = checked_vector("HalfSpace normal", normal)
        check_same_dim("HalfSpace", point=point, normal=normal)
        if not outward.any():
            raise ConfigurationError(f"HalfSpace normal = {normal} must not be zero")
        self.outward = outward / np.linalg.norm(outward)

    def __repr__(self) -> str:
        point, normal = tuple(self.point.tolist()), tuple(self.outward.tolist())
        return f"HalfSpace(point={point}, normal={normal})"

    @property
    def dim(self) -> int:
        return len(self.point)

    def sdf(self, x: Array) -> Array:
        return (x - self.point) @ self.outward

    def normal(self, x: Array) -> Array:
        return np.broadcast_to(self.outward, x.shape).copy()

    def support(self, direction: Array) -> float:
        along = float(direction @ self.outward) > 1.0 - 1e-12
        return float(direction @ self.point) if along else math.inf

    def radius_about(self, point: Array) -> float:
        return math.inf

    def mass_properties(self) -> MassProperties:
        raise self.infinite()

    def contact_points(self) -> Array:
        """None: what moves against a half space brings the points."""
        return np.empty((0, self.dim + 1))
