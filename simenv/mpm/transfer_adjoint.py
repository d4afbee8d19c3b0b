"""Adjoints of the two transfers, derived by hand (notation as in `transfer.py`).

Both gather from and scatter to the same nodes as the forward kernels, so no grid needs to be
kept: a substep's grid is recomputed just before its adjoint. A bar over a name is `_bar` here.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.stencil import stencil_sums
from simenv.mpm.transfer import packing, placement
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
    at, to, sums = placement(types), packing(types), stencil_sums(types)

    @wp.kernel(module=f"simenv_mpm_transfer_adjoint_{types.tag}", enable_backward=False)
    def g2p_adjoint(
        x: wp.array(dtype=vec),
        x_next: wp.array(dtype=vec),
        v_next: wp.array(dtype=vec),
        grid: wp.array(dtype=node),
        origin: wp.array(dtype=wp.int32),
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
        f, start = at.locate(x[p], origin[p], nodes, inv_dx)
        w = at.weights(f)
        # A coordinate clamped at the grid's edge no longer depends on its past.
        xb = wp.cw_mul(x_bar[p], at.within(x_next[p], lower, upper))
        cb = C_bar[p] * (T(4.0) * inv_dx)
        offer = to.affine_field(v_bar[p] + xb * dt, T(0.0), cb, f, T(1.0))
        dw = at.weight_slopes(f, inv_dx)
        slope = sums.exchange(grid_bar, grid, start, nodes, w, dw, offer)
        x_bar[p] = xb + slope - wp.transpose(cb) * v_next[p] * inv_dx

    return g2p_adjoint


def _p2g_adjoint(types: Types) -> Any:
    """Adjoint of q_i = Σ w (m v + A (x_i − x)), m_i = Σ w m, for node adjoints (q̄_i, m̄_i).

    v̄ = m Σ w q̄, Ā = Σ w q̄ (x_i − x)ᵀ, m̄ += v · Σ w q̄ + Σ w m̄_i and
    x̄ += Σ ∇w (q̄_i · (m v + A (x_i − x)) + m m̄_i) − Aᵀ Σ w q̄. Ā overwrites A.
    """
    T, vec, mat, node, Index = types.scalar, types.vec, types.mat, types.node, types.index
    at, to, sums = placement(types), packing(types), stencil_sums(types)

    @wp.kernel(module=f"simenv_mpm_transfer_adjoint_{types.tag}", enable_backward=False)
    def p2g_adjoint(
        x: wp.array(dtype=vec),
        v: wp.array(dtype=vec),
        A: wp.array(dtype=mat),
        mass: wp.array(dtype=T),
        grid_bar: wp.array(dtype=node),
        origin: wp.array(dtype=wp.int32),
        nodes: Index,
        dx: T,
        inv_dx: T,
        x_bar: wp.array(dtype=vec),
        v_bar: wp.array(dtype=vec),
        mass_bar: wp.array(dtype=T),
    ):
        p = wp.tid()
        f, start = at.locate(x[p], origin[p], nodes, inv_dx)
        w = at.weights(f)
        m = mass[p]
        momentum = to.affine_field(v[p] * m, m, A[p], f, dx)
        M = sums.gather(grid_bar, start, nodes, w, at.weight_slopes(f, inv_dx), momentum)
        q = to.first(M)
        v_bar[p] = q * m
        mass_bar[p] = mass_bar[p] + wp.dot(v[p], q) + M[0, 3]
        x_bar[p] = x_bar[p] + to.last_column(M) - wp.transpose(A[p]) * q
        # Last, since it takes the place of A.
        A[p] = to.centred(M, f) * dx

    return p2g_adjoint
