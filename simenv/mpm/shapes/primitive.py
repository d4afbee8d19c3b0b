"""What a kernel evaluates: a shape as a list of primitives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("sphere", "box", "capsule", "cylinder", "half_space", "grid")


@dataclass(frozen=True, eq=False)
class SdfGrid:
    """Signed distances at the nodes of a regular grid of space.

    Between nodes they are interpolated trilinearly. A distance grows by at most one metre per
    metre, so that the interpolated one is off by at most √3/2 spacings, at creases, and by the
    square of the spacing over eight radii of curvature where the surface is smooth. At x outside
    the grid, with c its nearest point of the grid, √(φ(c)² + |x − c|²) is a lower bound: the
    surface lies behind the face that c is on.

    Attributes:
        origin: position (3,) [m] of node (0, 0, 0).
        spacing: between nodes [m].
        values: (nx, ny, nz) [m], negative inside.
    """

    origin: NDArray[np.float64]
    spacing: float
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Primitive:
    """One step in the evaluation of a shape's signed distance φ.

    The first primitive's distance is φ. Each later one turns φ into min(φ, φ_k), or, where
    `subtract`, into max(φ, −φ_k). In local coordinates, rotationᵀ (x − position), the solids are

    * sphere: about the origin, `size[0]` = radius;
    * box: about the origin, `size` = half edges (2-D: the first two);
    * capsule: about the y axis, `size[0]` = radius, `size[1]` = half length of the inner segment;
    * cylinder: about the y axis, `size[0]` = radius, `size[1]` = half height;
    * half_space: y < 0, `size` unused;
    * grid: where the values of `grid` are negative, `size` unused.

    Attributes:
        kind: one of `KINDS`.
        subtract: whether the solid is taken away.
        position: origin (d,) [m] of the local frame.
        rotation: (d, d), local to outer directions.
        size: lengths (3,) [m], unused ones 0.
        grid: of a "grid", else None.
    """

    kind: str
    subtract: bool
    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    size: NDArray[np.float64]
    grid: SdfGrid | None = None
