"""Pictures of particles: every particle a shaded sphere, or a disc in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from simenv.render import kernels, relief, shading, shadows
from simenv.render.camera import Camera, Camera2D, Pose
from simenv.render.colors import unit_colors

Color = Sequence[float] | np.ndarray
BACKGROUND = ((0.80, 0.87, 0.94), (0.97, 0.98, 0.99))


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A level floor, at right angles to the y axis.

    Args:
        level: Height of the floor, along y [m].
        tile: Side of a checker square, and the distance between ticks [m].
        color: Red, green and blue, floats in [0, 1] or integers in 0..255.

    Raises:
        ValueError: If `level` is not finite, `tile` not positive or `color` not a colour.
    """

    level: float = 0.0
    tile: float = 0.1
    color: Color = (0.86, 0.87, 0.89)

    def __post_init__(self) -> None:
        if not np.isfinite(self.level):
            raise ValueError(f"level must be finite [m], got {self.level}")
        if not (np.isfinite(self.tile) and self.tile > 0.0):
            raise ValueError(f"tile must be positive and finite [m], got {self.tile}")
        _one_color("color", self.color)


class Splatter:
    """Draws particles with Warp, without a window or OpenGL.

    Equal arguments give bitwise equal pictures on one device. A splatter keeps its buffers from
    picture to picture, so threads need one each.

    Args:
        width: Width of the picture [pixels].
        height: Height of the picture [pixels].
        device: Warp device that draws, such as "cpu" or "cuda:0".

    Raises:
        ValueError: If a size is not a positive integer.
    """

    def __init__(self, width: int = 480, height: int = 480, *, device: str = "cpu") -> None:
        for name, size in (("width", width), ("height", height)):
            if not isinstance(size, (int, np.integer)) or size < 1:
                raise ValueError(f"{name} must be a positive integer [pixels], got {size!r}")
        self.width, self.height = int(width), int(height)
        self.device = wp.get_device(device)
        fine = (self.height * kernels.FINE, self.width * kernels.FINE)
        cells = (shadows.SHADOW_CELLS, shadows.SHADOW_CELLS)
        with wp.ScopedDevice(self.device):
            self._keys = wp.empty(fine, dtype=wp.uint64)
            self._shadow = wp.zeros(cells, dtype=float)
            self._blurred = wp.zeros(cells, dtype=float)
            self._counts = wp.zeros((relief.GRID,) * 3, dtype=int)
            self._picture = wp.empty((self.height, self.width, 3), dtype=wp.uint8)

    def render(
        self,
        positions: Any,
        *,
        colors: Any,
        radius: Any,
        camera: Camera | Camera2D,
        background: Color | tuple[Color, Color] = BACKGROUND,
        ground: Ground | None = None,
        bounds: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> np.ndarray:
        """Draw particles.

        Args:
            positions: Centres of the particles [m], shape (P, d), NumPy array or torch tensor; d is
                2 with a `Camera2D` and 3 with a `Camera`. Particles that are NaN, infinite, out of
                view or around the camera are left out.
            colors: Shape (P, 3), or (3,) for all: floats in [0, 1] or integers in 0..255.
            radius: Radius [m], positive, shape (P,) or a number for all.
            camera: Where the picture is taken from.
            background: One colour, or the colours of the upper and the lower edge.
            ground: The floor, or None for none.
            bounds: Lower and upper corner of the domain [m], d numbers each, to be outlined.

        Returns:
            The picture, shape (height, width, 3), uint8, a fresh array.

        Raises:
            ValueError: If a shape does not fit, a colour or radius is out of range.
            TypeError: If `camera` is not a camera.
        """
        if not isinstance(camera, (Camera, Camera2D)):
            raise TypeError(f"camera must be a Camera or a Camera2D, got {type(camera).__name__}")
        pose = camera.pose
        points = _points(positions, dim=2 if pose.flat else 3)
        tints = _per_particle_colors(colors, count=len(points))
        radii = _radii(radius, count=len(points))
        view = _view(pose, self.width, self.height)
        stage = _stage(pose, self.width / self.height, background, ground, bounds)
        self._draw(view, stage, _cloud(pose, points, radii, tints, self.device))
        return self._picture.numpy().copy()

    def _draw(self, view: Any, stage: Any, cloud: _Cloud) -> None:
        with wp.ScopedDevice(self.device):
            spheres = wp.empty(cloud.count, dtype=wp.vec4)
            outward = wp.zeros(cloud.count, dtype=wp.vec4)
            self._splat(view, cloud, spheres)
            self._cast_shadows(view, stage, cloud)
            if not view.flat:
                self._face(view, cloud, outward)
            bodies = [spheres, outward, cloud.colors]
            wp.launch(
                shading.shade,
                (self.height, self.width),
                [view, stage, *bodies, self._keys, self._shadow, self._picture],
            )

    def _splat(self, view: Any, cloud: _Cloud, spheres: Any) -> None:
        self._keys.fill_(kernels.EMPTY)
        wp.launch(
            kernels.splat, cloud.count, [view, cloud.positions, cloud.radii, spheres, self._keys]
        )

    def _cast_shadows(self, view: Any, stage: Any, cloud: _Cloud) -> None:
        self._shadow.zero_()
        wp.launch(
            shadows.cast_shadows,
            cloud.count,
            [view, stage, cloud.positions, cloud.radii, self._shadow],
        )
        cells = self._shadow.shape
        wp.launch(shadows.soften, cells, [self._shadow, self._blurred, 1, 0])
        wp.launch(shadows.soften, cells, [self._blurred, self._shadow, 0, 1])

    def _face(self, view: Any, cloud: _Cloud, outward: Any) -> None:
        self._counts.zero_()
        wp.launch(relief.count, cloud.count, [cloud.positions, cloud.cells, self._counts])
        wp.launch(
            relief.face,
            cloud.count,
            [view, cloud.positions, cloud.cells, self._counts, outward],
        )


class _Cloud(NamedTuple):
    """Particles on the device; `cells` is the number of cells in a metre to find surfaces with."""

    positions: Any
    radii: Any
    colors: Any
    count: int
    cells: float


def _cloud(
    pose: Pose, points: np.ndarray, radii: np.ndarray, colors: np.ndarray, device: Any
) -> _Cloud:
    """Upload particles from front to back, so that hidden ones cost little."""
    with np.errstate(over="ignore", invalid="ignore"):
        order = np.argsort(points @ pose.axes[2].astype(np.float32), kind="stable")
    return _Cloud(
        positions=wp.array(points[order], dtype=wp.vec3, device=device),
        radii=wp.array(radii[order], dtype=float, device=device),
        colors=wp.array(colors[order], dtype=wp.vec3, device=device),
        count=len(points),
        cells=0.25 / float(radii.mean()) if len(points) else 1.0,
    )


def _view(pose: Pose, width: int, height: int) -> Any:
    view = kernels.View()
    view.eye = wp.vec3(*pose.eye)
    view.right, view.up, view.forward = (wp.vec3(*axis) for axis in pose.axes)
    light = _light(pose)
    view.slant = wp.vec2(light[0] / light[1], light[2] / light[1])
    view.seen_light = wp.vec3(*(pose.axes @ light))
    view.seen_sky = wp.vec3(*pose.axes[:, 1])
    view.gleam = wp.normalize(view.seen_light - wp.vec3(0.0, 0.0, 1.0))
    view.scale = pose.focal * height
    view.unit = 1.0 / view.scale
    view.near = pose.near
    view.flat, view.lens = int(pose.flat), float(not pose.flat)
    view.width, view.height = width, height
    return view


def _light(pose: Pose) -> np.ndarray:
    """Direction towards the light: high, and over the viewer's left shoulder."""
    right, _, forward = pose.axes
    light = np.array([0.0, 1.0, 0.0]) - 0.5 * right - (0.9 if pose.flat else 0.55) * forward
    light[1] = max(light[1], 0.5)
    return light / np.linalg.norm(light)


def _stage(
    pose: Pose,
    aspect: float,
    background: Any,
    ground: Ground | None,
    bounds: tuple[Sequence[float], Sequence[float]] | None,
) -> Any:
    stage = kernels.Stage()
    stage.top, stage.bottom = (wp.vec3(*c) for c in _two_colors(background))
    floor = ground or Ground()
    stage.has_ground, stage.level, stage.tile = int(ground is not None), floor.level, floor.tile
    stage.tiles = 1.0 / floor.tile
    stage.color = wp.vec3(*_one_color("color", floor.color))
    stage.focus = wp.vec3(*pose.focus)
    stage.reach = pose.reach * max(aspect, 1.0)
    stage.cells = 0.5 * shadows.SHADOW_CELLS / stage.reach
    stage.has_bounds = int(bounds is not None)
    if bounds is not None:
        stage.lower, stage.upper = _corners(bounds, dim=2 if pose.flat else 3)
    return stage


def _corners(bounds: tuple[Sequence[float], Sequence[float]], *, dim: int) -> list[Any]:
    corners = np.asarray(bounds, dtype=float)
    if corners.shape != (2, dim) or not np.isfinite(corners).all():
        raise ValueError(f"bounds must be two corners of {dim} finite numbers, got {bounds!r}")
    return [wp.vec3(*np.pad(corner, (0, 3 - dim))) for corner in corners]


def _numpy(value: Any) -> np.ndarray:
    """A NumPy view of an array, a torch tensor on any device or a list."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def _points(positions: Any, *, dim: int) -> np.ndarray:
    """Positions as float32 of shape (P, 3)."""
    points = _numpy(positions)
    if points.ndim != 2 or points.shape[1] != dim:
        raise ValueError(
            f"positions must have shape (P, {dim}) for this camera, got {points.shape}"
        )
    with np.errstate(over="ignore"):
        return np.pad(points.astype(np.float32), ((0, 0), (0, 3 - dim)))


def _per_particle_colors(colors: Any, *, count: int) -> np.ndarray:
    tints = unit_colors("colors", _numpy(colors))
    if tints.shape not in ((3,), (count, 3)):
        raise ValueError(f"colors must have shape ({count}, 3) or (3,), got {tints.shape}")
    return np.ascontiguousarray(np.broadcast_to(tints, (count, 3)))


def _radii(radius: Any, *, count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        radii = _numpy(radius).astype(np.float32)
    if radii.shape not in ((), (count,)):
        raise ValueError(f"radius must have shape ({count},) or be a number, got {radii.shape}")
    if not (np.isfinite(radii) & (radii > 0)).all():
        raise ValueError("radius must be positive and finite [m]")
    return np.ascontiguousarray(np.broadcast_to(radii, (count,)))


def _one_color(name: str, value: Any) -> np.ndarray:
    color = unit_colors(name, value)
    if color.shape != (3,):
        raise ValueError(f"{name} must be one colour of shape (3,), got {color.shape}")
    return color


def _two_colors(background: Any) -> np.ndarray:
    colors = unit_colors("background", background)
    if colors.shape not in ((3,), (2, 3)):
        raise ValueError(f"background must be one or two colours, got shape {colors.shape}")
    return np.broadcast_to(colors, (2, 3))
