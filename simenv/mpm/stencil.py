"""The sums over a particle's nodes that every transfer and adjoint is made of.

A node is a vector of four numbers, momentum (or velocity) and, last, mass; in 2-D the third is
unused. An affine field over the stencil, value(o) = b + Σ_a o_a s_a at node offset o in {0,1,2}^d,
is a 4 x 4 matrix whose rows are b and the slopes s_0, s_1, s_2. The sums are

* `scatter`:  node_i += w_i value(o_i),
* `moments`:  rows Σ w_i node_i and Σ w_i o_ia node_i for every axis a,
* `slopes`:   Σ ∂w_i/∂x_a (node_i · value(o_i)) for every axis a.

The adjoints need two of them at once: `gather` gives moments and slopes of one grid in a single
pass, `exchange` scatters to one grid and gives the slopes of another.

They are written in C++ because one vector instruction per node (on the CPU through Clang's vector
types, on Hopper GPUs through the four-wide reduction) makes them two to three times faster than
what the compiler finds by itself in generated scalar code. The last axis is contiguous in memory.
"""

from functools import lru_cache
from types import SimpleNamespace

import warp as wp

from simenv.mpm.types import Types

_TYPES = """
    constexpr int JS = DIM == 3 ? 3 : 1;
    constexpr int LAST = DIM - 1;
    const int stride_j = DIM == 3 ? nodes[2] : 0;
    const int stride_i = DIM == 3 ? nodes[1] * nodes[2] : nodes[1];
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    struct alignas(4 * sizeof(REAL)) Node {
        REAL c[4];
        CUDA_CALLABLE REAL& operator[](int i) { return c[i]; }
        CUDA_CALLABLE REAL operator[](int i) const { return c[i]; }
        CUDA_CALLABLE Node operator+(const Node& o) const {
            return {c[0] + o.c[0], c[1] + o.c[1], c[2] + o.c[2], c[3] + o.c[3]};
        }
        CUDA_CALLABLE Node operator*(const Node& o) const {
            return {c[0] * o.c[0], c[1] * o.c[1], c[2] * o.c[2], c[3] * o.c[3]};
        }
        CUDA_CALLABLE Node operator*(REAL s) const {
            return {c[0] * s, c[1] * s, c[2] * s, c[3] * s};
        }
    };
    struct Row {  // three nodes that lie next to each other
        Node n[3];
        CUDA_CALLABLE Row operator+(const Row& o) const {
            return {n[0] + o.n[0], n[1] + o.n[1], n[2] + o.n[2]};
        }
        CUDA_CALLABLE Row operator*(const Row& o) const {
            return {n[0] * o.n[0], n[1] * o.n[1], n[2] * o.n[2]};
        }
        CUDA_CALLABLE Row operator*(REAL s) const { return {n[0] * s, n[1] * s, n[2] * s}; }
    };
    auto row_of = [](Node a, Node b, Node c) { return Row{a, b, c}; };
    auto fold = [](const Row& r) { return r.n[0] + r.n[1] + r.n[2]; };
    auto add_node = [](Node* at, const Node& value, REAL weight) {
        const Node add = value * weight;
#if __CUDA_ARCH__ >= 900 && VECTOR_RED
        asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
                     :: "l"(at), "f"(add[0]), "f"(add[1]), "f"(add[2]), "f"(add[3]) : "memory");
#else
        for (int c = 0; c < 4; ++c)
            if (c != DIM || DIM == 3) wp::atomic_add(&at->c[c], add[c]);
#endif
    };
    auto add_row = [&](Node* at, const Row& r) {
        for (int k = 0; k < 3; ++k) add_node(at + k, r.n[k], REAL(1));
    };
#else
    typedef REAL Node __attribute__((ext_vector_type(4), aligned(sizeof(REAL))));
    // Three nodes that lie next to each other and a fourth that is read but never used.
    typedef REAL Row __attribute__((ext_vector_type(16), aligned(sizeof(REAL))));
    auto row_of = [](Node a, Node b, Node c) -> Row {
        const auto ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
        const auto cc = __builtin_shufflevector(c, c, 0, 1, 2, 3, 0, 1, 2, 3);
        return __builtin_shufflevector(
            ab, cc, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    };
    auto fold = [](Row r) -> Node {
        return __builtin_shufflevector(r, r, 0, 1, 2, 3)
            + __builtin_shufflevector(r, r, 4, 5, 6, 7)
            + __builtin_shufflevector(r, r, 8, 9, 10, 11);
    };
    auto add_node = [](Node* at, Node value, REAL weight) { *at = *at + value * weight; };
    // Node by node: a wide store would keep the next particle's narrow loads waiting.
    auto add_row = [](Node* at, Row r) {
        at[0] = at[0] + __builtin_shufflevector(r, r, 0, 1, 2, 3);
        at[1] = at[1] + __builtin_shufflevector(r, r, 4, 5, 6, 7);
        at[2] = at[2] + __builtin_shufflevector(r, r, 8, 9, 10, 11);
    };
#endif
    auto all = [](REAL s) -> Node { return Node{s, s, s, s}; };
    auto line = [](const auto& m, int i) -> Node {
        return Node{m.data[i][0], m.data[i][1], m.data[i][2], m.data[i][3]};
    };
    auto sum = [](Node n) -> REAL { return (n[0] + n[1]) + (n[2] + n[3]); };
"""

_SCATTER = """
    Node plane = base;
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        Node edge = plane;
#pragma unroll
        for (int j = 0; j < JS; ++j) {
            const REAL wij = w.data[0][i] * (DIM == 3 ? w.data[1][j] : REAL(1));
            Node* at = reinterpret_cast<Node*>(grid.data + start + i * stride_i + j * stride_j);
            Node value = edge;
#pragma unroll
            for (int k = 0; k < 3; ++k) {
                add_node(at + k, value, wij * w.data[LAST][k]);
                value = value + sk;
            }
            edge = edge + sj;
        }
        plane = plane + si;
    }
"""

_FIELD = """
    const Node base = line(affine, 0), si = line(affine, 1);
    const Node sj = line(affine, 2), sk = line(affine, DIM);
"""

# The field's values at the nodes of the first row, and from one row to the next.
_ROWS = """
    const Row step_i = row_of(si, si, si), step_j = row_of(sj, sj, sj);
    const Row first = row_of(base, base + sk, base + sk + sk);
"""

# The weights of the last axis are the same for all rows: they are applied once, at the end.
_ALONG = """
    const Row along = row_of(all(w.data[LAST][0]), all(w.data[LAST][1]), all(w.data[LAST][2]));
"""

_ALONG_SLOPE = """
    const Row along_slope = row_of(
        all(dw.data[LAST][0]), all(dw.data[LAST][1]), all(dw.data[LAST][2]));
"""

_MOMENTS = """
    Row total = {}, mi = {}, mj = {};
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        Row plane = {}, plane_j = {};
#pragma unroll
        for (int j = 0; j < JS; ++j) {
            const Row row = *reinterpret_cast<const Row*>(
                grid.data + start + i * stride_i + j * stride_j);
            const REAL wj = DIM == 3 ? w.data[1][j] : REAL(1);
            plane = plane + row * wj;
            if (DIM == 3) plane_j = plane_j + row * (wj * REAL(j));
        }
        const REAL wi = w.data[0][i];
        total = total + plane * wi;
        mi = mi + plane * (wi * REAL(i));
        if (DIM == 3) mj = mj + plane_j * wi;
    }
"""

_PACK_MOMENTS = """
    const Row offsets = row_of(all(REAL(0)), all(REAL(1)), all(REAL(2)));
    const Row weighted = total * along;
    const Node mk = fold(weighted * offsets);
    const Node sums[4] = {fold(weighted), fold(mi * along), DIM == 3 ? fold(mj * along) : mk, mk};
    wp::mat_t<4, 4, REAL> result;
    for (int r = 0; r < 4; ++r)
        for (int c = 0; c < 4; ++c) result.data[r][c] = sums[r][c];
"""

# Scatter to one grid and slopes of another in a single pass.
_EXCHANGE = """
    Row corner = first;
    Row gi = {}, gj = {}, gk = {};
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        Row plane = {}, plane_j = {}, value = corner;
#pragma unroll
        for (int j = 0; j < JS; ++j) {
            const int at = start + i * stride_i + j * stride_j;
            const Row row = *reinterpret_cast<const Row*>(source.data + at);
            const REAL wj = DIM == 3 ? w.data[1][j] : REAL(1);
            const Row power = row * value;
            plane = plane + power * wj;
            if (DIM == 3) plane_j = plane_j + power * dw.data[1][j];
            add_row(reinterpret_cast<Node*>(target.data + at), value * along * (w.data[0][i] * wj));
            value = value + step_j;
        }
        gi = gi + plane * dw.data[0][i];
        if (DIM == 3) gj = gj + plane_j * w.data[0][i];
        gk = gk + plane * w.data[0][i];
        corner = corner + step_i;
    }
    wp::vec_t<DIM, REAL> result;
    result[0] = sum(fold(gi * along));
    if (DIM == 3) result[1] = sum(fold(gj * along));
    result[LAST] = sum(fold(gk * along_slope));
    return result;
"""

# Moments and slopes of one grid in a single pass. The last column of the moment rows, which would
# be moments of mass that no one needs, carries the slopes.
_GATHER = """
    Row corner = first;
    Row total = {}, mi = {}, mj = {}, gi = {}, gj = {};
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        Row plane = {}, plane_j = {}, slope = {}, slope_j = {};
#pragma unroll
        for (int j = 0; j < JS; ++j) {
            const Row row = *reinterpret_cast<const Row*>(
                grid.data + start + i * stride_i + j * stride_j);
            const REAL wj = DIM == 3 ? w.data[1][j] : REAL(1);
            plane = plane + row * wj;
            if (DIM == 3 && j > 0) plane_j = plane_j + row * (wj * REAL(j));
            if (DIM == 3) slope = slope + row * dw.data[1][j];
            if (DIM == 3 && j > 0) slope_j = slope_j + row * (dw.data[1][j] * REAL(j));
        }
        const REAL wi = w.data[0][i];
        total = total + plane * wi;
        if (i > 0) mi = mi + plane * (wi * REAL(i));
        if (DIM == 3) mj = mj + plane_j * wi;
        // The value is affine: sums of products with it are products with sums.
        gi = gi + (corner * plane + step_j * plane_j) * dw.data[0][i];
        if (DIM == 3) gj = gj + (corner * slope + step_j * slope_j) * wi;
        corner = corner + step_i;
    }
    const Row gk = first * total + step_i * mi + (DIM == 3 ? step_j * mj : Row{});
"""

_GATHER_SLOPES = """
    result.data[1][3] = sum(fold(gi * along));
    if (DIM == 3) result.data[2][3] = sum(fold(gj * along));
    result.data[DIM][3] = sum(fold(gk * along_slope));
"""

_RETURN = """
    return result;
"""

_GATHER_ALL = (
    _FIELD + _ROWS + _ALONG + _ALONG_SLOPE + _GATHER + _PACK_MOMENTS + _GATHER_SLOPES + _RETURN
)


@lru_cache(maxsize=None)
def stencil_sums(types: Types) -> SimpleNamespace:
    """Native Warp functions `scatter`, `moments`, `exchange` and `gather`."""
    vec, node, Index, Weights, Affine = (
        types.vec,
        types.node,
        types.index,
        types.weights,
        types.affine,
    )

    @wp.func_native(_specialise(_FIELD + _SCATTER, types))
    def scatter(
        grid: wp.array(dtype=node), start: wp.int32, nodes: Index, w: Weights, affine: Affine
    ): ...

    @wp.func_native(_specialise(_ALONG + _MOMENTS + _PACK_MOMENTS + _RETURN, types))
    def moments(
        grid: wp.array(dtype=node), start: wp.int32, nodes: Index, w: Weights
    ) -> Affine: ...

    @wp.func_native(_specialise(_FIELD + _ROWS + _ALONG + _ALONG_SLOPE + _EXCHANGE, types))
    def exchange(
        target: wp.array(dtype=node),
        source: wp.array(dtype=node),
        start: wp.int32,
        nodes: Index,
        w: Weights,
        dw: Weights,
        affine: Affine,
    ) -> vec: ...

    @wp.func_native(_specialise(_GATHER_ALL, types))
    def gather(
        grid: wp.array(dtype=node),
        start: wp.int32,
        nodes: Index,
        w: Weights,
        dw: Weights,
        affine: Affine,
    ) -> Affine: ...

    return SimpleNamespace(scatter=scatter, moments=moments, exchange=exchange, gather=gather)


def _specialise(body: str, types: Types) -> str:
    """Fill in scalar type and dimension."""
    real = f"wp::{types.dtype}"
    vector_red = "1" if types.dtype == "float32" else "0"
    text = _TYPES + body
    return (
        text.replace("VECTOR_RED", vector_red).replace("REAL", real).replace("DIM", str(types.dim))
    )
