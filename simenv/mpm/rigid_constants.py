"""What is constant about a scene's tools and rigid bodies, as kernels take it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import warp as wp

from simenv.mpm.contact import touch_type
from simenv.mpm.distance import KEPT, DistanceField, ShapeKey
from simenv.mpm.rigid import Rigid
from simenv.mpm.scene import Scene
from simenv.mpm.shapes import Array
from simenv.mpm.types import Types
from simenv.mpm.walls import Wall, meeting_mode

FINENESS = 2
"""Points of a distance field per grid cell and axis, for contact with material."""
ACROSS = 16
"""Points of a distance field across a body at its narrowest, for contact with other bodies."""
REFINED = 2**17
"""Points within a body up to which its field is refined for that."""
INSCRIBING = 60
"""Steps that place a ball in a corner: each leaves 1 − 1/√3 of the way at most."""


def window_of(rigid: Rigid, scene: Scene) -> tuple[int, ...]:
    """Nodes per axis of a window that holds a body and its reach wherever it is."""
    if math.isinf(rigid.radius):
        return scene.nodes
    width = math.ceil(2 * (rigid.radius + rigid.reach(scene.dx)) / scene.dx) + 1
    return tuple(min(width, n) for n in scene.nodes)


class Fields:
    """The distance fields of a scene's rigid bodies, one behind the other."""

    def __init__(self, scene: Scene) -> None:
        self.fields = [
            rigid.field(scene.dx, spacing_of(rigid, scene), largest_ball(rigid, scene))
            for rigid in scene.rigids
        ]
        sizes = [0 if field is None else field.values.size for field in self.fields]
        self.starts = [sum(sizes[:i]) for i in range(len(sizes))]
        flat = [field.values.ravel() for field in self.fields if field is not None]
        self.values = np.concatenate(flat) if flat else np.zeros(0)


def spacing_of(rigid: Rigid, scene: Scene) -> float:
    """Distance [m] between the lattice points of a body's distance field.

    Half a grid cell is fine enough for nodes. Where rigid bodies meet each other it must resolve
    the body itself, as far as a lattice of moderate size can.
    """
    coarse = scene.dx / FINENESS
    if rigid.flat or not meeting(rigid, scene):
        return coarse
    lower, upper = rigid.shape.finite_bounds
    extents = upper - lower
    fitting = float(np.prod(extents) / REFINED) ** (1 / len(extents))
    return min(coarse, max(float(extents.min()) / ACROSS, fitting))


def meeting(rigid: Rigid, scene: Scene) -> list[Rigid]:
    """The bodies that a body can collide with: two tools, which nothing deflects, do not."""
    return [other for other in scene.rigids if other is not rigid and (other.free or rigid.free)]


def touches(scene: Scene, fields: Fields, types: Types) -> list[Any]:
    """What is constant about each rigid body's contact, as kernels take it."""
    return [
        _touch(i, rigid, scene, fields.fields[i], fields.starts[i], types)
        for i, rigid in enumerate(scene.rigids)
    ]


def _touch(
    i: int, rigid: Rigid, scene: Scene, field: DistanceField | None, start: int, types: Types
) -> Any:
    touch = touch_type(types)()
    touch.rigid, touch.rigids = i, scene.num_rigids
    touch.mode, touch.softness = rigid.surface.code, rigid.softness
    touch.reach = rigid.reach(scene.dx)
    touch.window = types.index(*window_of(rigid, scene))
    if field is None:
        touch.flat, touch.radius = 1, 0.0
        touch.normal = types.vec(*rigid.shape.normal(rigid.centre))
        touch.level = -float(rigid.shape.sdf(rigid.centre))
    else:
        touch.flat, touch.radius = 0, rigid.radius + rigid.reach(scene.dx)
        touch.field_start = start
        touch.field_dims = types.index(*field.values.shape)
        touch.field_origin = types.vec(*field.origin)
        touch.field_inv_h = 1.0 / field.spacing
    return touch


def points_of(rigid: Rigid, dim: int) -> np.ndarray:
    """Contact points (K, 4) in the body's own frame, radius last."""
    return _in_frame(rigid, rigid.shape.contact_points(), dim)


def inner_balls(rigid: Rigid, scene: Scene) -> np.ndarray:
    """Balls (K, 4) inside the body's corners and edges, of the size of what others' fields round.

    A corner that lies on the edge of another body's face reads a distance and a normal that are
    rounded; a ball in the corner touches the same faces, but reads the other's field where it is
    flat. Without them equal boxes would not stack.
    """
    others = [other for other in meeting(rigid, scene) if not other.flat]
    if not others:
        return np.zeros((0, 4))
    # A spline reads the lattice up to one and a half spacings about a point.
    radius = 1.5 * max(spacing_of(other, scene) for other in others)
    return _in_frame(rigid, _inscribed(ShapeKey(rigid.shape), radius), scene.dim)


@lru_cache(maxsize=KEPT)
def _inscribed(key: ShapeKey, radius: float) -> Array:
    """Balls (K, d + 1) within a shape, each as near as it can be to a contact point of radius 0.

    Steps towards the depth `radius` along the normal; where faces meet it is the normal now of one,
    now of another. Balls that find no room come out smaller, and are left out if much smaller.
    """
    shape = key.shape
    balls = shape.contact_points()
    points = balls[balls[:, -1] == 0.0, :-1]
    if len(points) == 0:
        return balls[:0]
    x, depth = points, np.zeros(len(points))
    for _ in range(INSCRIBING):
        x = x - (radius - depth)[:, None] * shape.normal(x)
        depth = -shape.sdf(x)
        if np.all(np.abs(depth - radius) <= 1e-9 * radius):
            break
    near = np.linalg.norm(x - points, axis=1) <= 2 * math.sqrt(len(x.T)) * radius
    room = near & (depth > 0.5 * radius)
    return np.hstack([x[room], depth[room, None]])


def _in_frame(rigid: Rigid, points: Array, dim: int) -> np.ndarray:
    """Balls (K, d + 1) of the shape's frame as kernels take them, (K, 4) about the centre."""
    balls = np.zeros((len(points), 4))
    balls[:, :dim] = points[:, :dim] - rigid.centre
    balls[:, 3] = points[:, dim]
    return balls


def pair_points(rigid: Rigid, scene: Scene) -> np.ndarray:
    """Points (K, 4) with which a body meets other bodies."""
    return np.concatenate([points_of(rigid, scene.dim), inner_balls(rigid, scene)])


def largest_ball(rigid: Rigid, scene: Scene) -> float:
    """Radius [m] of the largest ball with which another body meets this one."""
    others = [pair_points(other, scene) for other in meeting(rigid, scene)]
    return max((float(balls[:, 3].max(initial=0.0)) for balls in others), default=0.0)


def wall_modes(rigid: Rigid, walls: Sequence[Wall]) -> Any:
    """For each face of the domain, the mode that holds between it and a body."""
    codes = [meeting_mode(rigid.surface, wall) for wall in walls]
    return wp.types.vector(len(codes), wp.int32)(*codes)


def pairs(scene: Scene) -> list[tuple[int, int, int]]:
    """Which body's points meet which other's distance field, and the mode that holds there."""
    return [
        (i, scene.rigids.index(other), meeting_mode(one.surface, other.surface))
        for i, one in enumerate(scene.rigids)
        for other in meeting(one, scene)
    ]
