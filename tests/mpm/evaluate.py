"""Signed distances as a kernel takes them from a list of primitives."""

from __future__ import annotations

import numpy as np

from simenv.mpm.shapes import Primitive, SdfGrid


def evaluate(primitives: list[Primitive], x: np.ndarray) -> np.ndarray:
    """φ (P,) [m] at points (P, d)."""
    phi = np.full(len(x), np.inf)
    for p in primitives:
        distance = _LOCAL[p.kind]((x - p.position) @ p.rotation, p)
        phi = np.maximum(phi, -distance) if p.subtract else np.minimum(phi, distance)
    return phi


def interpolate(grid: SdfGrid, x: np.ndarray) -> np.ndarray:
    """Trilinear values (P,) at points (P, 3); beyond the grid a lower bound."""
    top = grid.origin + grid.spacing * (np.array(grid.values.shape) - 1)
    nearest = np.clip(x, grid.origin, top)
    at = (nearest - grid.origin) / grid.spacing
    cell = np.minimum(at.astype(int), np.array(grid.values.shape) - 2)
    w = at - cell
    total = np.zeros(len(x))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, w, 1 - w), axis=1)
        total += weight * grid.values[tuple((cell + corner).T)]
    beyond = np.linalg.norm(x - nearest, axis=1)
    return np.where(beyond > 0, np.hypot(total, beyond), total)


def covered(primitives: list[Primitive], x: np.ndarray) -> np.ndarray:
    """Which points (P,) every grid among the primitives reaches."""
    inside = np.ones(len(x), dtype=bool)
    for p in primitives:
        if p.grid is not None:
            at = ((x - p.position) @ p.rotation - p.grid.origin) / p.grid.spacing
            inside &= np.all((at >= 0) & (at <= np.array(p.grid.values.shape) - 1), axis=1)
    return inside


def _box_like(q: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def _sphere(r: np.ndarray, p: Primitive) -> np.ndarray:
    return np.linalg.norm(r, axis=1) - p.size[0]


def _box(r: np.ndarray, p: Primitive) -> np.ndarray:
    return _box_like(np.abs(r) - p.size[: r.shape[1]])


def _capsule(r: np.ndarray, p: Primitive) -> np.ndarray:
    inner = np.zeros_like(r)
    inner[:, 1] = np.clip(r[:, 1], -p.size[1], p.size[1])
    return np.linalg.norm(r - inner, axis=1) - p.size[0]


def _cylinder(r: np.ndarray, p: Primitive) -> np.ndarray:
    across = np.hypot(r[:, 0], r[:, 2])
    return _box_like(np.stack([across - p.size[0], np.abs(r[:, 1]) - p.size[1]], axis=1))


def _half_space(r: np.ndarray, p: Primitive) -> np.ndarray:
    return r[:, 1]


def _grid(r: np.ndarray, p: Primitive) -> np.ndarray:
    return interpolate(p.grid, r)


_LOCAL = {
    "sphere": _sphere,
    "box": _box,
    "capsule": _capsule,
    "cylinder": _cylinder,
    "half_space": _half_space,
    "grid": _grid,
}
