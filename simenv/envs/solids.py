"""Tools and free rigid bodies of a scene as spheres, for the particle splatter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simenv.mpm import HalfSpace, Rigid, Scene
from simenv.mpm.shapes.frames import rotation_matrix
from simenv.mpm.shapes.sampling import lattice, lattice_counts
from simenv.mpm.shapes.surface import onto_surface, surface_points
from simenv.render.colors import PALETTE

Array = NDArray[np.float64]

TOOL_COLOR, RIGID_COLOR = PALETTE[7], PALETTE[5]
"""Slate and violet."""
MOST_SPHERES = 4000
"""Spheres of one body, about: 4 ms of drawing on a CPU."""
COVER = 0.75
"""Radius [-] of a sphere over the spacing of the points: a square lattice is covered from 0.71."""
PLANE_LAYERS = 3
"""Rows of discs that show a plane from the side."""


class Spheres(NamedTuple):
    """Centres (S, d) [m], radii (S,) [m] and colours (S, 3) in [0, 1]."""

    positions: Array
    radii: Array
    colors: Array


class Solids:
    """Spheres just inside the surface of every tool and free body, moved with its pose.

    The points are sampled once. In two dimensions shapes are filled with discs. What reaches far
    beyond the domain, planes above all, is sampled as far as the domain's diagonal around it and
    shown inside the domain only; a plane seen from within its solid is not drawn.

    Args:
        scene: of which the tools and rigid bodies are drawn.
    """

    def __init__(self, scene: Scene) -> None:
        self._size = scene.size
        self._bodies = [_Body(rigid, scene) for rigid in scene.rigids]

    def __len__(self) -> int:
        """How many bodies there are."""
        return len(self._bodies)

    def spheres(self, pose: Any, eye: Any = None) -> Spheres:
        """What to draw at the poses (R, 3) or (R, 7) of `State.pose` in one environment.

        Args:
            pose: array or tensor.
            eye: place (d,) [m] of the camera, from which planes are seen; None draws them all.
        """
        poses = np.asarray(pose.detach().cpu() if hasattr(pose, "detach") else pose, float)
        seen = [b.at(p, self._size, eye) for b, p in zip(self._bodies, poses, strict=True)]
        groups = zip(seen, self._bodies, strict=True)
        tints = [np.broadcast_to(body.color, (len(x), 3)) for x, body in groups]
        groups = zip(seen, self._bodies, strict=True)
        radii = [np.full(len(x), body.radius) for x, body in groups]
        return Spheres(*map(np.concatenate, (seen, radii, tints)))


class _Body:
    """One body's points in its own frame, about the point that the pose places."""

    def __init__(self, rigid: Rigid, scene: Scene) -> None:
        self.color = RIGID_COLOR if rigid.free else TOOL_COLOR
        self._plane = isinstance(rigid.shape, HalfSpace)
        lower, upper = _domain_seen_from(rigid, scene.size)
        within = rigid.shape.bounds[0] >= lower, rigid.shape.bounds[1] <= upper
        self._clipped = not np.all(within)
        spacing = scene.dx / 2
        points, spacing = surface_points(rigid.shape, spacing, lower, upper)
        shown = max(1, len(self._inside(points, rigid, scene.size)))
        if shown > MOST_SPHERES:
            coarser = spacing * (shown / MOST_SPHERES) ** (1 / (scene.dim - 1))
            points, spacing = surface_points(rigid.shape, coarser, lower, upper)
        self.radius = COVER * spacing
        self._normal = rigid.shape.normal(points[:1])[0] if self._plane else None
        self._points = _filled(rigid, points, spacing, self.radius) - rigid.centre

    def at(self, pose: Array, size: Array, eye: Any) -> Array:
        """Points (S, d) [m] of the scene."""
        turn, place = _moved(pose, len(size))
        x = self._points @ turn.T + place
        if self._clipped:
            x = x[np.all((x >= 0.0) & (x <= size), axis=1)]
        if self._normal is not None and eye is not None and len(x):
            return x if (np.asarray(eye) - x[0]) @ turn @ self._normal > 0.0 else x[:0]
        return x

    def _inside(self, points: Array, rigid: Rigid, size: Array) -> Array:
        if not self._clipped:
            return points
        turn, place = _moved(rigid.pose, len(size))
        x = (points - rigid.centre) @ turn.T + place
        return points[np.all((x >= 0.0) & (x <= size), axis=1)]


def _moved(pose: Array, dim: int) -> tuple[Array, Array]:
    """Rotation (d, d) and position (d,) of a pose."""
    turn = float(pose[2]) if dim == 2 else tuple(pose[3:])
    return rotation_matrix(turn, dim), pose[:dim]


def _domain_seen_from(rigid: Rigid, size: Array) -> tuple[Array, Array]:
    """A box in the frame of the body's shape that holds the domain, and its diagonal around it."""
    turn, place = _moved(rigid.pose, len(size))
    middle = (size / 2 - place) @ turn + rigid.centre
    reach = 1.5 * np.linalg.norm(size)
    return middle - reach, middle + reach


def _filled(rigid: Rigid, points: Array, spacing: float, radius: float) -> Array:
    """Surface points drawn in by a sphere's radius where there is room; in 2-D the inside too."""
    if isinstance(rigid.shape, HalfSpace):
        layers = range(PLANE_LAYERS if rigid.shape.dim == 2 else 1)
        return np.concatenate(
            [points - (radius + k * spacing) * rigid.shape.outward for k in layers]
        )
    inner = onto_surface(rigid.shape, points, -radius)
    has_room = rigid.shape.sdf(inner) < -0.5 * radius
    rim = np.where(has_room[:, None], inner, points)
    if rigid.shape.dim == 3:
        return rim
    lower, upper = points.min(axis=0), points.max(axis=0)
    x = lattice(lower, upper, lattice_counts(lower, upper, spacing))
    return np.concatenate([rim, x[rigid.shape.sdf(x) < -radius]])
