"""Kernels on grid nodes: momentum to velocity, gravity and walls, near particles alone.

The grid is stored whole but worked on row by row (a row runs along the last axis, contiguous in
memory): particles mark the rows that their stencils touch, and all other rows cost one test each.
What unmarked rows hold is never read. A thread takes `span` consecutive nodes of a row: a whole
row on the CPU, where a thread is a turn of a loop, and one node on a GPU.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.transfer import packing, placement
from simenv.mpm.types import Types
from simenv.mpm.walls import boundary_functions


@lru_cache(maxsize=None)
def row_kernels(types: Types) -> SimpleNamespace:
    """Kernels that find the rows to work on and zero them.

    `mark` (launch over environments x particles) flags the first row of each particle's stencil,
    `widen` (over environments x rows) every row that a stencil touches, `clear` (over row spans)
    zeroes a grid's flagged rows.
    """
    return SimpleNamespace(mark=_mark(types), widen=_widen(types), clear=_clear(types))


def _mark(types: Types) -> Any:
    T, vec, Index, d = types.scalar, types.vec, types.index, types.dim
    at = placement(types)

    @wp.kernel(module=f"simenv_mpm_rows_{types.tag}", enable_backward=False)
    def mark(
        x: wp.array(dtype=vec),
        row_origin: wp.array(dtype=wp.int32),
        nodes: Index,
        inv_dx: T,
        first_rows: wp.array(dtype=wp.int32),
    ):
        p = wp.tid()
        base = at.base_node(x[p] * inv_dx + vec(T(1.0)), nodes)
        if wp.static(d == 2):
            first_rows[row_origin[p] + base[0]] = 1
        else:
            first_rows[row_origin[p] + base[0] * nodes[1] + base[1]] = 1

    return mark


def _widen(types: Types) -> Any:
    Index, d = types.index, types.dim

    @wp.kernel(module=f"simenv_mpm_rows_{types.tag}", enable_backward=False)
    def widen(
        first_rows: wp.array(dtype=wp.int32),
        nodes: Index,
        rows: wp.array(dtype=wp.int32),
    ):
        # A stencil reaches two rows beyond its first, on every axis but the last. Several threads
        # may flag the same row: they write the same.
        r = wp.tid()
        if first_rows[r] != 0:
            for i in range(3):
                if wp.static(d == 2):
                    rows[r + i] = 1
                else:
                    for j in range(3):
                        rows[r + i * nodes[1] + j] = 1

    return widen


@lru_cache(maxsize=None)
def row_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions between threads, rows and nodes, in a module of the caller's."""
    Index, d = types.index, types.dim

    @wp.func(module=module)
    def row_of(thread: int, nodes: Index, span: int):
        return thread // (nodes[wp.static(d - 1)] // span)

    if d == 2:

        @wp.func(module=module)
        def node_in(row: int, k: int, nodes: Index):
            return Index(row, k)

    else:

        @wp.func(module=module)
        def node_in(row: int, k: int, nodes: Index):
            return Index(row // nodes[1], row % nodes[1], k)

    @wp.func(module=module)
    def node_of(thread: int, nodes: Index, span: int, num_rows: int):
        # The thread's first node.
        per_row = nodes[wp.static(d - 1)] // span
        return node_in((thread // per_row) % num_rows, (thread % per_row) * span, nodes)

    @wp.func(module=module)
    def flat_of(thread: int, nodes: Index, span: int, num_rows: int, num_nodes: int):
        # The same node's place in the flat grid, where each environment has num_nodes.
        env = thread // (nodes[wp.static(d - 1)] // span) // num_rows
        return env * num_nodes + thread * span - env * num_rows * nodes[wp.static(d - 1)]

    return SimpleNamespace(row_of=row_of, node_of=node_of, flat_of=flat_of)


def _clear(types: Types) -> Any:
    node, Index = types.node, types.index
    module = f"simenv_mpm_rows_{types.tag}"
    at = row_functions(types, module)

    @wp.kernel(module=module, enable_backward=False)
    def clear(
        rows: wp.array(dtype=wp.int32),
        num_rows: int,
        num_nodes: int,
        nodes: Index,
        span: int,
        grid: wp.array(dtype=node),
    ):
        t = wp.tid()
        if rows[at.row_of(t, nodes, span)] != 0:
            first = at.flat_of(t, nodes, span, num_rows, num_nodes)
            for k in range(span):
                grid[first + k] = node()

    return clear


@lru_cache(maxsize=None)
def grid_kernel(types: Types) -> Any:
    """Kernel: momentum to velocity, gravity, walls. Launch over row spans."""
    T, vec, node, Index, d = types.scalar, types.vec, types.node, types.index, types.dim
    module = f"simenv_mpm_grid_{types.tag}"
    bc, to, at = boundary_functions(types, module), packing(types), row_functions(types, module)
    Modes, Frictions = bc.Modes, bc.Frictions

    @wp.kernel(module=module, enable_backward=False)
    def update_grid(
        rows: wp.array(dtype=wp.int32),
        num_rows: int,
        num_nodes: int,
        nodes: Index,
        span: int,
        grid: wp.array(dtype=node),
        modes: Modes,
        friction: Frictions,
        gravity_dt: vec,
        velocity: wp.array(dtype=node),
    ):
        t = wp.tid()
        if rows[at.row_of(t, nodes, span)] != 0:
            first = at.flat_of(t, nodes, span, num_rows, num_nodes)
            n = at.node_of(t, nodes, span, num_rows)
            for k in range(span):
                q = grid[first + k]
                m = q[3]
                if m > T(0.0):
                    v = to.head(q) / m + gravity_dt
                    if not bc.interior(n, nodes):
                        v = bc.boundary(v, n, nodes, modes, friction)
                    velocity[first + k] = to.pack(v, m)
                else:
                    velocity[first + k] = node()
                n[wp.static(d - 1)] += 1

    return update_grid


@lru_cache(maxsize=None)
def grid_adjoint_kernel(types: Types) -> Any:
    """Adjoint of `grid_kernel`: turns node adjoints of (v̂, m) into those of (q, m), in place.

    q̄ = v̄ / m and m̄ −= (q/m · v̄) / m, where v̄ is v̂̄ pulled back through the walls by the
    generated adjoint of their function.
    """
    T, vec, node, Index, d = types.scalar, types.vec, types.node, types.index, types.dim
    module = f"simenv_mpm_grid_adjoint_{types.tag}"
    bc, to, at = boundary_functions(types, module), packing(types), row_functions(types, module)
    Modes, Frictions, contraction = bc.Modes, bc.Frictions, bc.contraction

    @wp.func(module=module)
    def pulled_back(q: node, v_bar: vec, m_bar: T):
        # In this order, since the square of a corner node's mass underflows in float32.
        q_bar = v_bar / q[3]
        return to.pack(q_bar, m_bar - wp.dot(to.head(q) / q[3], q_bar))

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def update_grid_adjoint(
        rows: wp.array(dtype=wp.int32),
        num_rows: int,
        num_nodes: int,
        nodes: Index,
        span: int,
        grid: wp.array(dtype=node),
        modes: Modes,
        friction: Frictions,
        gravity_dt: vec,
        grid_bar: wp.array(dtype=node),
    ):
        t = wp.tid()
        if rows[at.row_of(t, nodes, span)] != 0:
            first = at.flat_of(t, nodes, span, num_rows, num_nodes)
            n = at.node_of(t, nodes, span, num_rows)
            for k in range(span):
                q = grid[first + k]
                if q[3] > T(0.0):
                    bar = grid_bar[first + k]
                    v_bar = to.head(bar)
                    if not bc.interior(n, nodes):
                        v = to.head(q) / q[3] + gravity_dt
                        v_bar = wp.grad(contraction)(v, v_bar, n, nodes, modes, friction)[0]
                    grid_bar[first + k] = pulled_back(q, v_bar, bar[3])
                n[wp.static(d - 1)] += 1

    return update_grid_adjoint
