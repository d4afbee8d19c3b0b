"""Adjoints of the two transfers, derived by hand (notation as in `transfer.py`).

Both gather from and scatter to the same stencil as the forward kernels, so no grid needs to be
kept: a substep's grid is recomputed just before its adjoint. A bar over a name is `_bar` here.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.transfer import digit, offset, stencil
from simenv.mpm.types import Types


@lru_cache(maxsize=None)
def adjoint_kernels(types: Types) -> SimpleNamespace:
    """Kernels `g2p` and `p2g`; launch over environments x particles, flattened."""
    return SimpleNamespace(g2p=_g2p_adjoint(types), p2g=_p2g_adjoint(types))


def _g2p_adjoint(types: Types) -> Any:
    """Adjoint of v' = Σ w û, C' = 4/dx² Σ w û (x_i − x)ᵀ, x' = clamp(x + dt v').

    With a = v̄' + dt x̄' and s_i = a + 4/dx² C̄' (x_i − x): û̄_i += w s_i and
    x̄ = x̄' + Σ ∇w (û_i · s_i) − 4/dx² C̄'ᵀ v'.
    """
    T, vec, mat, node, Index = types.scalar, types.vec, types.mat, types.node, types.index
    d, rows, last, st = types.dim, 3 ** (types.dim - 1), types.dim - 1, stencil(types)
    pack, column = st.affine.pack, st.affine.column

    @wp.kernel(module=f"simenv_mpm_transfer_adjoint_{types.tag}", enable_backward=False)
    def g2p_adjoint(
        x: wp.array(dtype=vec),
        x_next: wp.array(dtype=vec),
        v_next: wp.array(dtype=vec),
        grid: wp.array(dtype=node),
        particles: int,
        num_nodes: int,
        nodes: Index,
        lower: vec,
        upper: vec,
        inv_dx: T,
        dt: T,
        x_bar: wp.array(dtype=vec),
        v_bar: wp.array(dtype=vec),
        C_bar: wp.array(dtype=mat),
        grid_bar: wp.array(dtype=node),
    ):
        p = wp.tid()
        env = p // particles
        s = x[p] * inv_dx + vec(T(1.0))
        base = st.base_node(s, nodes)
        f = st.fraction(s, base)
        w = st.weights(f)
        dw = st.weight_slopes(f, inv_dx)
        # A coordinate clamped at the grid's edge no longer depends on its past.
        xb = vec()
        for c in range(d):
            xb[c] = wp.where(
                x_next[p][c] > lower[c] and x_next[p][c] < upper[c], x_bar[p][c], T(0.0)
            )
        cb = C_bar[p]
        scale = T(4.0) * inv_dx
        b = pack(v_bar[p] + xb * dt - cb * f * scale, T(0.0))
        b0 = column(cb, 0, scale)
        b1 = column(cb, 1, scale)
        slope = column(cb, last, scale)
        gradient = vec()
        g0 = T(0.0)
        g1 = T(0.0)
        gl = T(0.0)
        origin = env * num_nodes
        for r in range(rows):
            row = b + b0 * T(wp.static(offset(r, 0, d)))
            if wp.static(d == 3):
                row = row + b1 * T(wp.static(offset(r, 1, d)))
            wr = st.row_weight(w, r)
            at = origin + st.row_start(base, nodes, r)
            row1 = row + slope
            row2 = row + slope * T(2.0)
            wp.atomic_add(grid_bar, at, row * (wr * w[last, 0]))
            wp.atomic_add(grid_bar, at + 1, row1 * (wr * w[last, 1]))
            wp.atomic_add(grid_bar, at + 2, row2 * (wr * w[last, 2]))
            e0 = wp.dot(grid[at], row)
            e1 = wp.dot(grid[at + 1], row1)
            e2 = wp.dot(grid[at + 2], row2)
            along = w[last, 0] * e0 + w[last, 1] * e1 + w[last, 2] * e2
            gl = gl + wr * (dw[last, 0] * e0 + dw[last, 1] * e1 + dw[last, 2] * e2)
            if wp.static(d == 3):
                g0 = g0 + dw[0, wp.static(digit(r, 0, d))] * w[1, wp.static(digit(r, 1, 3))] * along
                g1 = g1 + w[0, wp.static(digit(r, 0, d))] * dw[1, wp.static(digit(r, 1, 3))] * along
            else:
                g0 = g0 + dw[0, r] * along
        if wp.static(d == 3):
            gradient = vec(g0, g1, gl)
        else:
            gradient = vec(g0, gl)
        x_bar[p] = xb + gradient - wp.transpose(cb) * v_next[p] * (scale * inv_dx)

    return g2p_adjoint


def _p2g_adjoint(types: Types) -> Any:
    """Adjoint of q_i = Σ w (m v + A (x_i − x)), m_i = Σ w m, for node adjoints (q̄_i, m̄_i).

    v̄ = m Σ w q̄, Ā = Σ w q̄ (x_i − x)ᵀ, m̄ += v · Σ w q̄ + Σ w m̄_i and
    x̄ += Σ ∇w (q̄_i · b_i + m m̄_i) − Aᵀ Σ w q̄.
    """
    T, vec, mat, node, Index = types.scalar, types.vec, types.mat, types.node, types.index
    d, rows, last, st = types.dim, 3 ** (types.dim - 1), types.dim - 1, stencil(types)
    pack, column, head = st.affine.pack, st.affine.column, st.affine.head

    @wp.kernel(module=f"simenv_mpm_transfer_adjoint_{types.tag}", enable_backward=False)
    def p2g_adjoint(
        x: wp.array(dtype=vec),
        v: wp.array(dtype=vec),
        A: wp.array(dtype=mat),
        mass: wp.array(dtype=T),
        grid_bar: wp.array(dtype=node),
        particles: int,
        num_nodes: int,
        nodes: Index,
        dx: T,
        inv_dx: T,
        x_bar: wp.array(dtype=vec),
        v_bar: wp.array(dtype=vec),
        A_bar: wp.array(dtype=mat),
        mass_bar: wp.array(dtype=T),
    ):
        p = wp.tid()
        env = p // particles
        s = x[p] * inv_dx + vec(T(1.0))
        base = st.base_node(s, nodes)
        f = st.fraction(s, base)
        w = st.weights(f)
        dw = st.weight_slopes(f, inv_dx)
        a = A[p]
        m = mass[p]
        b = pack(v[p] * m - a * f * dx, m)
        b0 = column(a, 0, dx)
        b1 = column(a, 1, dx)
        slope = column(a, last, dx)
        total = node()
        m0 = node()
        m1 = node()
        ml = node()
        gradient = vec()
        g0 = T(0.0)
        g1 = T(0.0)
        gl = T(0.0)
        origin = env * num_nodes
        for r in range(rows):
            row = b + b0 * T(wp.static(offset(r, 0, d)))
            if wp.static(d == 3):
                row = row + b1 * T(wp.static(offset(r, 1, d)))
            wr = st.row_weight(w, r)
            at = origin + st.row_start(base, nodes, r)
            n0 = grid_bar[at]
            n1 = grid_bar[at + 1]
            n2 = grid_bar[at + 2]
            e0 = wp.dot(n0, row)
            e1 = wp.dot(n1, row + slope)
            e2 = wp.dot(n2, row + slope * T(2.0))
            along = w[last, 0] * e0 + w[last, 1] * e1 + w[last, 2] * e2
            gl = gl + wr * (dw[last, 0] * e0 + dw[last, 1] * e1 + dw[last, 2] * e2)
            n1 = n1 * (wr * w[last, 1])
            n2 = n2 * (wr * w[last, 2])
            sums = n0 * (wr * w[last, 0]) + n1 + n2
            total = total + sums
            ml = ml + n1 + n2 * T(2.0)
            if wp.static(digit(r, 0, d) == 1):
                m0 = m0 + sums
            if wp.static(digit(r, 0, d) == 2):
                m0 = m0 + sums * T(2.0)
            if wp.static(d == 3 and digit(r, 1, d) == 1):
                m1 = m1 + sums
            if wp.static(d == 3 and digit(r, 1, d) == 2):
                m1 = m1 + sums * T(2.0)
            if wp.static(d == 3):
                g0 = g0 + dw[0, wp.static(digit(r, 0, d))] * w[1, wp.static(digit(r, 1, 3))] * along
                g1 = g1 + w[0, wp.static(digit(r, 0, d))] * dw[1, wp.static(digit(r, 1, 3))] * along
            else:
                g0 = g0 + dw[0, r] * along
        q = head(total)
        a0 = (head(m0) - q * f[0]) * dx
        al = (head(ml) - q * f[last]) * dx
        if wp.static(d == 3):
            a1 = (head(m1) - q * f[1]) * dx
            A_bar[p] = wp.matrix_from_cols(a0, a1, al)
            gradient = vec(g0, g1, gl)
        else:
            A_bar[p] = wp.matrix_from_cols(a0, al)
            gradient = vec(g0, gl)
        v_bar[p] = q * m
        mass_bar[p] = mass_bar[p] + wp.dot(v[p], q) + total[d]
        x_bar[p] = x_bar[p] + gradient - wp.transpose(a) * q

    return p2g_adjoint
