"""Shapes shared by the tests: one of every kind, moved about and put together."""

from __future__ import annotations

import numpy as np

from simenv import mpm
from simenv.mpm import tools

QUATERNION = (0.3, -0.5, 0.2, 0.8)
"""A turn about no particular axis."""

TETRAHEDRON = (
    np.array([[0.1, 0.1, 0.1], [0.7, 0.2, 0.1], [0.2, 0.9, 0.3], [0.3, 0.2, 0.8]]),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]),
)
"""Corners [m] and faces of a solid without symmetry."""

EXACT: dict[str, mpm.Shape] = {
    "box 2-D": mpm.Box((0.4, 0.5), (0.2, 0.3)),
    "box 3-D": mpm.Box((0.4, 0.5, 0.6), (0.2, 0.3, 0.1)),
    "disc": mpm.Sphere((0.5, 0.5), 0.2),
    "ball": mpm.Sphere((0.5, 0.5, 0.5), 0.2),
    "capsule 2-D": mpm.Capsule((0.3, 0.5), (0.7, 0.5), 0.1),
    "capsule 3-D": mpm.Capsule((0.4, 0.4, 0.5), (0.4, 0.7, 0.9), 0.1),
    "cylinder": mpm.Cylinder((0.3, 0.4, 0.5), (0.6, 0.5, 0.3), 0.2),
    "turned box 2-D": mpm.Placed(mpm.Box((0.1, 0.0), (0.2, 0.3)), (0.5, 0.4), 0.7),
    "turned box 3-D": mpm.Placed(mpm.Box((0.1, 0.0, 0.0), (0.3, 0.2, 0.1)), (0.5,) * 3, QUATERNION),
    "turned cylinder": mpm.Placed(
        mpm.Cylinder((0.0,) * 3, (0, 0.1, 0), 0.2), (0.5,) * 3, QUATERNION
    ),
}
"""Shapes of which the signed distance is exact everywhere, to rounding."""

MESHES: dict[str, mpm.Shape] = {
    "mesh": mpm.Mesh(TETRAHEDRON),
    "turned mesh": mpm.Placed(mpm.Mesh(TETRAHEDRON), (0.3, 0.2, 0.1), QUATERNION),
}

_RING = mpm.Difference(mpm.Sphere((0.5, 0.5), 0.3), mpm.Sphere((0.5, 0.5), 0.2))
_L = mpm.Union(mpm.Box((0.4, 0.3), (0.4, 0.2)), mpm.Box((0.3, 0.5), (0.2, 0.6)))
_BLOCK = mpm.Box((0.5, 0.5, 0.5), (0.4, 0.4, 0.4))
_CUP = mpm.Placed(tools.cup(0.2, 0.4, 0.05), (0.5, 0.5, 0.5), QUATERNION)

COMPOUND: dict[str, mpm.Shape] = {
    "ring": _RING,
    "L": _L,
    "ring and box": mpm.Union(mpm.Box((0.5, 0.5), (0.8, 0.1)), _RING),
    "turned L less a disc": mpm.Placed(
        mpm.Difference(_L, mpm.Sphere((0.2, 0.2), 0.1)), (0.1, 0.2), -0.4
    ),
    "half a disc": mpm.Difference(
        mpm.Sphere((0.5, 0.5), 0.3), mpm.HalfSpace((0.5, 0.5), (1.0, 2.0))
    ),
    "half a box": mpm.Difference(_BLOCK, mpm.HalfSpace((0.5, 0.5, 0.5), (-1.0, 2.0, 0.5))),
    "drilled box": mpm.Difference(_BLOCK, mpm.Capsule((0.4, 0.4, 0.2), (0.6, 0.5, 0.8), 0.1)),
    "cup with a handle": mpm.Union(mpm.Capsule((0.7, 0.3, 0.5), (0.8, 0.6, 0.5), 0.05), _CUP),
    "drilled mesh": mpm.Difference(mpm.Mesh(TETRAHEDRON), mpm.Sphere((0.3, 0.3, 0.3), 0.1)),
    "mesh and ball": mpm.Union(mpm.Mesh(TETRAHEDRON), mpm.Sphere((0.3, 0.3, 0.3), 0.25)),
}
"""Shapes put together, of which the signed distance is a bound."""

SHAPES = EXACT | MESHES | COMPOUND


def random_points(shape: mpm.Shape, count: int, seed: int = 0) -> np.ndarray:
    """Uniform random points (count, d) of a box half as large again as the shape's bounds."""
    lower, upper = shape.bounds
    room = (upper - lower) / 4
    return np.random.default_rng(seed).uniform(lower - room, upper + room, (count, shape.dim))
