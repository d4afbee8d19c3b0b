"""Tools and free rigid bodies of a scene as spheres, for the particle splatter."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simenv.mpm import HalfSpace, Rigid, Scene, Shape
from simenv.mpm.shapes.frames import rotation_matrix
from simenv.mpm.shapes.sampling import lattice, lattice_counts
from simenv.mpm.shapes.surface import onto_surface, surface_points

Array = NDArray[np.float64]

TOOL_COLOR, RIGID_COLOR = (0.40, 0.44, 0.52), (0.52, 0.33, 0.68)
"""Steel and violet."""
MOST_SPHERES = 4000
"""Spheres of one body, about: 4 ms of drawing on a CPU."""
COVER = 0.75
"""Radius [-] of a sphere over the spacing of the points: a square lattice is covered from 0.71."""
PLANE_LAYERS = {2: 3, 3: 1}
"""Layers of spheres that show a plane, by dimension: in 2-D it is seen from the side."""


class Spheres(NamedTuple):
    """Centres (S, d) [m], radii (S,) [m] and colours (S, 3) in [0, 1]."""

    positions: Array
    radii: Array
    colors: Array


class Solids:
    """Spheres just inside the surface of every tool and free body, moved with its pose.

    The points are sampled once. In two dimensions shapes are filled with discs. A shape that
    reaches far beyond the domain is sampled as far as the domain's diagonal around it and shown
    inside the domain only. So is a plane, wherever it moves; seen from within its solid it is not
    drawn, since it would hide everything.

    Args:
        scene: of which the tools and rigid bodies are drawn.
    """

    def __init__(self, scene: Scene) -> None:
        self._bodies: list[_Plane | _Solid] = []
        for rigid in scene.rigids:
            if isinstance(rigid.shape, HalfSpace):
                self._bodies.append(_Plane(rigid.shape, rigid.centre, scene))
            else:
                self._bodies.append(_Solid(rigid, scene))

    def __len__(self) -> int:
        """How many bodies there are."""
        return len(self._bodies)

    def spheres(self, pose: Any, eye: Any = None) -> Spheres:
        """What to draw of one environment.

        Args:
            pose: of every body, (R, 3) or (R, 7) of `State.pose`, array or tensor.
            eye: place (d,) [m] of the camera, from which planes are seen; None draws them all.
        """
        poses = np.asarray(pose.detach().cpu() if hasattr(pose, "detach") else pose, float)
        groups = [
            (x := body.at(p, eye), np.full(len(x), body.radius), np.tile(body.color, (len(x), 1)))
            for body, p in zip(self._bodies, poses, strict=True)
        ]
        return Spheres(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))


class _Solid:
    """A body's points in its own frame, about the point that the pose places."""

    def __init__(self, rigid: Rigid, scene: Scene) -> None:
        self.color = RIGID_COLOR if rigid.free else TOOL_COLOR
        self._size = scene.size
        lower, upper = _sampled_box(rigid, scene.size)
        bounds = rigid.shape.bounds
        self._clipped = bool(np.any(bounds[0] < lower) or np.any(bounds[1] > upper))
        points, spacing = _drawn(rigid.shape, scene.dx / 2, lower, upper)
        self._points = points - rigid.centre
        shown = len(self.at(rigid.pose))
        if shown > MOST_SPHERES:
            # As a surface in space and as an area in the plane, by the square of the spacing.
            coarser = spacing * (shown / MOST_SPHERES) ** 0.5
            points, spacing = _drawn(rigid.shape, coarser, lower, upper)
            self._points = points - rigid.centre
        self.radius = COVER * spacing

    def at(self, pose: Array, eye: Any = None) -> Array:
        """Points (S, d) [m] of the scene."""
        turn, place = _moved(pose, len(self._size))
        x = self._points @ turn.T + place
        return _inside(x, self._size) if self._clipped else x


class _Plane:
    """A plane: a lattice fixed to it, of which a patch as large as the domain is taken anew."""

    def __init__(self, plane: HalfSpace, centre: Array, scene: Scene) -> None:
        self.color = TOOL_COLOR
        self._plane, self._centre, self._size = plane, centre, scene.size
        diagonal = float(np.linalg.norm(scene.size))
        self._spacing = max(scene.dx / 2, diagonal / MOST_SPHERES ** (1 / (scene.dim - 1)))
        self.radius = COVER * self._spacing
        # The other singular vectors span what is at right angles to the normal.
        self._across = np.linalg.svd(plane.outward[None])[2][1:]
        steps = np.arange(-np.ceil(diagonal / 2 / self._spacing), diagonal / 2 / self._spacing + 1)
        axes = np.meshgrid(*[steps] * (scene.dim - 1), indexing="ij")
        self._steps = np.stack(axes, axis=-1).reshape(-1, scene.dim - 1)
        self._depths = self.radius + self._spacing * np.arange(PLANE_LAYERS[scene.dim])

    def at(self, pose: Array, eye: Any = None) -> Array:
        """Points (S, d) [m] of the scene."""
        turn, place = _moved(pose, len(self._size))
        outward = turn @ self._plane.outward
        origin = turn @ (self._plane.point - self._centre) + place
        if eye is not None and (eye - origin) @ outward <= 0.0:
            return np.empty((0, len(self._size)))
        across = self._across @ turn.T
        nearest = np.round(across @ (self._size / 2 - origin) / self._spacing)
        surface = origin + self._spacing * (self._steps + nearest) @ across
        seen = _inside(surface, self._size)
        return np.concatenate([seen - depth * outward for depth in self._depths])


def _moved(pose: Array, dim: int) -> tuple[Array, Array]:
    """Rotation (d, d) and position (d,) of a pose."""
    turn = float(pose[2]) if dim == 2 else tuple(pose[3:])
    return rotation_matrix(turn, dim), pose[:dim]


def _inside(x: Array, size: Array) -> Array:
    return x[np.all((x >= 0.0) & (x <= size), axis=1)]


def _sampled_box(rigid: Rigid, size: Array) -> tuple[Array, Array]:
    """A box in the frame of the body's shape that holds the domain, and its diagonal around it."""
    turn, place = _moved(rigid.pose, len(size))
    middle = (size / 2 - place) @ turn + rigid.centre
    reach = 1.5 * np.linalg.norm(size)
    return middle - reach, middle + reach


def _drawn(shape: Shape, spacing: float, lower: Array, upper: Array) -> tuple[Array, float]:
    """Centres (S, d) [m] of the spheres in the shape's own frame, and their spacing [m].

    Surface points are moved in by a sphere's radius where there is room.
    """
    points, spacing = surface_points(shape, spacing, lower, upper)
    if len(points) == 0:
        return points, spacing
    inner = onto_surface(shape, points, -COVER * spacing)
    has_room = shape.sdf(inner) < -0.5 * COVER * spacing
    rim = np.where(has_room[:, None], inner, points)
    return (_filled(shape, rim, spacing) if shape.dim == 2 else rim), spacing


def _filled(shape: Shape, rim: Array, spacing: float) -> Array:
    """The rim and a lattice inside of it."""
    lower, upper = rim.min(axis=0), rim.max(axis=0)
    x = lattice(lower, upper, lattice_counts(lower, upper, spacing))
    return np.concatenate([rim, x[shape.sdf(x) < -COVER * spacing]])
