"""Volume and inertia of shapes that are put together.

Parts with known properties are added and their overlaps taken away. Only the overlaps are summed
over a lattice, so that nothing is lost where parts are apart, and thin walls cost no accuracy where
overlaps are compact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.sampling import lattice

CELLS = 2**19
"""Cells of the lattice, about: 80 along each edge of a cube, 724 along each of a square."""


def overlap(shape: Shape, others: Sequence[Shape]) -> MassProperties | None:
    """Of what is inside of a shape and of any of the others; None where bounds keep them apart.

    A sum over a lattice on the bounds that they share. A cell of edge h that the surface cuts
    counts with the share 1/2 − φ/h. Overlaps with flat faces along the axes are exact; a sphere of
    radius r comes out too large by (h / 2r)² in volume, five times that in inertia, and others
    likewise.
    """
    meeting = [other for other in others if _meet(shape.bounds, other.bounds)]
    if not meeting:
        return None
    lowers, uppers = zip(*(other.bounds for other in meeting), strict=True)
    lower = np.maximum(shape.bounds[0], np.min(lowers, axis=0))
    upper = np.minimum(shape.bounds[1], np.max(uppers, axis=0))
    counts = _counts(upper - lower)
    edges = (upper - lower) / counts
    x = lattice(lower, upper, counts)
    distance = np.maximum(shape.sdf(x), np.min([other.sdf(x) for other in meeting], axis=0))
    share = np.clip(0.5 - distance / edges.min(), 0.0, 1.0)
    return _of_cells(x, share * np.prod(edges), edges) if share.any() else None


def combined(terms: Iterable[tuple[float, MassProperties]]) -> MassProperties:
    """The sum of properties, each with a sign, by the parallel axis theorem."""
    terms = list(terms)
    volume = sum(sign * part.volume for sign, part in terms)
    centroid = sum(sign * part.volume * part.centroid for sign, part in terms) / volume
    inertia = sum(
        sign * (part.inertia + part.volume * _inertia(np.outer(r, r)))
        for sign, part, r in ((s, p, p.centroid - centroid) for s, p in terms)
    )
    return MassProperties(volume, np.asarray(centroid), np.asarray(inertia))


def _counts(edges: Array) -> list[int]:
    """Cells along each edge: about `CELLS` as good as cubes, one where an edge is thinner."""
    thick = np.ones(len(edges), dtype=bool)
    while True:
        spacing = float(np.prod(edges[thick] / edges.max()) / CELLS) ** (1 / thick.sum())
        spacing *= float(edges.max())
        if np.all(edges[thick] >= spacing):
            return [max(1, round(float(edge) / spacing)) for edge in edges]
        thick &= edges >= spacing


def _meet(a: tuple[Array, Array], b: tuple[Array, Array]) -> bool:
    return bool(np.all(np.maximum(a[0], b[0]) < np.minimum(a[1], b[1])))


def _of_cells(x: Array, volume: Array, edges: Array) -> MassProperties:
    """Of cells about (P, d) that each have a volume (P,), spread over `edges` (d,)."""
    total = float(volume.sum())
    # From a place among them: a sum of places far from the origin rounds by their distance.
    r = x - x[len(x) // 2]
    shift = volume @ r / total
    r -= shift
    moment = (volume[:, None] * r).T @ r + total * np.diag(edges**2 / 12)
    return MassProperties(total, x[len(x) // 2] + shift, _inertia(moment))


def _inertia(moment: Array) -> Array:
    """Inertia, (3, 3) or (1, 1), of second moments ∫ r_i r_j, (d, d)."""
    if len(moment) == 2:
        return np.array([[np.trace(moment)]])
    return np.trace(moment) * np.eye(3) - moment
