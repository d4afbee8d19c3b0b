"""Particle-to-grid and grid-to-particle transfers and their hand-derived adjoints.

MLS-MPM with quadratic B-splines (Hu et al., ACM TOG 37(4), 2018, eq. 16-18; APIC: Jiang et al.,
ACM TOG 34(4), 2015). One source serves two and three dimensions: nodes are visited in rows of
three that lie next to each other in memory (the last axis), three rows in 2-D and nine in 3-D.

Notation: s = x/dx + 1 is the position in node units (one layer of nodes lies outside the domain
on every face), `base` the first of the three nodes per axis, f = s - base in [0.5, 1.5),
w the product weights, b_i = m v + A (x_i - x_p) the momentum a particle offers to node i.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.types import Types

NOT_A_NUMBER = 1
LEFT_GRID = 2
INVERTED = 4
"""Bits of the per-environment fault code: non-finite state, particle clamped at the grid's edge,
deformation gradient with a determinant at or below zero."""


def digit(row: int, axis: int, dim: int) -> int:
    """Offset (0, 1 or 2) of a row of nodes along a leading axis."""
    return row if dim == 2 else (row // 3, row % 3)[axis]


def offset(row: int, axis: int, dim: int) -> float:
    """`digit` as a number to multiply with."""
    return float(digit(row, axis, dim))


@lru_cache(maxsize=None)
def stencil(types: Types) -> SimpleNamespace:
    """Warp functions shared by the four transfers."""
    T, vec, Index, Weights = types.scalar, types.vec, types.index, types.weights
    d = types.dim
    module = f"simenv_mpm_transfer_{types.tag}"

    @wp.func(module=module)
    def base_node(s: vec, nodes: Index):
        # Clamped, so that no position, NaN included, reaches outside the grid.
        b = Index()
        for a in range(d):
            b[a] = wp.clamp(wp.int32(wp.floor(s[a] - T(0.5))), 0, nodes[a] - 3)
        return b

    @wp.func(module=module)
    def fraction(s: vec, base: Index):
        f = vec()
        for a in range(d):
            f[a] = s[a] - T(base[a])
        return f

    @wp.func(module=module)
    def weights(f: vec):
        w = Weights()
        for a in range(d):
            w[a, 0] = T(0.5) * (T(1.5) - f[a]) * (T(1.5) - f[a])
            w[a, 1] = T(0.75) - (f[a] - T(1.0)) * (f[a] - T(1.0))
            w[a, 2] = T(0.5) * (f[a] - T(0.5)) * (f[a] - T(0.5))
        return w

    @wp.func(module=module)
    def weight_slopes(f: vec, inv_dx: T):
        w = Weights()
        for a in range(d):
            w[a, 0] = (f[a] - T(1.5)) * inv_dx
            w[a, 1] = (T(2.0) - T(2.0) * f[a]) * inv_dx
            w[a, 2] = (f[a] - T(0.5)) * inv_dx
        return w

    if d == 2:

        @wp.func(module=module)
        def row_weight(w: Weights, row: int):
            return w[0, row]

        @wp.func(module=module)
        def row_start(base: Index, nodes: Index, row: int):
            return (base[0] + row) * nodes[1] + base[1]

    else:

        @wp.func(module=module)
        def row_weight(w: Weights, row: int):
            return w[0, row // 3] * w[1, row % 3]

        @wp.func(module=module)
        def row_start(base: Index, nodes: Index, row: int):
            return ((base[0] + row // 3) * nodes[1] + base[1] + row % 3) * nodes[2] + base[2]

    return SimpleNamespace(
        base_node=base_node,
        fraction=fraction,
        weights=weights,
        weight_slopes=weight_slopes,
        row_weight=row_weight,
        row_start=row_start,
        affine=_affine(types, module),
    )


def _affine(types: Types, module: str) -> SimpleNamespace:
    """Columns of an affine field over the stencil as node vectors (momentum, mass)."""
    T, vec, mat, node, d = types.scalar, types.vec, types.mat, types.node, types.dim

    @wp.func(module=module)
    def pack(a: vec, b: T):
        n = node()
        for c in range(d):
            n[c] = a[c]
        n[d] = b
        return n

    @wp.func(module=module)
    def column(A: mat, axis: int, scale: T):
        n = node()
        for c in range(d):
            n[c] = A[c, axis] * scale
        n[d] = T(0.0)
        return n

    @wp.func(module=module)
    def head(n: node):
        v = vec()
        for c in range(d):
            v[c] = n[c]
        return v

    return SimpleNamespace(pack=pack, column=column, head=head)


@lru_cache(maxsize=None)
def forward_kernels(types: Types) -> SimpleNamespace:
    """Kernels `p2g` and `g2p`; launch over environments x particles, flattened."""
    return SimpleNamespace(p2g=_p2g(types), g2p=_g2p(types))


def _p2g(types: Types) -> Any:
    T, vec, mat, node, Index = types.scalar, types.vec, types.mat, types.node, types.index
    d, rows, last, st = types.dim, 3 ** (types.dim - 1), types.dim - 1, stencil(types)
    pack, column = st.affine.pack, st.affine.column

    @wp.kernel(module=f"simenv_mpm_transfer_{types.tag}", enable_backward=False)
    def p2g(
        x: wp.array(dtype=vec),
        v: wp.array(dtype=vec),
        A: wp.array(dtype=mat),
        mass: wp.array(dtype=T),
        particles: int,
        num_nodes: int,
        nodes: Index,
        dx: T,
        inv_dx: T,
        grid: wp.array(dtype=node),
    ):
        p = wp.tid()
        env = p // particles
        s = x[p] * inv_dx + vec(T(1.0))
        base = st.base_node(s, nodes)
        f = st.fraction(s, base)
        w = st.weights(f)
        a = A[p]
        b = pack(v[p] * mass[p] - a * f * dx, mass[p])
        b0 = column(a, 0, dx)
        b1 = column(a, 1, dx)
        slope = column(a, last, dx)
        origin = env * num_nodes
        for r in range(rows):
            row = b + b0 * T(wp.static(offset(r, 0, d)))
            if wp.static(d == 3):
                row = row + b1 * T(wp.static(offset(r, 1, d)))
            wr = st.row_weight(w, r)
            at = origin + st.row_start(base, nodes, r)
            wp.atomic_add(grid, at, row * (wr * w[last, 0]))
            wp.atomic_add(grid, at + 1, (row + slope) * (wr * w[last, 1]))
            wp.atomic_add(grid, at + 2, (row + slope * T(2.0)) * (wr * w[last, 2]))

    return p2g


def _g2p(types: Types) -> Any:
    T, vec, mat, node, Index = types.scalar, types.vec, types.mat, types.node, types.index
    d, rows, last, st = types.dim, 3 ** (types.dim - 1), types.dim - 1, stencil(types)
    head = st.affine.head

    @wp.kernel(module=f"simenv_mpm_transfer_{types.tag}", enable_backward=False)
    def g2p(
        x: wp.array(dtype=vec),
        grid: wp.array(dtype=node),
        particles: int,
        num_nodes: int,
        nodes: Index,
        lower: vec,
        upper: vec,
        inv_dx: T,
        dt: T,
        x_out: wp.array(dtype=vec),
        v_out: wp.array(dtype=vec),
        C_out: wp.array(dtype=mat),
        fault: wp.array(dtype=wp.int32),
    ):
        p = wp.tid()
        env = p // particles
        position = x[p]
        s = position * inv_dx + vec(T(1.0))
        base = st.base_node(s, nodes)
        f = st.fraction(s, base)
        w = st.weights(f)
        total = node()
        m0 = node()
        m1 = node()
        slope = node()
        origin = env * num_nodes
        for r in range(rows):
            at = origin + st.row_start(base, nodes, r)
            wr = st.row_weight(w, r)
            g1 = grid[at + 1] * (wr * w[last, 1])
            g2 = grid[at + 2] * (wr * w[last, 2])
            row = grid[at] * (wr * w[last, 0]) + g1 + g2
            total = total + row
            slope = slope + g1 + g2 * T(2.0)
            if wp.static(digit(r, 0, d) == 1):
                m0 = m0 + row
            if wp.static(digit(r, 0, d) == 2):
                m0 = m0 + row * T(2.0)
            if wp.static(d == 3 and digit(r, 1, d) == 1):
                m1 = m1 + row
            if wp.static(d == 3 and digit(r, 1, d) == 2):
                m1 = m1 + row * T(2.0)
        velocity = head(total)
        scale = T(4.0) * inv_dx
        c0 = head(m0) * scale - velocity * (scale * f[0])
        cl = head(slope) * scale - velocity * (scale * f[last])
        if wp.static(d == 3):
            c1 = head(m1) * scale - velocity * (scale * f[1])
            C_out[p] = wp.matrix_from_cols(c0, c1, cl)
        else:
            C_out[p] = wp.matrix_from_cols(c0, cl)
        moved = position + velocity * dt
        kept = wp.min(wp.max(moved, lower), upper)
        if not wp.isfinite(wp.length_sq(moved) + wp.length_sq(velocity)):
            wp.atomic_or(fault, env, NOT_A_NUMBER)
        if wp.length_sq(kept - moved) > T(0.0):
            wp.atomic_or(fault, env, LEFT_GRID)
        x_out[p] = kept
        v_out[p] = velocity

    return g2p
