"""The launches that tools and rigid bodies add to a substep, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simenv.mpm.collision import collision_kernels
from simenv.mpm.contact import contact_kernel, touch_type
from simenv.mpm.contact_adjoint import contact_adjoint_kernel
from simenv.mpm.coupling import coupling_kernels
from simenv.mpm.coupling_adjoint import coupling_adjoint_kernels
from simenv.mpm.distance import DistanceField
from simenv.mpm.fields import Frame
from simenv.mpm.motion import motion_kernels
from simenv.mpm.rigid import Rigid
from simenv.mpm.scene import Scene
from simenv.mpm.types import Types


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
    """Contact points (K, 4) in the body's own frame, radius last; none for a tool."""
    if not rigid.free:
        return np.zeros((0, 4))
    points = rigid.shape.contact_points()
    balls = np.zeros((len(points), 4))
    balls[:, :dim] = points[:, :dim] - rigid.centre
    balls[:, 3] = points[:, dim]
    return balls


def largest_ball(rigid: Rigid, scene: Scene) -> float:
    """Radius [m] of the largest ball with which another body meets this one."""
    others = [points_of(other, scene.dim) for other in scene.rigids if other is not rigid]
    return max((float(balls[:, 3].max(initial=0.0)) for balls in others), default=0.0)


@dataclass
class RigidLaunches:
    """Contact and motion of a chunk's rigid bodies.

    Arrays are flat Warp views, environments x rigid bodies long, but for `before`, which holds one
    window of nodes of all environments for every body.

    Attributes:
        touches: constants of each body's contact.
        free: which bodies contact moves.
        values: all distance fields.
        points: contact points of each free body in its own frame, radius last.
        traits: friction, mass and inertia of every body.
        matrix: how material resists each free body's motion in this substep (`coupling.py`).
        push: what it gives a body that moves as gravity alone would have it.
        change: the change of twist that follows.
        predicted: twist of each body with that change, which contact acts with.
        impulse: what each body received in this substep so far.
        total: what each body received in this environment step so far.
        before: velocities that each body found at the nodes of its window.
    """

    touches: Sequence[Any]
    windows: Sequence[tuple[int, ...]]
    free: Sequence[bool]
    values: Any
    points: Sequence[Any]
    traits: Any
    matrix: Any
    push: Any
    change: Any
    predicted: Any
    impulse: Any
    total: Any
    before: Sequence[Any]

    def kernels(self, types: Types) -> list[Any]:
        """Every kernel of the forward step, to load before capture."""
        coupling, collision = coupling_kernels(types), collision_kernels(types)
        kernels = [contact_kernel(types), coupling.predict, motion_kernels(types).move]
        if any(self.free):
            kernels += [coupling.weigh, collision.walls, collision.pair]
        return kernels

    def act(self, chunk: Any, frame: Frame, velocity: Any) -> None:
        """Let every body act on the node velocities, in the scene's order, and on each other."""
        c = chunk.constants
        coupling, rigids = coupling_kernels(c.types), len(self.touches)
        bodies = [frame.pose, frame.twist, self.traits, c.gravity_dt]
        self.collide(chunk, frame)
        self.matrix.zero_()
        self.push.zero_()
        for i, touch in enumerate(self.touches):
            where, sums = self.where(chunk, touch), [self.matrix, self.push]
            if self.free[i]:
                inputs = [*where, *bodies, velocity, self.before[i], *sums]
                self.launch(chunk, coupling.weigh, i, inputs)
            chunk.launch(
                coupling.predict, 1, [i, rigids, *bodies, *sums, self.change, self.predicted]
            )
            self.launch(
                chunk,
                contact_kernel(c.types),
                i,
                [*where, frame.pose, self.predicted, self.traits, c.modes, c.friction, velocity]
                + [self.before[i], self.impulse],
            )

    def collide(self, chunk: Any, frame: Frame) -> None:
        """Let free bodies meet the walls and every other body."""
        kernels = collision_kernels(chunk.constants.types)
        self._over_points(chunk, frame, kernels.walls, kernels.pair, [self.impulse])

    def collide_adjoint(self, chunk: Any, frame: Frame, bars: list[Any]) -> None:
        """Adjoint of `collide`; `bars` of impulse, pose, twist and traits."""
        kernels = collision_kernels(chunk.constants.types)
        self._over_points(chunk, frame, kernels.walls_adjoint, kernels.pair_adjoint, bars)

    def _over_points(
        self, chunk: Any, frame: Frame, walls: Any, pair: Any, last: list[Any]
    ) -> None:
        c, rigids = chunk.constants, len(self.touches)
        bodies = [frame.pose, frame.twist, self.traits]
        for i in (i for i in range(rigids) if self.free[i]):
            points = [self.points[i], self.points[i].size, i]
            inputs = [*points, rigids, *bodies, c.size, c.modes, c.friction, c.dt, *last]
            chunk.launch(walls, self.points[i].size, inputs)
            for o in range(rigids):
                if o != i:
                    inputs = [*points, self.touches[o], self.values, *bodies, c.dt, *last]
                    chunk.launch(pair, self.points[i].size, inputs)

    def move(self, chunk: Any, source: Frame, target: Frame) -> None:
        """Poses and twists after the substep."""
        c = chunk.constants
        chunk.launch(
            motion_kernels(c.types).move,
            len(self.touches),
            [source.pose, source.twist, self.impulse, self.traits, c.gravity_dt, c.dt]
            + [len(self.touches), target.pose, target.twist, self.total, chunk.fault],
        )

    def where(self, chunk: Any, touch: Any) -> list[Any]:
        """The arguments that every contact kernel begins with."""
        c = chunk.constants
        span = chunk.span(touch.window[-1])
        return [touch, chunk.rows, c.num_rows, c.num_nodes, c.nodes, span, c.dx, c.inv_dx] + [
            self.values
        ]

    def launch(self, chunk: Any, kernel: Any, i: int, inputs: list[Any]) -> None:
        """Launch a contact kernel over the window of body i."""
        window = self.windows[i]
        chunk.launch(kernel, math.prod(window) // chunk.span(window[-1]), inputs)


@dataclass
class RigidAdjoint:
    """Adjoints of `RigidLaunches`, with buffers of their own.

    Attributes:
        total_bar: adjoint of each body's impulse over the step, given by the caller.
        impulse_bar: adjoint of the impulse of a substep.
        predicted_bar: adjoint of the twists that contact acts with.
        multiplier: λ of `coupling_adjoint.py`.
    """

    forward: RigidLaunches
    total_bar: Any
    impulse_bar: Any
    traits_bar: Any
    predicted_bar: Any
    multiplier: Any

    def kernels(self, types: Types) -> list[Any]:
        """Every kernel of the backward step, to load before capture."""
        coupling, collision = coupling_adjoint_kernels(types), collision_kernels(types)
        kernels = [contact_adjoint_kernel(types), coupling.predict, motion_kernels(types).adjoint]
        if any(self.forward.free):
            kernels += [coupling.weigh, collision.walls_adjoint, collision.pair_adjoint]
        return kernels

    def move(self, chunk: Any, source: Frame, bar: Frame) -> None:
        """Adjoint of `RigidLaunches.move`: `bar` goes from after the substep to before it."""
        c, forward = chunk.constants, self.forward
        chunk.launch(
            motion_kernels(c.types).adjoint,
            len(forward.touches),
            [source.pose, source.twist, forward.impulse, forward.traits, c.gravity_dt, c.dt]
            + [bar.pose, bar.twist, self.total_bar, self.impulse_bar, self.traits_bar],
        )

    def act(self, chunk: Any, frame: Frame, bar: Frame, grid_bar: Any) -> None:
        """Adjoint of `RigidLaunches.act`, last body first."""
        c, forward = chunk.constants, self.forward
        coupling, rigids = coupling_adjoint_kernels(c.types), len(forward.touches)
        bars = [bar.pose, bar.twist, self.traits_bar]
        forward.collide_adjoint(chunk, frame, [self.impulse_bar, *bars])
        self.predicted_bar.zero_()
        for i in reversed(range(rigids)):
            where = forward.where(chunk, forward.touches[i])
            forward.launch(
                chunk,
                contact_adjoint_kernel(c.types),
                i,
                [*where, frame.pose, forward.predicted, forward.traits, c.modes, c.friction]
                + [forward.before[i], self.impulse_bar, grid_bar, bar.pose]
                + [self.predicted_bar, self.traits_bar, chunk.grid],
            )
            chunk.launch(
                coupling.predict,
                1,
                [i, rigids, frame.pose, forward.traits, forward.matrix, forward.change]
                + [self.predicted_bar, *bars, self.multiplier],
            )
            if forward.free[i]:
                forward.launch(
                    chunk,
                    coupling.weigh,
                    i,
                    [*where, frame.pose, frame.twist, forward.traits, c.gravity_dt]
                    + [forward.before[i], self.multiplier, forward.change]
                    + [chunk.grid, grid_bar, *bars],
                )
