"""Points that fill a box: a lattice, and a sequence that is evenly spread at every length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from simenv.errors import ConfigurationError

Array = NDArray[np.float64]


def check_spacing(spacing: float) -> None:
    """Raise ConfigurationError unless a spacing [m] is finite and > 0."""
    if not (math.isfinite(spacing) and spacing > 0.0):
        raise ConfigurationError(f"particle spacing {spacing} [m] must be finite and > 0")


def check_seed(seed: object) -> None:
    """Raise ConfigurationError unless a seed is a whole number of at least 0."""
    if not isinstance(seed, Integral) or seed < 0:
        raise ConfigurationError(f"seed = {seed!r} must be a whole number of at least 0")


def lattice_counts(lower: Array, upper: Array, spacing: float) -> list[int]:
    """Points along each edge of a box, about a spacing apart that divides the edge evenly."""
    return [max(1, round(float(edge) / spacing)) for edge in upper - lower]


def lattice(lower: Array, upper: Array, counts: Sequence[int]) -> Array:
    """Cell-centred points (P, d) of a box, so many along each edge."""
    return next(lattice_batches(lower, upper, counts, math.prod(counts)))


def lattice_batches(
    lower: Array, upper: Array, counts: Sequence[int], batch: int
) -> Iterator[Array]:
    """The points of `lattice` in its order, `batch` of them at a time."""
    axes = [
        a + (np.arange(n) + 0.5) * (b - a) / n for a, b, n in zip(lower, upper, counts, strict=True)
    ]
    for start in range(0, total := math.prod(counts), batch):
        index = np.unravel_index(np.arange(start, min(start + batch, total)), counts)
        yield np.stack([axis[i] for axis, i in zip(axes, index, strict=True)], axis=-1)


def even_sequence(shift: Array, start: int, count: int) -> Array:
    """Terms `start` to `start + count` of a sequence (count, d) evenly spread over [0, 1)^d.

    The additive recurrence frac(shift + n α) with α_i = g^−i, where g > 1 solves g^(d+1) = g + 1:
    Roberts' R_d sequence (M. Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences",
    2018). The shift (d,) moves every point alike, around the edges.
    """
    dim = len(shift)
    g = 1.0
    for _ in range(64):  # the fixed point attracts by at least a factor of 5 per turn
        g = (1.0 + g) ** (1.0 / (dim + 1))
    alpha = g ** -np.arange(1.0, dim + 1)
    return (shift + np.arange(start, start + count)[:, None] * alpha) % 1.0
