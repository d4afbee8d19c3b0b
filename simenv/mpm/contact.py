"""Rigid tools and bodies acting on grid nodes, and the impulses that they receive.

A node at x in reach of a body, with the velocity u = v_b + ω × (x − p) of the body's point there,
gets

    v̂ = v − s N (v − û)

with û the velocity of that point after the substep and v − N v the response of `walls.py` to a
velocity v: N, taken at v − u, is n nᵀ where material slides, with a part across the normal where it
rubs, the identity where it sticks, and zero where it leaves. The softness s is 1 inside the body
and falls off as e^{−kφ} outside of it (Huang et al., PlasticineLab, ICLR 2021, sec. 3.1; hard for k
= 0). The body gets the impulse m (v − v̂) at x, so momentum is exchanged exactly. A tool keeps its
velocity, û = u, and N (v − u) is what a wall would take. A free body's û is what `coupling.py`
predicts with the same N: it comes out as predicted.

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
from simenv.mpm.walls import SLIP, STICKY, boundary_functions

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
    T, vec, d = types.scalar, types.vec, types.dim
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    at, to, faint = pose_functions(types, module), packing(types), wp.constant(T(FAINT))

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
    def rubbing(v: vec, n: vec, push: T, friction: T):
        # Share of the tangential velocity that friction takes.
        speed_sq = wp.length_sq(v - n * push)
        if speed_sq > T(1.0e-20):
            return wp.min(T(1.0), -friction * push / wp.sqrt(speed_sq))
        return wp.where(friction > T(0.0), T(1.0), T(0.0))

    @wp.func(module=module)
    def resistance(v: vec, n: vec, mode: int, friction: T):
        # N, with v − N v the response of `walls.response_function`.
        identity = wp.identity(d, dtype=T)
        if mode == wp.static(STICKY):
            return identity
        across = T(0.0)
        if mode != wp.static(SLIP):
            push = wp.dot(v, n)
            if push >= T(0.0):
                return identity * T(0.0)
            across = rubbing(v, n, push, friction)
        return wp.outer(n, n) * (T(1.0) - across) + identity * across

    @wp.func(module=module)
    def holding(v: vec, r: vec, pose: Pose, start: Twist, traits: Traits, g: vec, mode: int):
        # N at a node r from the body's centre; g is the distance's gradient in the body's frame.
        n = at.to_world(pose, wp.normalize(g))
        return resistance(v - at.velocity(start, r), n, mode, traits[0])

    @wp.func(module=module)
    def collide(
        v: vec, r: vec, pose: Pose, start: Twist, predicted: Twist, traits: Traits, phi: T, g: vec,
        mode: int, softness: T,
    ):  # fmt: skip
        N = holding(v, r, pose, start, traits, g, mode)
        return v - N * (v - at.velocity(predicted, r)) * blend(phi, softness)

    return SimpleNamespace(
        at=at,
        to=to,
        blend=blend,
        weight=weight,
        holding=holding,
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
        start: wp.array(dtype=Twist),
        predicted: wp.array(dtype=Twist),
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
                            v, r, pose[body], start[body], predicted[body], traits[body],
                            field[0, 3], g, touch.mode, touch.softness,
                        )  # fmt: skip
                        before[t * span + k] = q
                        wp.atomic_add(impulse, body, at.wrench(r, (v - v_hat) * m))
                        v_hat = bc.boundary(v_hat, n, nodes, modes, friction)
                        velocity[first + k] = to.pack(v_hat, m)
                n[last] += 1

    return touch_nodes
