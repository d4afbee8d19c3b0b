"""Principal strains and axes of trial deformation gradients, several particles at a time.

The symmetric b = F Fᵀ is brought to diagonal form by a fixed number of Jacobi sweeps (Golub & Van
Loan, Matrix Computations, 4th ed., sec. 8.5), with logarithms by a polynomial: straight-line code
without branches or calls, that a compiler turns into vector instructions over the particles
("lanes") that a thread takes. In three dimensions that is several times as
fast as a particle at a time. On a GPU, where threads are the lanes, a thread takes one.
"""

from functools import lru_cache
from typing import Any

import warp as wp

from simenv.mpm.types import Types

SMALLEST_STRETCH = 1.0e-4
"""Principal stretches [-] are bounded from below by this, where their logarithm is taken."""

LANES = {"float32": 16, "float64": 8}
"""Particles that a thread takes on a CPU."""

SWEEPS = {"float32": 4, "float64": 6}
"""Convergence is quadratic: from the third sweep on the digits double."""

_LOAD = """
    typedef wp::INTEGER Bits;
    constexpr int TRIANGLE = DIM * (DIM + 1) / 2;
    auto at = [](int i, int j) { return i < j ? j * (j + 1) / 2 + i : i * (i + 1) / 2 + j; };
    REAL b[TRIANGLE][LANES], u[DIM * DIM][LANES], det[LANES];
    for (int l = 0; l < LANES; ++l) {
        const int p = first + l < last ? first + l : last - 1;
        const REAL* f = &F.data[p].data[0][0];
        const REAL* c = &C.data[p].data[0][0];
        REAL t[DIM * DIM];
#pragma unroll
        for (int i = 0; i < DIM; ++i)
#pragma unroll
            for (int j = 0; j < DIM; ++j) {
                REAL sum = REAL(0);
#pragma unroll
                for (int k = 0; k < DIM; ++k) sum += c[i * DIM + k] * f[k * DIM + j];
                t[i * DIM + j] = f[i * DIM + j] + dt * sum;
            }
#pragma unroll
        for (int i = 0; i < DIM; ++i)
#pragma unroll
            for (int j = 0; j <= i; ++j) {
                REAL sum = REAL(0);
#pragma unroll
                for (int k = 0; k < DIM; ++k) sum += t[i * DIM + k] * t[j * DIM + k];
                b[at(i, j)][l] = sum;
            }
        det[l] = DETERMINANT;
#pragma unroll
        for (int i = 0; i < DIM * DIM; ++i) u[i][l] = REAL(i % (DIM + 1) == 0);
    }
"""

_ROTATE = """
#pragma unroll
    for (int sweep = 0; sweep < SWEEPS; ++sweep)
#pragma unroll
        for (int i = 1; i < DIM; ++i)
#pragma unroll
            for (int j = 0; j < i; ++j) {
                const int r = 3 - i - j;  // the third axis, in 3-D
                for (int l = 0; l < LANES; ++l) {
                    const REAL off = b[at(i, j)][l], h = b[at(j, j)][l] - b[at(i, i)][l];
                    const REAL root = SQRT(h * h + REAL(4) * off * off) + TINY;
                    const REAL t = REAL(2) * off / (h < REAL(0) ? h - root : h + root);
                    const REAL c = REAL(1) / SQRT(REAL(1) + t * t), s = t * c;
                    b[at(i, i)][l] -= t * off;
                    b[at(j, j)][l] += t * off;
                    b[at(i, j)][l] = REAL(0);
                    if (DIM == 3) {
                        const REAL x = b[at(r, i)][l], y = b[at(r, j)][l];
                        b[at(r, i)][l] = c * x - s * y;
                        b[at(r, j)][l] = s * x + c * y;
                    }
#pragma unroll
                    for (int k = 0; k < DIM; ++k) {
                        const REAL x = u[k * DIM + i][l], y = u[k * DIM + j][l];
                        u[k * DIM + i][l] = c * x - s * y;
                        u[k * DIM + j][l] = s * x + c * y;
                    }
                }
            }
"""

# ln x = k ln 2 + 2 artanh z, with x = 2^k m, m in [1/sqrt 2, sqrt 2) and z = (m - 1) / (m + 1).
_LOG = """
#pragma unroll
    for (int i = 0; i < DIM; ++i)
        for (int l = 0; l < LANES; ++l) {
            const REAL x = b[at(i, i)][l] > LEAST ? b[at(i, i)][l] : LEAST;
            const Bits bits = to_bits(x);
            const Bits k = (bits - ROOT_HALF) >> MANTISSA;
            const REAL m = from_bits(bits - (k << MANTISSA));
            const REAL z = (m - REAL(1)) / (m + REAL(1)), q = z * z;
            REAL series = REAL(0);
#pragma unroll
            for (int n = TERMS; n >= 0; --n) series = series * q + REAL(1) / REAL(2 * n + 1);
            e[i][l] = z * series + REAL(k) * REAL(0.34657359027997265471);
        }
"""

_BIOT = """
    for (int l = 0; l < LANES; ++l) {
        int least = 0;
        REAL smallest = b[0][l];
#pragma unroll
        for (int i = 0; i < DIM; ++i) {
            const REAL x = b[at(i, i)][l];
            least = x < smallest ? i : least;
            smallest = x < smallest ? x : smallest;
        }
#pragma unroll
        for (int i = 0; i < DIM; ++i) {
            const REAL x = b[at(i, i)][l] > LEAST ? b[at(i, i)][l] : LEAST;
            const REAL stretch = SQRT(x);
            e[i][l] = (i == least && det[l] < REAL(0) ? -stretch : stretch) - REAL(1);
        }
    }
"""

_STORE = """
    for (int l = 0; l < LANES; ++l) {
        const int p = first + l;
        if (p < last) {
#pragma unroll
            for (int i = 0; i < DIM; ++i) strain.data[p].c[i] = e[i][l];
            REAL* out = &axes.data[p].data[0][0];
#pragma unroll
            for (int i = 0; i < DIM * DIM; ++i) out[i] = u[i][l];
        }
    }
"""

_BITS = """
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    auto to_bits = [](REAL x) { return CUDA_TO_BITS(x); };
    auto from_bits = [](Bits x) { return CUDA_FROM_BITS(x); };
#else
    auto to_bits = [](REAL x) { return __builtin_bit_cast(Bits, x); };
    auto from_bits = [](Bits x) { return __builtin_bit_cast(REAL, x); };
#endif
"""

_DETERMINANT = {
    2: "t[0] * t[3] - t[1] * t[2]",
    3: "t[0] * (t[4] * t[8] - t[5] * t[7]) - t[1] * (t[3] * t[8] - t[5] * t[6])"
    " + t[2] * (t[3] * t[7] - t[4] * t[6])",
}

_NUMBERS = {
    "float32": {
        "INTEGER": "int32",
        "CUDA_TO_BITS": "__float_as_int",
        "CUDA_FROM_BITS": "__int_as_float",
        "ROOT_HALF": "0x3f3504f3",
        "MANTISSA": "23",
        "TERMS": "5",
        "TINY": "1e-30f",
    },
    "float64": {
        "INTEGER": "int64",
        "CUDA_TO_BITS": "__double_as_longlong",
        "CUDA_FROM_BITS": "__longlong_as_double",
        "ROOT_HALF": "0x3fe6a09e667f3bcdLL",
        "MANTISSA": "52",
        "TERMS": "11",
        "TINY": "1e-200",
    },
}


def lanes(types: Types, device: str) -> int:
    """Particles that a thread of `principal_kernel` takes."""
    return LANES[types.dtype] if device == "cpu" else 1


@lru_cache(maxsize=None)
def principal_kernel(types: Types, measure: str, per_thread: int) -> Any:
    """Kernel (F, C) -> principal strains and axes of the trial gradient (I + Δt C) F.

    Launch over environments x blocks; each thread takes `per_thread` particles, and the last block
    of an environment what is left of its `count` particles from `start` on.

    Args:
        types: dimension and precision.
        measure: "log" (ln σ) or "biot" (σ − 1).
        per_thread: lanes.
    """
    T, mat, vec = types.scalar, types.mat, types.vec
    module = f"simenv_mpm_principal_{measure}_{types.tag}_{per_thread}"

    @wp.func_native(_source(types, measure, per_thread))
    def decompose(
        F: wp.array(dtype=mat),
        C: wp.array(dtype=mat),
        dt: T,
        first: wp.int32,
        last: wp.int32,
        strain: wp.array(dtype=vec),
        axes: wp.array(dtype=mat),
    ): ...

    @wp.kernel(module=module, enable_backward=False)
    def principal(
        F: wp.array(dtype=mat),
        C: wp.array(dtype=mat),
        dt: T,
        blocks: int,
        particles: int,
        start: int,
        count: int,
        strain: wp.array(dtype=vec),
        axes: wp.array(dtype=mat),
    ):
        i = wp.tid()
        env = i // blocks
        begin = env * particles + start
        first = begin + (i - env * blocks) * per_thread
        decompose(F, C, dt, first, begin + count, strain, axes)

    return principal


def _source(types: Types, measure: str, per_thread: int) -> str:
    """The snippet with scalar type, dimension and lanes filled in."""
    final = "    REAL e[DIM][LANES];\n" + (_BITS + _LOG if measure == "log" else _BIOT)
    text = _LOAD + _ROTATE + final + _STORE
    words = {
        **_NUMBERS[types.dtype],
        "SWEEPS": "1" if types.dim == 2 else str(SWEEPS[types.dtype]),
        "LEAST": f"REAL({SMALLEST_STRETCH**2!r})",
        "LANES": str(per_thread),
        "DETERMINANT": _DETERMINANT[types.dim],
        "SQRT": "sqrtf" if types.dtype == "float32" else "sqrt",
        "REAL": f"wp::{types.dtype}",
        "DIM": str(types.dim),
    }
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text
