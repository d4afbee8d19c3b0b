"""Adjoints of the coupling kernels (see `coupling.py`).

With K ΔU = b and λ = K⁻¹ ΔŪ, the loss changes by λ · (db − dK ΔU). This is a sum over nodes of the
scalar `stake`, less the body's own part λ · dM ΔU: their generated derivatives, λ and ΔU held, are
the adjoints of all that went into the prediction.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.contact import touch_type, window_functions
from simenv.mpm.contact_adjoint import contact_adjoint_functions, pulled_back_function
from simenv.mpm.coupling import coupling_functions
from simenv.mpm.types import Types


@lru_cache(maxsize=None)
def coupling_adjoint_kernels(types: Types) -> SimpleNamespace:
    """Adjoints of `coupling_kernels`, by the same names and launched like them."""
    return SimpleNamespace(weigh=_weigh_adjoint(types), predict=_predict_adjoint(types))


def _predict_adjoint(types: Types) -> Any:
    Pose, Twist, Traits, Coupling = types.pose, types.twist, types.traits, types.coupling
    T, module = types.scalar, f"simenv_mpm_coupling_adjoint_{types.tag}"
    by = coupling_functions(types, module)
    kinetic = by.at.kinetic

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def predict_adjoint(
        rigid: int,
        rigids: int,
        pose: wp.array(dtype=Pose),
        traits: wp.array(dtype=Traits),
        matrix: wp.array(dtype=Coupling),
        change: wp.array(dtype=Twist),
        predicted_bar: wp.array(dtype=Twist),
        pose_bar: wp.array(dtype=Pose),
        start_bar: wp.array(dtype=Twist),
        traits_bar: wp.array(dtype=Traits),
        multiplier: wp.array(dtype=Twist),
    ):
        # Leaves λ in `multiplier` for the nodes.
        i = wp.tid() * rigids + rigid
        start_bar[i] = start_bar[i] + predicted_bar[i]
        if traits[i][1] > T(0.0):
            K = matrix[i] + by.mass_matrix(pose[i], traits[i])
            multiplier[i] = by.solve(K, predicted_bar[i])
            pose_part, traits_part, _0, _1 = wp.grad(kinetic)(
                pose[i], traits[i], multiplier[i], change[i]
            )
            pose_bar[i] = pose_bar[i] - pose_part
            traits_bar[i] = traits_bar[i] - traits_part

    return predict_adjoint


def _weigh_adjoint(types: Types) -> Any:
    T, vec, node, Index, last = types.scalar, types.vec, types.node, types.index, types.dim - 1
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    module = f"simenv_mpm_coupling_adjoint_{types.tag}"
    by, find = coupling_functions(types, module), window_functions(types, module)
    on, at, to = by.on, by.at, by.on.to
    pulled_back = pulled_back_function(types, module)
    local = contact_adjoint_functions(types, module).local

    @wp.func(module=module)
    def stake(
        v: vec, m: T, x: vec, pose: Pose, start: Twist, traits: Traits, phi: T, g: vec, mode: int,
        softness: T, multiplier: Twist, change: Twist,
    ):  # fmt: skip
        r = x - at.position(pose)
        N = on.holding(v, r, pose, start, traits, g, mode)
        rest = N * (v - at.velocity(start + change, r))
        return on.weight(m, phi, softness) * wp.dot(at.velocity(multiplier, r), rest)

    @wp.kernel(module=module, enable_backward=True)
    def weigh_adjoint(
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
        traits: wp.array(dtype=Traits),
        before: wp.array(dtype=node),
        multiplier: wp.array(dtype=Twist),
        change: wp.array(dtype=Twist),
        grid: wp.array(dtype=node),
        grid_bar: wp.array(dtype=node),
        pose_bar: wp.array(dtype=Pose),
        start_bar: wp.array(dtype=Twist),
        traits_bar: wp.array(dtype=Traits),
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
                            v_bar, m_bar, _x, pose_part, start_part, traits_part, phi_bar,
                            g_bar, _0, _1, _2, _3,
                        ) = wp.grad(stake)(
                            to.head(q), q[3], x, pose[body], start[body], traits[body],
                            field[0, 3], find.gradient(field), touch.mode,
                            touch.softness, multiplier[body], change[body],
                        )  # fmt: skip
                        y_bar = pulled_back(field, phi_bar, g_bar)
                        through, _4, _5 = wp.grad(local)(pose[body], x, y_bar)
                        grid_bar[first + k] = to.pack(to.head(bar) + v_bar, bar[3] + m_bar)
                        wp.atomic_add(pose_bar, body, pose_part + through)
                        wp.atomic_add(start_bar, body, start_part)
                        wp.atomic_add(traits_bar, body, traits_part)
                n[last] += 1

    return weigh_adjoint
