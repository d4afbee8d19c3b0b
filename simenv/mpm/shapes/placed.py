"""A shape moved rigidly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.checks import checked_vector
from simenv.mpm.shapes.flat import HalfSpace
from simenv.mpm.shapes.frames import Orientation, rotation_matrix


@dataclass(frozen=True)
class Placed(Shape):
    """A shape moved rigidly: x_world = position + R x_local.

    A half space that is moved is a half space again, so that `Placed` of one makes a `HalfSpace`.

    Args:
        shape: in its own coordinates.
        position: of their origin, (d,) [m].
        orientation: R as an angle [rad] in 2-D, as a quaternion (x, y, z, w) of any length but
            zero in 3-D; default none.
    """

    shape: Shape
    position: Sequence[float]
    orientation: Orientation | None = None

    def __new__(
        cls, shape: Shape, position: Sequence[float], orientation: Orientation | None = None
    ) -> Any:
        """A `HalfSpace` in place of a placed one: contact treats planes apart from all else."""
        if not isinstance(shape, HalfSpace):
            return super().__new__(cls)
        _check_position(shape, position)
        rotation = rotation_matrix(orientation, shape.dim)
        point = rotation @ shape.point + np.asarray(position)
        return HalfSpace(tuple(point.tolist()), tuple((rotation @ shape.outward).tolist()))

    def __getnewargs__(self) -> tuple[Any, ...]:
        # Copies and pickles come through `__new__` as well.
        return self.shape, self.position, self.orientation

    def __post_init__(self) -> None:
        _check_position(self.shape, self.position)
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
        self.check_finite()
        volume, centroid, inertia = self.shape.mass_properties()
        if self.dim == 3:
            inertia = self.rotation @ inertia @ self.rotation.T
        return MassProperties(volume, self._world(centroid), inertia)

    def contact_points(self) -> Array:
        points = self.shape.contact_points()
        return np.hstack([self._world(points[:, :-1]), points[:, -1:]])

    def _local(self, x: Array) -> Array:
        return (x - np.asarray(self.position)) @ self.rotation

    def _world(self, x: Array) -> Array:
        return x @ self.rotation.T + np.asarray(self.position)


def _check_position(shape: Shape, position: Sequence[float]) -> None:
    if len(checked_vector("Placed position", position)) != shape.dim:
        raise ConfigurationError(
            f"Placed position {position} must hold {shape.dim} numbers [m], as many as {shape} has "
            "dimensions"
        )
