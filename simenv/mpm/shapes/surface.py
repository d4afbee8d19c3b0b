"""Points on the surface of a shape, to draw it with."""

from __future__ import annotations

import math

import numpy as np

from simenv.mpm.shapes.base import Array, Shape
from simenv.mpm.shapes.sampling import check_spacing, lattice

CANDIDATES = 2.0**21
"""Lattice points tried, at most; a larger region is sampled more coarsely."""
HALF = 0.4999
"""Half width [-] of the band about the surface, over the spacing; less than half on one side and
more on the other, so that of two layers as near only one is taken."""


def surface_points(shape: Shape, spacing: float, lower: Array, upper: Array) -> tuple[Array, float]:
    """Points (S, d) [m] of the surface within a box, and about how far apart [m] they are.

    Places of a lattice that are within half a spacing of the surface, moved onto it. Of
    walls thinner than a spacing some may stay in the middle, where there is no way out.

    Args:
        shape: finite.
        spacing: between neighbours [m]; enlarged if the box is too large for it.
        lower: corner (d,) [m] of the box.
        upper: corner (d,) [m] of the box.

    Raises:
        ConfigurationError: the spacing is not positive, or the shape is infinite.
    """
    shape.check_finite()
    check_spacing(spacing)
    lower, upper = np.maximum(lower, shape.bounds[0]), np.minimum(upper, shape.bounds[1])
    if np.any(upper < lower):
        return np.empty((0, shape.dim)), spacing
    room = float(np.prod(upper - lower + 2 * spacing))
    spacing = max(spacing, (room / CANDIDATES) ** (1 / shape.dim))
    x = _lattice_around(lower, upper, spacing)
    x = x[np.abs(shape.sdf(x) + (0.5 - HALF) * spacing) < 0.5 * spacing]
    return onto_surface(shape, x), spacing


def onto_surface(shape: Shape, x: Array, level: float = 0.0) -> Array:
    """Places (S, d) near the surface moved to where the signed distance is `level` [m].

    Twice, since the distance of compounds is a bound and falls short near their edges.
    """
    for _ in range(2):
        x = x - (shape.sdf(x) - level)[:, None] * shape.normal(x)
    return x


def _lattice_around(lower: Array, upper: Array, spacing: float) -> Array:
    """A lattice, at most a spacing wide, that reaches half of one beyond the box on all sides."""
    lower, upper = lower - spacing, upper + spacing
    counts = [math.ceil(edge / spacing - 1e-9) for edge in (upper - lower).tolist()]
    return lattice(lower, upper, counts)
