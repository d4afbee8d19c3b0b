"""Particle-to-grid and grid-to-particle transfers, in two and three dimensions.

MLS-MPM with quadratic B-splines (Hu et al., ACM TOG 37(4), 2018, eq. 16-18; APIC: Jiang et al.,
ACM TOG 34(4), 2015). The sums over nodes are in `stencil.py`, the adjoints in
`transfer_adjoint.py`.

Notation: s = x/dx + 1 is the position in node units (one layer of nodes lies outside the domain
on every face), `base` the first of the three nodes per axis, f = s - base in [0.5, 1.5),
w the weights per axis, m v + A (x_i - x_p) the momentum a particle offers to node i.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.stencil import stencil_sums
from simenv.mpm.types import Types

NOT_A_NUMBER = 1
LEFT_GRID = 2
INVERTED = 4
BAD_COMMAND = 8
LEFT_DOMAIN = 16
"""Bits of the per-environment fault code: non-finite state, particle clamped at the grid's edge,
deformation gradient with a determinant at or below zero, non-finite command of a tool, free rigid
body with its centre of mass beyond a wall."""


@lru_cache(maxsize=None)
def placement(types: Types) -> SimpleNamespace:
    """Warp functions that place a particle among its nodes."""
    T, vec, Index, Weights, d = (
        types.scalar,
        types.vec,
        types.index,
        types.weights,
        types.dim,
    )
    module = f"simenv_mpm_transfer_{types.tag}"

    @wp.func(module=module)
    def base_node(s: vec, nodes: Index):
        # Clamped, so that no position, NaN included, reaches outside the grid.
        b = Index()
        for a in range(d):
            b[a] = wp.clamp(wp.int32(s[a] - T(0.5)), 0, nodes[a] - 3)
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

    @wp.func(module=module)
    def within(x: vec, lower: vec, upper: vec):
        # 1 for each coordinate strictly inside, else 0.
        inside = vec()
        for a in range(d):
            inside[a] = wp.where(x[a] > lower[a] and x[a] < upper[a], T(1.0), T(0.0))
        return inside

    if d == 2:

        @wp.func(module=module)
        def flat_index(base: Index, nodes: Index):
            return base[0] * nodes[1] + base[1]

    else:

        @wp.func(module=module)
        def flat_index(base: Index, nodes: Index):
            return (base[0] * nodes[1] + base[1]) * nodes[2] + base[2]

    @wp.func(module=module)
    def locate(x: vec, origin: int, nodes: Index, inv_dx: T):
        # Position within the stencil, and the stencil's first node in the flat grid.
        s = x * inv_dx + vec(T(1.0))
        base = base_node(s, nodes)
        return fraction(s, base), origin + flat_index(base, nodes)

    return SimpleNamespace(
        base_node=base_node,
        locate=locate,
        weights=weights,
        weight_slopes=weight_slopes,
        within=within,
    )


@lru_cache(maxsize=None)
def packing(types: Types) -> SimpleNamespace:
    """Warp functions between (vector, mass), node vectors and affine fields (see `stencil.py`)."""
    T, vec, mat, node, Affine, d = (
        types.scalar,
        types.vec,
        types.mat,
        types.node,
        types.affine,
        types.dim,
    )
    module = f"simenv_mpm_transfer_{types.tag}"

    @wp.func(module=module)
    def pack(v: vec, m: T):
        n = node()
        for c in range(d):
            n[c] = v[c]
        n[3] = m
        return n

    @wp.func(module=module)
    def head(n: node):
        v = vec()
        for c in range(d):
            v[c] = n[c]
        return v

    @wp.func(module=module)
    def affine_field(v: vec, m: T, A: mat, f: vec, dx: T):
        # value(o) = v + A (o - f) dx: constant part first, then one slope per axis.
        b = v - A * f * dx
        field = Affine()
        for c in range(d):
            field[0, c] = b[c]
            for a in range(d):
                field[a + 1, c] = A[c, a] * dx
        field[0, 3] = m
        return field

    @wp.func(module=module)
    def first(M: Affine):
        v = vec()
        for c in range(d):
            v[c] = M[0, c]
        return v

    @wp.func(module=module)
    def centred(M: Affine, f: vec):
        # Sum of w v (o - f)^T from the moments about the base node.
        C = mat()
        for c in range(d):
            for a in range(d):
                C[c, a] = M[a + 1, c] - M[0, c] * f[a]
        return C

    @wp.func(module=module)
    def last_column(M: Affine):
        v = vec()
        for a in range(d):
            v[a] = M[a + 1, 3]
        return v

    return SimpleNamespace(
        pack=pack,
        head=head,
        affine_field=affine_field,
        first=first,
        centred=centred,
        last_column=last_column,
    )


@lru_cache(maxsize=None)
def forward_kernels(types: Types) -> SimpleNamespace:
    """Kernels `p2g` and `g2p`; launch over environments x particles, flattened."""
    return SimpleNamespace(p2g=_p2g(types), g2p=_g2p(types))


def _p2g(types: Types) -> Any:
    T, vec, mat, node, Index = types.scalar, types.vec, types.mat, types.node, types.index
    at, to, scatter = placement(types), packing(types), stencil_sums(types).scatter

    @wp.kernel(module=f"simenv_mpm_transfer_{types.tag}", enable_backward=False)
    def p2g(
        x: wp.array(dtype=vec),
        v: wp.array(dtype=vec),
        A: wp.array(dtype=mat),
        mass: wp.array(dtype=T),
        origin: wp.array(dtype=wp.int32),
        nodes: Index,
        dx: T,
        inv_dx: T,
        grid: wp.array(dtype=node),
    ):
        p = wp.tid()
        f, start = at.locate(x[p], origin[p], nodes, inv_dx)
        momentum = to.affine_field(v[p] * mass[p], mass[p], A[p], f, dx)
        scatter(grid, start, nodes, at.weights(f), momentum)

    return p2g


def _g2p(types: Types) -> Any:
    T, vec, mat, node, Index = types.scalar, types.vec, types.mat, types.node, types.index
    at, to, moments = placement(types), packing(types), stencil_sums(types).moments

    @wp.kernel(module=f"simenv_mpm_transfer_{types.tag}", enable_backward=False)
    def g2p(
        x: wp.array(dtype=vec),
        grid: wp.array(dtype=node),
        origin: wp.array(dtype=wp.int32),
        nodes: Index,
        lower: vec,
        upper: vec,
        inv_dx: T,
        dt: T,
        particles: int,
        x_out: wp.array(dtype=vec),
        v_out: wp.array(dtype=vec),
        C_out: wp.array(dtype=mat),
        fault: wp.array(dtype=wp.int32),
    ):
        p = wp.tid()
        position = x[p]
        f, start = at.locate(position, origin[p], nodes, inv_dx)
        M = moments(grid, start, nodes, at.weights(f))
        velocity = to.first(M)
        moved = position + velocity * dt
        kept = wp.min(wp.max(moved, lower), upper)
        # One comparison sees both faults: NaN is not <= 0 either.
        if not wp.length_sq(kept - moved) <= T(0.0):
            env = p // particles
            if wp.isfinite(wp.length_sq(moved)):
                wp.atomic_or(fault, env, LEFT_GRID)
            else:
                wp.atomic_or(fault, env, NOT_A_NUMBER)
        x_out[p] = kept
        v_out[p] = velocity
        C_out[p] = to.centred(M, f) * (T(4.0) * inv_dx)

    return g2p
