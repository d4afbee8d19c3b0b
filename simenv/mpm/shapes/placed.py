"""A shape moved rigidly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.checks import checked_vector
from simenv.mpm.shapes.frames import Orientation, rotation_matrix
from simenv.mpm.shapes.primitive import Primitive


@dataclass(frozen=True)
class Placed(Shape):
    """A shape moved rigidly: x_world = position + R x_local.

    Args:
        shape: in its own coordinates.
        position: of their origin, (d,) [m].
        orientation: R as an angle [rad] in 2-D, as a quaternion (x, y, z, w) of any length but
            zero in 3-D; default none.
    """

    shape: Shape
    position: Sequence[float]
    orientation: Orientation | None = None

    def __post_init__(self) -> None:
        if len(checked_vector("Placed position", self.position)) != self.shape.dim:
            raise ConfigurationError(
                f"Placed position {self.position} must hold {self.shape.dim} numbers [m], as many "
                f"as {self.shape} has dimensions"
            )
        rotation_matrix(self.orientation, self.shape.dim)

    @property
    def dim(self) -> int:
        return self.shape.dim

    @cached_property
    def rotation(self) -> Array:
        """R (d, d)."""
        return rotation_matrix(self.orientation, self.dim)

    def sdf(self, x: Array) -> Array:
        return self.shape.sdf(self._local(x))

    def normal(self, x: Array) -> Array:
        return self.shape.normal(self._local(x)) @ self.rotation.T

    def support(self, direction: Array) -> float:
        return float(direction @ self.position) + self.shape.support(direction @ self.rotation)

    def radius_about(self, point: Array) -> float:
        return self.shape.radius_about(self._local(point))

    def mass_properties(self) -> MassProperties:
        volume, centroid, inertia = self.shape.mass_properties()
        if self.dim == 3:
            inertia = self.rotation @ inertia @ self.rotation.T
        return MassProperties(volume, self._world(centroid), inertia)

    def contact_points(self) -> Array:
        points = self.shape.contact_points()
        return np.hstack([self._world(points[:, :-1]), points[:, -1:]])

    def primitives(self) -> list[Primitive]:
        return [
            replace(p, position=self._world(p.position), rotation=self.rotation @ p.rotation)
            for p in self.shape.primitives()
        ]

    def _local(self, x: Array) -> Array:
        return (x - np.asarray(self.position)) @ self.rotation

    def _world(self, x: Array) -> Array:
        return x @ self.rotation.T + np.asarray(self.position)
