"""Rotations of the plane and of space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simenv.errors import ConfigurationError

Array = NDArray[np.float64]
Orientation = float | Sequence[float]


def rotation_matrix(orientation: Orientation | None, dim: int) -> Array:
    """Rotation (d, d) of an angle [rad] in 2-D, of a quaternion (x, y, z, w) in 3-D.

    The quaternion is normalised; None stands for no rotation.

    Raises:
        ConfigurationError: not one finite number in 2-D, not four with a length in 3-D.
    """
    if orientation is None:
        return np.eye(dim)
    q = np.asarray(orientation, dtype=np.float64)
    if (
        q.shape != (() if dim == 2 else (4,))
        or not np.all(np.isfinite(q))
        or (dim == 3 and not q.any())
    ):
        wanted = "a finite angle [rad]" if dim == 2 else "a quaternion (x, y, z, w), not zero"
        raise ConfigurationError(f"orientation = {orientation} must be {wanted} in {dim}-D")
    return _turn(float(q)) if dim == 2 else _quaternion_matrix(q / np.linalg.norm(q))


def _turn(angle: float) -> Array:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _quaternion_matrix(q: Array) -> Array:
    """R = (w² − |v|²) E + 2 v vᵀ + 2 w [v]ₓ of a unit quaternion q = (v, w)."""
    v, w = q[:3], q[3]
    cross = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * cross


def frame_along(axis: Array) -> Array:
    """A rotation (3, 3) that takes the y axis to the unit vector `axis` (3,)."""
    # The coordinate axis that is farthest from `axis` keeps the cross product long.
    x = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    x /= np.linalg.norm(x)
    return np.stack([x, axis, np.cross(x, axis)], axis=1)
