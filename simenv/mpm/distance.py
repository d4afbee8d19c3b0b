"""Signed distance of a rigid body's shape, sampled once on a lattice of its own frame.

Every shape, compound or mesh is the same to a kernel: values on a lattice, interpolated by
quadratic B-splines, so that distance and normal are continuous. Interpolation rounds edges at the
scale of the lattice, half a grid cell, which is finer than what the grid resolves, and moves a
convex surface of radius R by h²/(4R) inward in 3-D and h²/(8R) in 2-D.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import warp as wp

from simenv.errors import ConfigurationError
from simenv.mpm.shapes import Array, Shape
from simenv.mpm.types import Types

FAR = 1.0e30
"""Distance [m] reported beyond the lattice."""
MOST_VALUES = 2**24
"""Lattice points of a shape, at most: 128 MB in double precision."""
KEPT = 8
"""Fields kept for scenes that are built again: sampling a fine mesh takes seconds."""


@dataclass(frozen=True)
class DistanceField:
    """Signed distances [m] of a shape, negative inside.

    Attributes:
        values: distances at the lattice's points, one axis per dimension.
        origin: first point (d,) [m] in the body's frame.
        spacing: distance h between points [m].
    """

    values: Array
    origin: Array
    spacing: float

    @classmethod
    def of(cls, shape: Shape, centre: Array, spacing: float, margin: float) -> "DistanceField":
        """Sample a shape in the frame that has its origin at `centre`.

        The lattice reaches `margin` [m] beyond the shape on all sides. The last few fields are kept
        and handed out again, read-only.

        Raises:
            ConfigurationError: the lattice is too large.
        """
        where = tuple(float(c) for c in centre)
        return _kept(ShapeKey(shape), where, float(spacing), float(margin))

    @classmethod
    def sampled(cls, shape: Shape, centre: Array, spacing: float, margin: float) -> "DistanceField":
        """As `of`, anew."""
        lower, upper = shape.finite_bounds
        # Two points beyond the margin: the splines of a position need one on either side.
        first = np.floor((lower - margin) / spacing) - 2
        last = np.ceil((upper + margin) / spacing) + 2
        _check_size(shape, last - first + 1, spacing, margin)
        axes = [spacing * np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        values = shape.sdf(points)
        values.flags.writeable = False
        return cls(values, spacing * first - centre, spacing)


@dataclass(frozen=True, eq=False)
class ShapeKey:
    """A shape as the key of a cache: equal if the shapes are, or, without a hash, the same.

    Attributes:
        shape: what is looked up; kept alive by the cache.
    """

    shape: Shape

    def __hash__(self) -> int:
        try:
            return hash(self.shape)
        except TypeError:
            return id(self.shape)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShapeKey):
            return NotImplemented
        if self.shape is other.shape:
            return True
        try:
            return hash(self.shape) == hash(other.shape) and bool(self.shape == other.shape)
        except TypeError:
            return False


@lru_cache(maxsize=KEPT)
def _kept(key: ShapeKey, centre: tuple[float, ...], spacing: float, margin: float) -> DistanceField:
    return DistanceField.sampled(key.shape, np.array(centre), spacing, margin)


def _check_size(shape: Shape, counts: Array, spacing: float, margin: float) -> None:
    if np.prod(counts) > MOST_VALUES:
        raise ConfigurationError(
            f"the distance field of {shape} needs {np.prod(counts):.4g} numbers, more than "
            f"{MOST_VALUES}: points {spacing:.4g} m apart up to {margin:.4g} m beyond it; use a "
            "coarser grid, a smaller shape (a HalfSpace for a floor), a larger softness k, which "
            "reaches 4.6/k, or smaller balls against it"
        )


_SAMPLE = """
    wp::mat_t<4, 4, REAL> result;
    result.data[0][3] = REAL(FAR_AWAY);
    REAL w[DIM][3], dw[DIM][3], ddw[3] = {REAL(1), REAL(-2), REAL(1)};
    int first = 0;
    for (int a = 0; a < DIM; ++a) {
        const REAL s = (y[a] - origin[a]) * inv_h;
        // Written so that NaN counts as outside.
        if (!(s >= REAL(0.5) && s < REAL(dims[a]) - REAL(1.5))) return result;
        const int b = static_cast<wp::int32>(s - REAL(0.5));
        const REAL f = s - REAL(b);
        w[a][0] = REAL(0.5) * (REAL(1.5) - f) * (REAL(1.5) - f);
        w[a][1] = REAL(0.75) - (f - REAL(1)) * (f - REAL(1));
        w[a][2] = REAL(0.5) * (f - REAL(0.5)) * (f - REAL(0.5));
        dw[a][0] = f - REAL(1.5);
        dw[a][1] = REAL(2) - REAL(2) * f;
        dw[a][2] = f - REAL(0.5);
        first = first * dims[a] + b;
    }
    REAL value = 0, g[3] = {0, 0, 0}, h[3][3] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
    const int line = dims[DIM - 1];
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < (DIM == 3 ? 3 : 1); ++j) {
            const int at = offset + first + (DIM == 3 ? (i * dims[1] + j) : i) * line;
            const REAL wj = DIM == 3 ? w[1][j] : REAL(1), dwj = DIM == 3 ? dw[1][j] : REAL(0);
            REAL p = 0, q = 0, r = 0;
            for (int k = 0; k < 3; ++k) {
                const REAL c = values.data[at + k];
                p += w[DIM - 1][k] * c;
                q += dw[DIM - 1][k] * c;
                r += ddw[k] * c;
            }
            value += w[0][i] * wj * p;
            g[0] += dw[0][i] * wj * p;
            g[DIM - 1] += w[0][i] * wj * q;
            h[0][0] += ddw[i] * wj * p;
            h[0][DIM - 1] += dw[0][i] * wj * q;
            h[DIM - 1][DIM - 1] += w[0][i] * wj * r;
            if (DIM == 3) {
                g[1] += w[0][i] * dwj * p;
                h[0][1] += dw[0][i] * dwj * p;
                h[1][1] += w[0][i] * ddw[j] * p;
                h[1][2] += w[0][i] * dwj * q;
            }
        }
    for (int a = 0; a < DIM; ++a) {
        result.data[0][a] = g[a] * inv_h;
        for (int b = 0; b < DIM; ++b)
            result.data[a + 1][b] = (a < b ? h[a][b] : h[b][a]) * inv_h * inv_h;
    }
    result.data[0][3] = value;
    return result;
"""


@lru_cache(maxsize=None)
def sample_function(types: Types) -> Any:
    """Native Warp function: gradient and, last, distance in row 0; the Hessian in the rows below.

    At a point y of the body's frame; `FAR` for points beyond the lattice. `offset` is where the
    body's values begin in the array of all bodies'.
    """
    T, vec, Index, Affine = types.scalar, types.vec, types.index, types.affine
    code = _SAMPLE.replace("FAR_AWAY", str(FAR))
    code = code.replace("REAL", f"wp::{types.dtype}").replace("DIM", str(types.dim))

    @wp.func_native(code)
    def sample(
        values: wp.array(dtype=T), offset: int, dims: Index, origin: vec, inv_h: T, y: vec
    ) -> Affine: ...

    return sample
