"""Rigid tools and bodies acting on grid nodes, and the impulses that they receive.

A node at x in reach of a body, with the body's velocity u = v_b + ω × (x − p) there, gets

    v̂ = v + s (u + response(v − u, n) − v)

with the wall responses of `walls.py` and the softness s = 1 inside the body and falling off as
e^{−kφ} outside of it (Huang et al., PlasticineLab, ICLR 2021, sec. 3.1; hard for k = 0). The body
gets the impulse m (v − v̂) at x, so momentum is exchanged exactly. A free body's velocity u is the
one that it will have after the substep, as `coupling.py` predicts it.

Each body is a launch of its own over a window of nodes around it, in the order of the scene.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.distance import sample_function
from simenv.mpm.pose import pose_functions
from simenv.mpm.transfer import packing
from simenv.mpm.types import Types
from simenv.mpm.walls import boundary_functions, response_function

FAINT = 0.01
"""Softness e^{−kφ} [-] below which a node counts as out of reach."""


@lru_cache(maxsize=None)
def touch_type(types: Types) -> Any:
    """Warp struct of what is constant about one body's contact."""
    T, vec, Index = types.scalar, types.vec, types.index

    @wp.struct
    class Touch:
        rigid: int
        rigids: int
        mode: int
        softness: T
        reach: T
        radius: T
        window: Index
        flat: int
        normal: vec
        level: T
        field_start: int
        field_dims: Index
        field_origin: vec
        field_inv_h: T

    return Touch


@lru_cache(maxsize=None)
def contact_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions shared by the contact kernels, in a module of the caller's."""
    T, vec, _node, _d = types.scalar, types.vec, types.node, types.dim
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    at, against = pose_functions(types, module), response_function(types, module)
    to, faint = packing(types), wp.constant(T(FAINT))

    @wp.func(module=module)
    def blend(phi: T, softness: T):
        # Shifted so that it falls to zero where reach ends.
        if softness > T(0.0):
            s = wp.min(wp.exp(-softness * phi), T(1.0))
            return (s - faint) / (T(1.0) - faint)
        return T(1.0)

    @wp.func(module=module)
    def weight(m: T, phi: T, softness: T):
        return m * blend(phi, softness)

    @wp.func(module=module)
    def collide(
        v: vec, r: vec, pose: Pose, twist: Twist, traits: Traits, phi: T, g: vec, mode: int,
        softness: T,
    ):  # fmt: skip
        # r from the body's centre to the node, g the distance's gradient in the body's frame.
        n = at.to_world(pose, wp.normalize(g))
        u = at.velocity(twist, r)
        change = u + against(v - u, n, mode, traits[0]) - v
        return v + change * blend(phi, softness)

    return SimpleNamespace(
        at=at,
        to=to,
        blend=blend,
        weight=weight,
        collide=collide,
    )


@lru_cache(maxsize=None)
def window_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions that find a thread's nodes in the window around a body."""
    T, vec, Index, Affine, d = types.scalar, types.vec, types.index, types.affine, types.dim
    Touch, sample = touch_type(types), sample_function(types)
    last = d - 1

    @wp.func(module=module)
    def corner(p: vec, touch: Touch, nodes: Index, inv_dx: T):
        # Clamped, so that no pose, NaN included, reaches outside the grid.
        first = Index()
        for a in range(d):
            lowest = wp.int32(wp.floor((p[a] - touch.radius) * inv_dx)) + 1
            first[a] = wp.clamp(lowest, 0, nodes[a] - touch.window[a])
        return first

    @wp.func(module=module)
    def env_of(thread: int, touch: Touch, span: int):
        per_env = touch.window[last] // span
        for a in range(last):
            per_env = per_env * touch.window[a]
        return thread // per_env

    if d == 2:

        @wp.func(module=module)
        def offset(thread: int, touch: Touch, span: int):
            per_row = touch.window[1] // span
            return Index((thread // per_row) % touch.window[0], (thread % per_row) * span)

        @wp.func(module=module)
        def row_of(n: Index, nodes: Index):
            return n[0]

    else:

        @wp.func(module=module)
        def offset(thread: int, touch: Touch, span: int):
            per_row = touch.window[2] // span
            row = (thread // per_row) % (touch.window[0] * touch.window[1])
            return Index(row // touch.window[1], row % touch.window[1], (thread % per_row) * span)

        @wp.func(module=module)
        def row_of(n: Index, nodes: Index):
            return n[0] * nodes[1] + n[1]

    @wp.func(module=module)
    def place(n: Index, dx: T):
        x = vec()
        for a in range(d):
            x[a] = T(n[a] - 1) * dx
        return x

    @wp.func(module=module)
    def plane(touch: Touch, y: vec):
        field = Affine()
        for a in range(d):
            field[0, a] = touch.normal[a]
        field[0, 3] = wp.dot(touch.normal, y) - touch.level
        return field

    @wp.func(module=module)
    def distance(values: wp.array(dtype=T), touch: Touch, y: vec):
        # Gradient and distance in row 0, Hessian below.
        if touch.flat != 0:
            return plane(touch, y)
        return sample(
            values, touch.field_start, touch.field_dims, touch.field_origin, touch.field_inv_h, y
        )

    @wp.func(module=module)
    def gradient(field: Affine):
        g = vec()
        for a in range(d):
            g[a] = field[0, a]
        return g

    return SimpleNamespace(
        corner=corner,
        env_of=env_of,
        offset=offset,
        row_of=row_of,
        place=place,
        distance=distance,
        gradient=gradient,
    )


@lru_cache(maxsize=None)
def contact_kernel(types: Types) -> Any:
    """Kernel: a body acts on the nodes of its window, and receives their impulses."""
    T, _vec, node, Index = types.scalar, types.vec, types.node, types.index
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    module, last = f"simenv_mpm_contact_{types.tag}", types.dim - 1
    on, find = contact_functions(types, module), window_functions(types, module)
    bc, at, to = boundary_functions(types, module), on.at, on.to
    Modes, Frictions = bc.Modes, bc.Frictions

    @wp.kernel(module=module, enable_backward=False)
    def touch_nodes(
        touch: Touch,
        rows: wp.array(dtype=wp.int32),
        num_rows: int,
        num_nodes: int,
        nodes: Index,
        span: int,
        dx: T,
        inv_dx: T,
        values: wp.array(dtype=T),
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        modes: Modes,
        friction: Frictions,
        velocity: wp.array(dtype=node),
        before: wp.array(dtype=node),
        impulse: wp.array(dtype=Twist),
    ):
        # `before` keeps what the adjoint needs: the velocity that this body found at the node.
        t = wp.tid()
        env = find.env_of(t, touch, span)
        body = env * touch.rigids + touch.rigid
        p = at.position(pose[body])
        n = find.corner(p, touch, nodes, inv_dx) + find.offset(t, touch, span)
        row = find.row_of(n, nodes)
        if rows[env * num_rows + row] != 0:
            first = env * num_nodes + row * nodes[last] + n[last]
            for k in range(span):
                q = velocity[first + k]
                m = q[3]
                if m > T(0.0):
                    r = find.place(n, dx) - p
                    field = find.distance(values, touch, at.to_local(pose[body], r))
                    if field[0, 3] < touch.reach:
                        v = to.head(q)
                        g = find.gradient(field)
                        v_hat = on.collide(
                            v, r, pose[body], twist[body], traits[body],
                            field[0, 3], g, touch.mode, touch.softness,
                        )  # fmt: skip
                        before[t * span + k] = q
                        wp.atomic_add(impulse, body, at.wrench(r, (v - v_hat) * m))
                        v_hat = bc.boundary(v_hat, n, nodes, modes, friction)
                        velocity[first + k] = to.pack(v_hat, m)
                n[last] += 1

    return touch_nodes
