"""Cameras: where a picture is taken from, and where a point of the scene falls in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Pose(NamedTuple):
    """What a renderer needs of a camera; the rows of `axes` are right, up and forward.

    `focal` is the picture's height over the height seen at unit depth (perspective) or seen at
    any depth (flat), and `reach` [m] is how far around `focus` shadows are worth computing.
    """

    eye: np.ndarray
    axes: np.ndarray
    focal: float
    near: float
    focus: np.ndarray
    reach: float
    flat: bool


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A perspective camera for scenes in three dimensions.

    Args:
        eye: Position of the camera [m].
        target: Point in the middle of the picture [m].
        up: Direction that points upwards in the picture.
        fov_degrees: Vertical field of view [degrees], between 0 and 180.

    Raises:
        ValueError: If a vector is not three finite numbers, if the line of sight has no length or
            is parallel to `up`, or if the field of view is out of range.
    """

    eye: Sequence[float]
    target: Sequence[float]
    up: Sequence[float] = (0.0, 1.0, 0.0)
    fov_degrees: float = 40.0

    def __post_init__(self) -> None:
        eye, target, up = (
            _vector(name, getattr(self, name), 3) for name in ("eye", "target", "up")
        )
        if not 0.0 < self.fov_degrees < 180.0:
            raise ValueError(f"fov_degrees must lie between 0 and 180, got {self.fov_degrees}")
        if not np.any(target - eye):
            raise ValueError(f"eye and target must differ, both are {tuple(self.eye)}")
        lengths = np.linalg.norm(target - eye) * np.linalg.norm(up)
        if np.linalg.norm(np.cross(target - eye, up)) <= 1e-6 * lengths:
            raise ValueError(f"up {tuple(self.up)} must not be parallel to the line of sight")

    @property
    def pose(self) -> Pose:
        """Position, axes and scale of the camera."""
        eye, target, up = (np.asarray(v, dtype=float) for v in (self.eye, self.target, self.up))
        distance = float(np.linalg.norm(target - eye))
        forward = (target - eye) / distance
        right = np.cross(forward, up)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(right, forward), forward])
        tangent = float(np.tan(np.radians(self.fov_degrees) / 2.0))
        return Pose(
            eye, axes, 0.5 / tangent, 1e-3 * distance, target, 1.5 * distance * tangent, False
        )

    def project(self, positions: npt.ArrayLike, *, width: int, height: int) -> np.ndarray:
        """Pixel coordinates of points: column, row and depth along the line of sight [m].

        Args:
            positions: Points [m], shape (P, 3).
            width: Width of the picture [pixels].
            height: Height of the picture [pixels].

        Returns:
            Array of shape (P, 3). Pixel (row, column) covers [column, column + 1) by
            [row, row + 1). Points at depth 0 or less lie behind the camera.
        """
        pose = self.pose
        seen = (_points(positions, 3) - pose.eye) @ pose.axes.T
        with np.errstate(divide="ignore", invalid="ignore"):
            return _pixels(seen, pose.focal * height / seen[:, 2:], width, height)


@dataclass(frozen=True, kw_only=True)
class Camera2D:
    """A camera that looks straight at a scene in two dimensions; y is up.

    Args:
        center: Point in the middle of the picture [m].
        height: Height of the part of the scene that is seen [m].

    Raises:
        ValueError: If `center` is not two finite numbers or `height` is not positive.
    """

    center: Sequence[float]
    height: float

    def __post_init__(self) -> None:
        _vector("center", self.center, 2)
        if not (np.isfinite(self.height) and self.height > 0.0):
            raise ValueError(f"height must be positive and finite [m], got {self.height}")

    @property
    def pose(self) -> Pose:
        """Position, axes and scale of the camera, which stands well in front of the plane z = 0."""
        focus = np.array([*self.center, 0.0], dtype=float)
        eye = focus + np.array([0.0, 0.0, 8.0 * self.height])
        axes = np.diag([1.0, 1.0, -1.0])
        return Pose(eye, axes, 1.0 / self.height, 0.0, focus, self.height, True)

    def project(self, positions: npt.ArrayLike, *, width: int, height: int) -> np.ndarray:
        """Pixel coordinates of points: column and row.

        Args:
            positions: Points [m], shape (P, 2).
            width: Width of the picture [pixels].
            height: Height of the picture [pixels].

        Returns:
            Array of shape (P, 2). Pixel (row, column) covers [column, column + 1) by
            [row, row + 1).
        """
        seen = _points(positions, 2) - np.asarray(self.center, dtype=float)
        return _pixels(seen, height / self.height, width, height)


def _pixels(seen: np.ndarray, scale: np.ndarray | float, width: int, height: int) -> np.ndarray:
    """View coordinates to pixel coordinates; a third coordinate passes through."""
    plane = seen[:, :2] * scale * [1.0, -1.0] + [0.5 * width, 0.5 * height]
    return np.concatenate([plane, seen[:, 2:]], axis=1)


def _points(positions: npt.ArrayLike, dim: int) -> np.ndarray:
    points = np.asarray(positions, dtype=float)
    if points.ndim != 2 or points.shape[1] != dim:
        raise ValueError(f"positions must have shape (P, {dim}), got {points.shape}")
    return points


def _vector(name: str, value: Sequence[float], dim: int) -> np.ndarray:
    vector = np.asarray(value, dtype=float)
    if vector.shape != (dim,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} must be {dim} finite numbers, got {value!r}")
    return vector
