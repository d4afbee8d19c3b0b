"""Rigid bodies of a scene: tools that follow commands, and free bodies that answer to contact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.contact import FAINT
from simenv.mpm.distance import DistanceField
from simenv.mpm.shapes import Array, HalfSpace, Placed, Shape
from simenv.mpm.shapes.frames import rotation_matrix
from simenv.mpm.thickness import least_thickness, thickness
from simenv.mpm.walls import Wall


@dataclass(frozen=True, eq=False)
class Rigid:
    """A tool or a free rigid body.

    Attributes:
        name: unique among the scene's bodies, tools and rigid bodies.
        shape: geometry, in the frame in which it was written.
        centre: point of that frame (d,) [m] which the pose places: the centroid, or, for a tool
            with a position, the frame's origin.
        density: [kg/m³] of a free body; None for a tool.
        surface: how it holds material, a mode and a friction coefficient like a wall's.
        softness: k [1/m] of its contact; 0 is hard.
        pose: initial (x, y, angle) in 2-D, (x, y, z, quaternion x, y, z, w) in 3-D.
        twist: initial velocity [m/s] and angular velocity [rad/s].
    """

    name: str
    shape: Shape
    centre: Array
    density: float | None
    surface: Wall
    softness: float
    pose: Array
    twist: Array

    @property
    def free(self) -> bool:
        """Whether contact moves it."""
        return self.density is not None

    def reach(self, dx: float) -> float:
        """Distance [m] from the surface within which nodes of a grid feel the body.

        Hard contact takes every node within half a cell, so that the layer of nodes held lies on
        the surface in the mean, as a wall's does, and not half a cell inside.
        """
        return -math.log(FAINT) / self.softness if self.softness > 0 else 0.5 * dx

    @property
    def radius(self) -> float:
        """Radius [m] about the pose's position that holds the shape."""
        return self.shape.radius_about(self.centre)

    @property
    def flat(self) -> bool:
        """Whether it is a half-space, of which no lattice of distances is needed."""
        return _plane_point(self.shape) is not None

    @property
    def mass(self) -> float:
        """Mass [kg]; zero for a tool, which nothing moves."""
        return 0.0 if self.density is None else self.density * self.shape.volume

    @property
    def speed(self) -> float:
        """Fastest initial motion [m/s] of any of its points; none of a tool, which is at rest."""
        d = self.shape.dim
        turning = float(np.linalg.norm(self.twist[d:]))
        return float(np.linalg.norm(self.twist[:d])) + (turning and turning * self.radius)

    @property
    def inertia(self) -> Array:
        """Inertia [kg m²] about the centre of mass in body axes, (3, 3), (1, 1) in 2-D."""
        if self.density is None:
            return np.zeros((1, 1) if self.shape.dim == 2 else (3, 3))
        return self.density * self.shape.mass_properties()[2]

    def check_within(self, size: Array) -> None:
        """Raise ConfigurationError for a body that does not belong in a domain of edges `size`.

        A tool may reach beyond it, but must not be outside as a whole; a free body, which walls
        would throw in, must be inside as a whole.
        """
        d = self.shape.dim
        if self.free:
            self._check_inside(size)
        nearest = np.clip(self.pose[:d], 0.0, size)
        if np.linalg.norm(self.pose[:d] - nearest) > self.radius:
            raise ConfigurationError(
                f"{self.name!r} lies around {tuple(self.pose[:d].tolist())} [m] within "
                f"{self.radius:.4g} m, outside the domain 0 to {tuple(size.tolist())}; move it"
            )

    def _check_inside(self, size: Array) -> None:
        d, turn = self.shape.dim, self.pose[self.shape.dim :]
        orientation = float(turn[0]) if d == 2 else tuple(turn)
        origin = self.pose[:d] - rotation_matrix(orientation, d) @ self.centre
        lower, upper = Placed(self.shape, tuple(origin), orientation).bounds
        beyond = np.maximum(-lower, upper - size)
        if np.any(beyond > 1e-6 * size.max()):
            axis = int(np.argmax(beyond))
            raise ConfigurationError(
                f"free body {self.name!r} reaches {beyond[axis]:.4g} m beyond the domain's wall "
                f"along {'xyz'[axis]}: it spans {tuple(lower.tolist())} to {tuple(upper.tolist())} "
                f"[m] in 0 to {tuple(size.tolist())}; move it in, or enlarge the domain"
            )

    def check_thickness(self, dx: float) -> None:
        """Raise ConfigurationError if hard contact can slip between the nodes of a grid."""
        if self.softness > 0 or self.flat:
            return
        thick = thickness(self.shape)
        least = least_thickness(self.shape, self.surface.mode == "separating", dx)
        # Probing misses the middle by up to a per cent.
        if thick < 0.98 * least:
            raise ConfigurationError(
                f"{self.name!r} is about {thick:.4g} m thick, but must be {least:.4g} m on cells "
                f"of {dx:.4g} m: material would pass through it; make it thicker, refine the "
                f"grid, or give it softness (about {1 / dx:.0f} 1/m)"
            )

    def field(self, dx: float, spacing: float, ball: float) -> DistanceField | None:
        """Signed distances on a lattice; None for a half-space, which needs none.

        The lattice reaches as far as contact does: `reach` for nodes, and the radius `ball` [m] of
        the largest ball with which another body meets this one.
        """
        if self.flat:
            return None
        margin = max(self.reach(dx), ball) + spacing
        return DistanceField.of(self.shape, self.centre, spacing, margin)


def make_rigid(
    name: str,
    shape: Shape,
    *,
    density: float | None,
    position: Sequence[float] | None,
    orientation: float | Sequence[float] | None,
    velocity: Sequence[float] | None,
    spin: float | Sequence[float] | None,
    mode: str,
    friction: float,
    softness: float,
) -> Rigid:
    """Check a rigid body's description and place it (arguments as `Scene.add_rigid`)."""
    d = shape.dim
    if not (math.isfinite(softness) and softness >= 0.0):
        raise ConfigurationError(f"softness = {softness} [1/m] of {name!r} must be finite and >= 0")
    if density is not None and not (math.isfinite(density) and density > 0.0):
        raise ConfigurationError(f"density = {density} [kg/m³] of {name!r} must be finite and > 0")
    _check_finite(name, shape, density)
    turn = _orientation(name, d, orientation)
    centre = _centre(shape, density, position)
    where: Array = _centroid(shape) if position is None else _numbers(name, "position", position, d)
    if position is not None and density is not None:
        where = where + rotation_matrix(tuple(turn) if d == 3 else float(turn[0]), d) @ centre
    speed = np.zeros(d) if velocity is None else _numbers(name, "velocity", velocity, d)
    turns = 1 if d == 2 else 3
    turning = np.zeros(turns) if spin is None else _numbers(name, "spin", spin, turns)
    return Rigid(
        name=name,
        shape=shape,
        centre=centre,
        density=density,
        surface=Wall(mode, friction),
        softness=float(softness),
        pose=np.concatenate([where, turn]),
        twist=np.concatenate([speed, turning]),
    )


def _check_finite(name: str, shape: Shape, density: float | None) -> None:
    if not math.isinf(shape.radius_about(np.zeros(shape.dim))):
        return
    if density is not None:
        raise shape.infinite()
    if _plane_point(shape) is None:
        raise ConfigurationError(
            f"{name!r} is {shape}, infinite in part; of infinite tools there is only the HalfSpace "
            "alone: add the parts as tools of their own, or put a Box in the HalfSpace's place"
        )


def _plane_point(shape: Shape) -> Array | None:
    """A point of the boundary of a half-space; None of any other shape."""
    return np.asarray(shape.point, dtype=np.float64) if isinstance(shape, HalfSpace) else None


def _centroid(shape: Shape) -> Array:
    point = _plane_point(shape)
    return shape.mass_properties()[1] if point is None else point


def _centre(shape: Shape, density: float | None, position: Sequence[float] | None) -> Array:
    """The point of the shape's frame that the pose places."""
    if density is None and position is not None:
        return np.zeros(shape.dim)
    return _centroid(shape)


def _orientation(name: str, d: int, value: float | Sequence[float] | None) -> Array:
    if d == 2:
        return _numbers(name, "orientation", 0.0 if value is None else value, 1)
    q = _numbers(name, "orientation", (0.0, 0.0, 0.0, 1.0) if value is None else value, 4)
    if np.linalg.norm(q) < 1e-9:
        raise ConfigurationError(f"orientation of {name!r} is a zero quaternion; use (0, 0, 0, 1)")
    return q / np.linalg.norm(q)


def _numbers(name: str, what: str, value: float | Sequence[float], length: int) -> Array:
    v = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if v.shape != (length,) or not np.all(np.isfinite(v)):
        raise ConfigurationError(f"{what} = {value} of {name!r} must hold {length} finite numbers")
    return v
