"""Points on the surface of a shape, to draw it with."""

from __future__ import annotations

import numpy as np

from simenv.mpm.shapes.base import Array, Shape
from simenv.mpm.shapes.flat import HalfSpace
from simenv.mpm.shapes.sampling import check_spacing, lattice, lattice_counts

CANDIDATES = 2.0**21
"""Lattice points tried, at most; a larger region is sampled more coarsely."""
HALF = 0.4999
"""Half width [-] of the band about the surface, over the spacing; less than half on one side and
more on the other, so that of two layers as near only one is taken."""


def surface_points(shape: Shape, spacing: float, lower: Array, upper: Array) -> tuple[Array, float]:
    """Points (S, d) [m] of the surface within a box, and about how far apart [m] they are.

    Places of a lattice that are within half a spacing of the surface, moved onto it. Thin walls
    have points on both sides.

    Args:
        shape: finite or not.
        spacing: between neighbours [m]; enlarged if the box is too large for it.
        lower: corner (d,) [m] of the box.
        upper: corner (d,) [m] of the box.
    """
    check_spacing(spacing)
    if isinstance(shape, HalfSpace):
        return _plane_points(shape, spacing, lower, upper), spacing
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
    """A lattice that reaches at least half a spacing beyond the box on all sides."""
    lower, upper = lower - spacing, upper + spacing
    return lattice(lower, upper, lattice_counts(lower, upper, spacing))


def _plane_points(plane: HalfSpace, spacing: float, lower: Array, upper: Array) -> Array:
    """A square lattice on the plane that covers its share of the box."""
    middle, reach = (lower + upper) / 2, float(np.linalg.norm(upper - lower)) / 2
    foot = middle - plane.sdf(middle) * plane.outward
    # The other singular vectors span what is at right angles to the normal.
    across = np.linalg.svd(plane.outward[None])[2][1:]
    ends = np.full(len(across), reach)
    flat = lattice(-ends, ends, lattice_counts(-ends, ends, spacing))
    x = foot + flat @ across
    return x[np.all((x >= lower) & (x <= upper), axis=1)]
