"""Triangles: the nearest point of one, and cutting up slender ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simenv.mpm.shapes.base import Array

SLENDER = 12.0
"""Length over height [-] up to which a triangle is left whole."""
FLAT = 1e-7
"""Height over length [-] below which a triangle is no more than its edges."""
SHORT = 1.0 / 16
"""Length [-] up to which a triangle is left whole, in a mesh of half-length 1."""


def nearest_on_triangle(x: Array, corners: Array) -> Array:
    """Points (P, 3) of triangles (P, 3 corners, 3) nearest to places (P, 3).

    The foot of the perpendicular where it falls inside, else the nearest point of the three edges.
    A triangle without height has no perpendicular, and no point far from its edges.
    """
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    doubled = np.linalg.norm(normal, axis=1)
    inside = doubled > FLAT * np.sum((corners - np.roll(corners, 1, axis=1)) ** 2, axis=2).max(
        axis=1
    )
    normal /= np.where(inside, doubled, 1.0)[:, None]
    foot = x - np.einsum("pi,pi->p", x - a, normal)[:, None] * normal
    best, nearest = np.full(len(x), np.inf), foot.copy()
    for start, end in ((a, b), (b, c), (c, a)):
        edge = end - start
        inside &= np.einsum("pi,pi->p", np.cross(edge, foot - start), normal) >= 0.0
        along = np.einsum("pi,pi->p", x - start, edge) / np.einsum("pi,pi->p", edge, edge)
        point = start + np.clip(along, 0.0, 1.0)[:, None] * edge
        away = np.linalg.norm(x - point, axis=1)
        nearest = np.where((away < best)[:, None], point, nearest)
        best = np.minimum(best, away)
    return np.where(inside[:, None], foot, nearest)


def without_slivers(corners: Array) -> tuple[Array, NDArray[np.int64]]:
    """Triangles (F, 3, 3), long thin ones cut into pieces, and of which (F,) each is a piece.

    In single precision the nearest point of a triangle of length l and height h, seen from l away,
    is off by about 6e-8 l (l / h)², and its solid angle from beside it by as much. The longest edge
    is halved until l / h or l is small.
    """
    parent = np.arange(len(corners))
    while np.any(thin := _is_thin(corners)):
        first, second = _halves(corners[thin])
        corners = np.concatenate([corners[~thin], first, second])
        parent = np.concatenate([parent[~thin], parent[thin], parent[thin]])
    return corners, parent


def _is_thin(corners: Array) -> NDArray[np.bool_]:
    edges = np.roll(corners, -1, axis=1) - corners
    longest_sq = np.sum(edges**2, axis=-1).max(axis=1)
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
    return (longest_sq > SLENDER * 2 * area) & (longest_sq > SHORT**2)


def _halves(corners: Array) -> tuple[Array, Array]:
    """Both halves (F, 3, 3) of triangles cut across their longest edge."""
    edges = np.roll(corners, -1, axis=1) - corners
    longest = np.argmax(np.sum(edges**2, axis=-1), axis=1)
    turned = (longest[:, None] + np.arange(3)) % 3
    a, b, c = np.moveaxis(np.take_along_axis(corners, turned[..., None], axis=1), 1, 0)
    middle = (a + b) / 2
    return np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)
