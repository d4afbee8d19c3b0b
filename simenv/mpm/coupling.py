"""The velocity that a free body will have once material has pushed it, predicted in one solve.

Nodes in contact must move with the velocity that the body has after their push, not before: else a
body lighter than the material around it shakes, or lets it seep in. Linearised about the velocity
U₀ that gravity and this substep's collisions leave the body, the push of node i is
m_i s_i N_i (v_i − P_i U), where P_i U is the velocity of the body's point there and N_i the
resistance of `contact.py`. Momentum balance of body and nodes gives the body's change,

    (M + Σ m_i s_i P_iᵀ N_i P_i) ΔU = Σ m_i s_i P_iᵀ N_i (v_i − P_i U₀),

with M the body's mass matrix: backward Euler for the pair, stable however light the body is (for a
grid of rigid cells: Robinson-Mosher et al., ACM TOG 27(3), 2008). The contact that follows takes
from the nodes, with the same N_i, what they give at U₀ + ΔU, which is the right-hand side less the
sum's part of the left: M ΔU, to rounding.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.contact import contact_functions, touch_type, window_functions
from simenv.mpm.types import Types


@lru_cache(maxsize=None)
def coupling_kernels(types: Types) -> SimpleNamespace:
    """Kernels `weigh` (launch over a body's window) and `predict` (over environments)."""
    return SimpleNamespace(weigh=_weigh(types), predict=_predict(types))


@lru_cache(maxsize=None)
def coupling_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions shared with the adjoint, in a module of the caller's."""
    T, Pose, Twist, Traits = types.scalar, types.pose, types.twist, types.traits
    Coupling = types.coupling
    on = contact_functions(types, module)
    at, size = on.at, Twist._length_

    @wp.func(module=module)
    def mass_matrix(pose: Pose, traits: Traits):
        M = Coupling()
        for i in range(size):
            a = Twist()
            a[i] = T(1.0)
            for j in range(size):
                b = Twist()
                b[j] = T(1.0)
                M[i, j] = at.kinetic(pose, traits, a, b)
        return M

    return SimpleNamespace(
        on=on,
        at=at,
        mass_matrix=mass_matrix,
        solve=_solve(types, module),
    )


def _solve(types: Types, module: str) -> Any:
    """Warp function (K, b) -> K⁻¹ b for a symmetric positive definite matrix on twists."""
    vec, mat, Twist, Coupling = types.vec, types.mat, types.twist, types.coupling

    if types.dim == 2:

        @wp.func(module=module)
        def solve(K: Coupling, b: Twist):
            return wp.inverse(K) * b

    else:

        @wp.func(module=module)
        def block(K: Coupling, i: int, j: int):
            B = mat()
            for k in range(3):
                for m in range(3):
                    B[k, m] = K[i + k, j + m]
            return B

        @wp.func(module=module)
        def solve(K: Coupling, b: Twist):
            # Elimination of the velocity: what remains for the angular one is its complement.
            A, B = wp.inverse(block(K, 0, 0)), block(K, 0, 3)
            f, t = vec(b[0], b[1], b[2]), vec(b[3], b[4], b[5])
            rest = block(K, 3, 3) - wp.transpose(B) * A * B
            w = wp.inverse(rest) * (t - wp.transpose(B) * (A * f))
            v = A * (f - B * w)
            return Twist(v[0], v[1], v[2], w[0], w[1], w[2])

    return solve


def _weigh(types: Types) -> Any:
    T, node, Index, last = types.scalar, types.node, types.index, types.dim - 1
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    Coupling, module = types.coupling, f"simenv_mpm_coupling_{types.tag}"
    by, find = coupling_functions(types, module), window_functions(types, module)
    on, at, to = by.on, by.at, by.on.to

    @wp.kernel(module=module, enable_backward=False)
    def weigh(
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
        velocity: wp.array(dtype=node),
        before: wp.array(dtype=node),
        matrix: wp.array(dtype=Coupling),
        push: wp.array(dtype=Twist),
    ):
        # Both sums over the body's nodes; `before` keeps the velocities for the adjoint.
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
                if q[3] > T(0.0):
                    r = find.place(n, dx) - p
                    field = find.distance(values, touch, at.to_local(pose[body], r))
                    if field[0, 3] < touch.reach:
                        v = to.head(q)
                        g = find.gradient(field)
                        N = on.holding(v, r, pose[body], start[body], traits[body], g, touch.mode)
                        P = at.lever(r)
                        held = wp.transpose(P) * N * on.weight(q[3], field[0, 3], touch.softness)
                        before[t * span + k] = q
                        wp.atomic_add(matrix, body, held * P)
                        wp.atomic_add(push, body, held * (v - P * start[body]))
                n[last] += 1

    return weigh


def _predict(types: Types) -> Any:
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    T, Coupling, module = types.scalar, types.coupling, f"simenv_mpm_coupling_{types.tag}"
    by = coupling_functions(types, module)

    @wp.kernel(module=module, enable_backward=False)
    def predict(
        rigid: int,
        rigids: int,
        pose: wp.array(dtype=Pose),
        start: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        matrix: wp.array(dtype=Coupling),
        push: wp.array(dtype=Twist),
        change: wp.array(dtype=Twist),
        predicted: wp.array(dtype=Twist),
    ):
        # A tool, which has no mass, goes on as it does.
        i = wp.tid() * rigids + rigid
        change[i] = Twist()
        if traits[i][1] > T(0.0):
            change[i] = by.solve(matrix[i] + by.mass_matrix(pose[i], traits[i]), push[i])
        predicted[i] = start[i] + change[i]

    return predict
