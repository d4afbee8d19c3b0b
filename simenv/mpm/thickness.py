"""How thick a rigid body must be for the nodes of a grid to hold material off it.

Hard contact takes the nodes within half a cell of the surface (`Rigid.reach`). What counts is how a
lattice of cells Δx can lie about a body of thickness t, along the axes at worst:

* Material must not go by unnoticed. A body that is long in k of d directions is met by a lattice of
  the other d − k, of which no point is farther than √(d − k) Δx/2 from the nearest node: a node is
  in reach if t/2 + Δx/2 is no less. A plate (k = d − 1) is always felt, a rod in space from t =
  0.41 Δx, a ball from 0.73 Δx.
* A separating plate must push material of either side out on that side, for which each side needs
  nodes of its own. One layer lies at most Δx/2 below the middle or the next one above it, so two
  are always in reach, one on each side, if t/2 + Δx/2 ≥ Δx: a plate as thin as a cell. Sticky and
  slip surfaces hold material whatever side it is on, and round a rod or a ball it flows anyway.
"""

from __future__ import annotations

import math

import numpy as np

from simenv.mpm.shapes import Array, Shape

PROBES = 2048
"""Points inside a shape at which it is probed: the deepest is within a per cent of the middle."""
LONG = 2.0
"""Cells [-] beyond which a body counts as long in a direction: it then meets a layer of nodes on
either side of its middle however it is turned."""


def thickness(shape: Shape) -> float:
    """Twice the depth [m] of the deepest point, within a per cent."""
    return -2 * float(shape.sdf(shape.sample(PROBES)).min())


def least_thickness(shape: Shape, separating: bool, dx: float) -> float:
    """Thickness [m] from which hard contact holds material off a body, on cells of `dx`."""
    d, long = shape.dim, int(np.sum(_lengths(shape) >= LONG * dx))
    if separating and long >= d - 1:
        return dx
    return max(0.0, math.sqrt(max(0, d - long)) - 1) * dx


def _lengths(shape: Shape) -> Array:
    """Lengths (d,) [m] along the principal axes of an even rod, plate or block like the shape."""
    x = shape.sample(PROBES)
    return np.sqrt(12 * np.linalg.eigvalsh(np.cov(x.T)))
