"""Adjoint of the contact kernel (see `contact.py`).

Everything that a contact does to the loss is one scalar, its power

    v̂ · v̂̄ + wrench(x − p, m (v − v̂)) · J̄,

with v̂̄ the adjoint of the node's new velocity and J̄ that of the body's impulse. The adjoints of
velocity, mass, pose, twists, friction and inertia are its generated derivatives; those that go
through distance and normal use the distance's exact gradient and Hessian.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.contact import contact_functions, touch_type, window_functions
from simenv.mpm.types import Types
from simenv.mpm.walls import boundary_functions


@lru_cache(maxsize=None)
def pulled_back_function(types: Types, module: str) -> Any:
    """Warp function: adjoint of the point at which distance and gradient were read."""
    T, vec, Affine, d = types.scalar, types.vec, types.affine, types.dim

    @wp.func(module=module)
    def pulled_back(field: Affine, phi_bar: T, g_bar: vec):
        y_bar = vec()
        for a in range(d):
            total = phi_bar * field[0, a]
            for b in range(d):
                total = total + field[a + 1, b] * g_bar[b]
            y_bar[a] = total
        return y_bar

    return pulled_back


@lru_cache(maxsize=None)
def contact_adjoint_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions whose derivatives are the adjoints, in a module of the caller's."""
    T, vec, Index = types.scalar, types.vec, types.index
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    on, bc = contact_functions(types, module), boundary_functions(types, module)
    at, Modes, Frictions = on.at, bc.Modes, bc.Frictions

    @wp.func(module=module)
    def power(
        v: vec, m: T, x: vec, pose: Pose, start: Twist, predicted: Twist, traits: Traits, phi: T,
        g: vec, mode: int, softness: T, n: Index, nodes: Index, modes: Modes, friction: Frictions,
        v_bar: vec, J_bar: Twist,
    ):  # fmt: skip
        r = x - at.position(pose)
        v_hat = on.collide(v, r, pose, start, predicted, traits, phi, g, mode, softness)
        J = at.wrench(r, (v - v_hat) * m)
        return wp.dot(bc.boundary(v_hat, n, nodes, modes, friction), v_bar) + wp.dot(J, J_bar)

    @wp.func(module=module)
    def local(pose: Pose, x: vec, y_bar: vec):
        return wp.dot(at.to_local(pose, x - at.position(pose)), y_bar)

    return SimpleNamespace(power=power, local=local)


@lru_cache(maxsize=None)
def contact_adjoint_kernel(types: Types) -> Any:
    """Adjoint of `contact_kernel`; launched like it."""
    T, node, Index, last = types.scalar, types.node, types.index, types.dim - 1
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    module = f"simenv_mpm_contact_adjoint_{types.tag}"
    on, find = contact_functions(types, module), window_functions(types, module)
    back, bc = contact_adjoint_functions(types, module), boundary_functions(types, module)
    at, to, power, local = on.at, on.to, back.power, back.local
    pulled_back = pulled_back_function(types, module)
    Modes, Frictions = bc.Modes, bc.Frictions

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def touch_adjoint(
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
        before: wp.array(dtype=node),
        impulse_bar: wp.array(dtype=Twist),
        grid_bar: wp.array(dtype=node),
        pose_bar: wp.array(dtype=Pose),
        start_bar: wp.array(dtype=Twist),
        predicted_bar: wp.array(dtype=Twist),
        traits_bar: wp.array(dtype=Traits),
        grid: wp.array(dtype=node),
    ):
        t = wp.tid()
        env = find.env_of(t, touch, span)
        body = env * touch.rigids + touch.rigid
        p = at.position(pose[body])
        n = find.corner(p, touch, nodes, inv_dx) + find.offset(t, touch, span)
        row = find.row_of(n, nodes)
        if rows[env * num_rows + row] != 0:
            first = env * num_nodes + row * nodes[last] + n[last]
            for k in range(span):
                if grid[first + k][3] > T(0.0):
                    x = find.place(n, dx)
                    field = find.distance(values, touch, at.to_local(pose[body], x - p))
                    if field[0, 3] < touch.reach:
                        q = before[t * span + k]
                        bar = grid_bar[first + k]
                        (
                            v_bar, m_bar, _x, pose_part, start_part, predicted_part, traits_part,
                            phi_bar, g_bar, _0, _1, _2, _3, _4, _5, _6, _7,
                        ) = wp.grad(power)(
                            to.head(q), q[3], x, pose[body], start[body], predicted[body],
                            traits[body], field[0, 3], find.gradient(field), touch.mode,
                            touch.softness, n, nodes, modes, friction, to.head(bar),
                            impulse_bar[body],
                        )  # fmt: skip
                        y_bar = pulled_back(field, phi_bar, g_bar)
                        through, _8, _9 = wp.grad(local)(pose[body], x, y_bar)
                        grid_bar[first + k] = to.pack(v_bar, bar[3] + m_bar)
                        wp.atomic_add(pose_bar, body, pose_part + through)
                        wp.atomic_add(start_bar, body, start_part)
                        wp.atomic_add(predicted_bar, body, predicted_part)
                        wp.atomic_add(traits_bar, body, traits_part)
                n[last] += 1

    return touch_adjoint
