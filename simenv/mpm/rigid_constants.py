"""What is constant about a scene's tools and rigid bodies, as kernels take it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import warp as wp

from simenv.mpm.contact import touch_type
from simenv.mpm.distance import DistanceField
from simenv.mpm.rigid import Rigid
from simenv.mpm.scene import Scene
from simenv.mpm.types import Types
from simenv.mpm.walls import Wall, meeting_mode


def window_of(rigid: Rigid, scene: Scene) -> tuple[int, ...]:
    """Nodes per axis of a window that holds a body and its reach wherever it is."""
    if math.isinf(rigid.radius):
        return scene.nodes
    width = math.ceil(2 * (rigid.radius + rigid.reach(scene.dx)) / scene.dx) + 1
    return tuple(min(width, n) for n in scene.nodes)


class Fields:
    """The distance fields of a scene's rigid bodies, one behind the other."""

    def __init__(self, scene: Scene) -> None:
        self.fields = [rigid.field(scene.dx, largest_ball(rigid, scene)) for rigid in scene.rigids]
        sizes = [0 if field is None else field.values.size for field in self.fields]
        self.starts = [sum(sizes[:i]) for i in range(len(sizes))]
        flat = [field.values.ravel() for field in self.fields if field is not None]
        self.values = np.concatenate(flat) if flat else np.zeros(0)


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
    points = rigid.shape.contact_points()
    balls = np.zeros((len(points), 4))
    balls[:, :dim] = points[:, :dim] - rigid.centre
    balls[:, 3] = points[:, dim]
    return balls


def largest_ball(rigid: Rigid, scene: Scene) -> float:
    """Radius [m] of the largest ball with which another body meets this one."""
    meeting = (o for o in scene.rigids if o is not rigid and (o.free or rigid.free))
    others = [points_of(other, scene.dim) for other in meeting]
    return max((float(balls[:, 3].max(initial=0.0)) for balls in others), default=0.0)


def wall_modes(rigid: Rigid, walls: Sequence[Wall]) -> Any:
    """For each face of the domain, the mode that holds between it and a body."""
    codes = [meeting_mode(rigid.surface, wall) for wall in walls]
    return wp.types.vector(len(codes), wp.int32)(*codes)


def pairs(scene: Scene) -> list[tuple[int, int, int]]:
    """Which body's points meet which other's distance field, and the mode that holds there.

    Two tools, which nothing deflects, do not meet.
    """
    bodies = list(enumerate(scene.rigids))
    return [
        (i, o, meeting_mode(one.surface, other.surface))
        for i, one in bodies
        for o, other in bodies
        if i != o and (one.free or other.free)
    ]
