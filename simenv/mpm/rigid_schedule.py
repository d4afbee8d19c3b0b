"""The launches that tools and rigid bodies add to a substep, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simenv.mpm.collision import collision_kernels
from simenv.mpm.collision_adjoint import collision_adjoint_kernels
from simenv.mpm.contact import contact_kernel
from simenv.mpm.contact_adjoint import contact_adjoint_kernel
from simenv.mpm.coupling import coupling_kernels
from simenv.mpm.coupling_adjoint import coupling_adjoint_kernels
from simenv.mpm.fields import Frame
from simenv.mpm.motion import motion_kernels
from simenv.mpm.touching import touching_kernels
from simenv.mpm.types import Types


@dataclass
class RigidLaunches:
    """Contact and motion of a chunk's rigid bodies.

    Arrays are flat Warp views, environments x rigid bodies long, but for `before`, which holds one
    window of nodes of all environments for every body.

    Attributes:
        touches: constants of each body's contact.
        windows: nodes per axis of the window around each body.
        free: which bodies contact moves.
        pairs: which body's points meet which other's field, and how (`rigid_constants.py`).
        wall_modes: for each body, how it meets the domain's faces.
        values: all distance fields.
        points: contact points of each body in its own frame, radius last, for walls.
        pair_points: the same for other bodies.
        traits: friction, mass and inertia of every body.
        crowd: how many points of each body touch something (`touching.py`).
        twists: twist of each body after gravity and 0, 1, … rounds of collisions.
        struck: impulse from walls and other bodies after 1, 2, … rounds.
        matrix: how material resists each free body's motion in this substep (`coupling.py`).
        push: what it gives a body that moves as the last of `twists` says.
        change: the change of twist that follows.
        predicted: twist of each body with that change, which contact acts with.
        impulse: what each body received in this substep so far.
        total: what each body received in this environment step so far.
        before: velocities that each body found at the nodes of its window.
    """

    touches: Sequence[Any]
    windows: Sequence[tuple[int, ...]]
    free: Sequence[bool]
    pairs: Sequence[tuple[int, int, int]]
    wall_modes: Sequence[Any]
    values: Any
    points: Sequence[Any]
    pair_points: Sequence[Any]
    traits: Any
    crowd: Any
    twists: Sequence[Any]
    struck: Sequence[Any]
    matrix: Any
    push: Any
    change: Any
    predicted: Any
    impulse: Any
    total: Any
    before: Sequence[Any]

    def kernels(self, types: Types) -> list[Any]:
        """Every kernel of the forward step, to load before capture."""
        coupling, motion = coupling_kernels(types), motion_kernels(types)
        kernels = [contact_kernel(types), coupling.predict, motion.fall, motion.strike]
        kernels += [motion.move]
        if any(self.free):
            touching, collision = touching_kernels(types), collision_kernels(types)
            kernels += [coupling.weigh, *vars(touching).values(), *vars(collision).values()]
        return kernels

    def act(self, chunk: Any, frame: Frame, velocity: Any) -> None:
        """Let the bodies act on each other, then, in the scene's order, on the node velocities."""
        c = chunk.constants
        coupling, rigids = coupling_kernels(c.types), len(self.touches)
        self.begin(chunk, frame)
        start = self.twists[-1]
        self.matrix.zero_()
        self.push.zero_()
        bodies, sums = [frame.pose, start, self.traits], [self.matrix, self.push]
        for i, touch in enumerate(self.touches):
            where = self.where(chunk, touch)
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
                [*where, frame.pose, start, self.predicted, self.traits]
                + [c.modes, c.friction, velocity, self.before[i], self.impulse],
            )

    def begin(self, chunk: Any, frame: Frame) -> None:
        """Twists after gravity and the impulses that bodies get from walls and each other."""
        c, kernels = chunk.constants, motion_kernels(chunk.constants.types)
        rigids, fallen = len(self.touches), self.twists[0]
        chunk.launch(kernels.fall, rigids, [frame.twist, self.traits, c.gravity_dt, fallen])
        self.struck[0].zero_()
        if any(self.free):
            self.count(chunk, frame)
        for k, struck in enumerate(self.struck):
            self.collide(chunk, frame, k, collision_kernels(c.types), [struck])
            following = [*self.struck, self.impulse][k + 1]
            inputs = [frame.pose, fallen, self.traits, struck, self.twists[k + 1], following]
            chunk.launch(kernels.strike, rigids, inputs)

    def count(self, chunk: Any, frame: Frame) -> None:
        """How many points of each body touch something."""
        c, kernels = chunk.constants, touching_kernels(chunk.constants.types)
        self.crowd.zero_()
        for i, points in self._points_of_free():
            where = [points, points.size, i, len(self.touches)]
            chunk.launch(kernels.walls, points.size, [*where, frame.pose, c.size, self.crowd])
        for i, o, _mode in self._pairs_with_points():
            points = self.pair_points[i]
            where = [points, points.size, i, self.touches[o], self.values]
            chunk.launch(kernels.pair, points.size, [*where, frame.pose, self.crowd])

    def collide(self, chunk: Any, frame: Frame, k: int, kernels: Any, last: list[Any]) -> None:
        """Let free bodies meet the walls and every other body.

        Args:
            chunk: whose environments.
            frame: the poses before the substep.
            k: which round.
            kernels: `collision_kernels`, or their adjoints.
            last: what the kernels write: impulses, or adjoints of impulse, pose, twist and traits.
        """
        c = chunk.constants
        bodies = [frame.pose, self.twists[k], self.traits, self.crowd]
        for i, points in self._points_of_free():
            where = [points, points.size, i, len(self.touches)]
            faces = [c.size, self.wall_modes[i], c.friction, c.dt]
            chunk.launch(kernels.walls, points.size, [*where, *bodies, *faces, *last])
        for i, o, mode in self._pairs_with_points():
            points = self.pair_points[i]
            where = [points, points.size, i, self.touches[o], mode, self.values]
            chunk.launch(kernels.pair, points.size, [*where, *bodies, c.dt, *last])

    def _points_of_free(self) -> list[tuple[int, Any]]:
        return [(i, self.points[i]) for i, free in enumerate(self.free) if free]

    def _pairs_with_points(self) -> list[tuple[int, int, int]]:
        return [pair for pair in self.pairs if self.pair_points[pair[0]].size]

    def move(self, chunk: Any, source: Frame, target: Frame) -> None:
        """Poses and twists after the substep."""
        c = chunk.constants
        chunk.launch(
            motion_kernels(c.types).move,
            len(self.touches),
            [source.pose, source.twist, self.impulse, self.traits, c.gravity_dt, c.dt]
            + [c.size, len(self.touches), target.pose, target.twist, self.total, chunk.fault],
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
        impulse_bar: adjoint of the impulse of a substep, then of its rounds of collisions.
        predicted_bar: adjoint of the twists that contact acts with.
        start_bar: adjoint of the twists that meet material, then of those of each round.
        multiplier: λ of `coupling_adjoint.py`.
    """

    forward: RigidLaunches
    total_bar: Any
    impulse_bar: Any
    traits_bar: Any
    predicted_bar: Any
    start_bar: Any
    multiplier: Any

    def kernels(self, types: Types) -> list[Any]:
        """Every kernel of the backward step, to load before capture."""
        coupling, motion = coupling_adjoint_kernels(types), motion_kernels(types)
        kernels = [contact_adjoint_kernel(types), coupling.predict]
        kernels += [motion.strike_adjoint, motion.adjoint]
        if any(self.forward.free):
            kernels += [coupling.weigh, *vars(collision_adjoint_kernels(types)).values()]
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
        start = forward.twists[-1]
        bodies = [frame.pose, start, forward.traits]
        bars = [bar.pose, self.start_bar, self.traits_bar]
        self.predicted_bar.zero_()
        self.start_bar.zero_()
        for i in reversed(range(rigids)):
            where = forward.where(chunk, forward.touches[i])
            forward.launch(
                chunk,
                contact_adjoint_kernel(c.types),
                i,
                [*where, frame.pose, start, forward.predicted, forward.traits]
                + [c.modes, c.friction, forward.before[i], self.impulse_bar, grid_bar, bar.pose]
                + [self.start_bar, self.predicted_bar, self.traits_bar, chunk.grid],
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
                    [*where, *bodies, forward.before[i], self.multiplier, forward.change]
                    + [chunk.grid, grid_bar, *bars],
                )
        self.begin(chunk, frame, bar)

    def begin(self, chunk: Any, frame: Frame, bar: Frame) -> None:
        """Adjoint of `RigidLaunches.begin`, last round first."""
        c, forward = chunk.constants, self.forward
        kernels = collision_adjoint_kernels(c.types)
        bars = [bar.pose, bar.twist, self.traits_bar]
        for k in reversed(range(len(forward.struck))):
            chunk.launch(
                motion_kernels(c.types).strike_adjoint,
                len(forward.touches),
                [frame.pose, forward.traits, forward.struck[k], self.start_bar, self.impulse_bar]
                + bars,
            )
            before = bar.twist if k == 0 else self.start_bar
            last = [self.impulse_bar, bar.pose, before, self.traits_bar]
            forward.collide(chunk, frame, k, kernels, last)
