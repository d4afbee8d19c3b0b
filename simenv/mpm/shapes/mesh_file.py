"""Triangle meshes from files and arrays, checked to enclose a solid."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array

if TYPE_CHECKING:
    from trimesh import Trimesh

Source: TypeAlias = "str | PathLike[str] | tuple[ArrayLike, ArrayLike] | Trimesh"
Faces = NDArray[np.int64]

SMALLEST_STEP = 1e-8
"""Vertices closer [-] than this, over the longest edge of the bounds, are one."""
SMALLEST_FILL = 1e-9
"""Volume [-] over the cube of the longest edge of the bounds, below which there is no solid."""


def closed_surface(source: Source, scale: float, name: str) -> tuple[Array, Faces]:
    """Vertices (V, 3) [m] and faces (F, 3) of a solid's surface, facing outwards.

    Equal vertices are merged, and triangles that this leaves with less than three corners dropped.
    A surface that faces inwards as a whole is turned round.

    Args:
        source: path of a file (STL, OBJ, PLY, OFF, GLB), arrays (vertices, faces), or a
            `trimesh.Trimesh`, which is left as it is.
        scale: metres per unit of the source.
        name: what errors call it.

    Raises:
        ConfigurationError: it does not exist, cannot be read, or does not enclose a solid.
    """
    vertices, faces = _merged(*_arrays(source, name))
    _check_edges(faces, name)
    if _signed_fill(vertices, faces, name) < 0.0:
        faces = faces[:, ::-1]
    return vertices * scale, faces


def _arrays(source: Source, name: str) -> tuple[Array, Faces]:
    """Vertices (V, 3) and faces (F, 3): finite, and each face of three vertices there are."""
    if isinstance(source, str | PathLike):
        source = _read(Path(source), name)
    if not isinstance(source, tuple):
        source = source.vertices, source.faces
    vertices, faces = np.asarray(source[0], dtype=np.float64), np.asarray(source[1])
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ConfigurationError(f"{name}: vertices of shape {vertices.shape} must be (V, 3)")
    if faces.ndim != 2 or faces.shape[1] != 3 or len(faces) == 0:
        raise ConfigurationError(
            f"{name}: faces of shape {faces.shape} must be triangles, (F, 3); split larger ones"
        )
    _check_numbers(vertices, faces, name)
    return vertices, faces.astype(np.int64)


def _read(path: Path, name: str) -> Trimesh:
    import trimesh

    if not path.is_file():
        raise ConfigurationError(f"{name}: there is no file {path.absolute()}; check the path")
    try:
        return trimesh.load_mesh(path, process=False)
    except Exception as error:  # parsers of many formats raise whatever broke in them
        raise ConfigurationError(
            f"{name}: cannot be read ({type(error).__name__}: {error}); export it as STL, OBJ, "
            "PLY, OFF or GLB with triangles in it"
        ) from error


def _check_numbers(vertices: Array, faces: NDArray[np.generic], name: str) -> None:
    finite = np.isfinite(vertices).all(axis=1)
    if not finite.all():
        raise ConfigurationError(
            f"{name}: {np.sum(~finite)} vertices are not finite, first number {np.argmin(finite)}; "
            "remove them and their faces"
        )
    if faces.dtype.kind not in "iu" or faces.min() < 0 or faces.max() >= len(vertices):
        raise ConfigurationError(
            f"{name}: faces must hold whole numbers from 0 to {len(vertices) - 1}, the vertices"
        )


def _merged(vertices: Array, faces: Faces) -> tuple[Array, Faces]:
    """The vertices that faces use, each place once: files often repeat them for every face."""
    vertices, faces = _used(vertices, faces)
    step = SMALLEST_STEP * max(float(np.ptp(vertices, axis=0).max()), 1e-300)
    cells = np.round((vertices - vertices.min(axis=0)) / step)
    _, first, place = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    faces = place.reshape(-1)[faces]
    # A triangle two corners of which have become one has closed like a zip: nothing opens.
    return _used(vertices[first], faces[np.all(faces != np.roll(faces, 1, axis=1), axis=1)])


def _used(vertices: Array, faces: Faces) -> tuple[Array, Faces]:
    """Without the vertices that no face has."""
    used, faces = np.unique(faces, return_inverse=True)
    return vertices[used], faces.reshape(-1, 3)


def _check_edges(faces: Faces, name: str) -> None:
    """Refuse a surface that is not closed, or of which neighbours face different ways."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, uses = np.unique(np.sort(ends, axis=1), axis=0, return_counts=True)
    if np.any(uses != 2):
        raise ConfigurationError(
            f"{name}: not watertight, {np.sum(uses == 1)} open edges and {np.sum(uses > 2)} shared "
            "by more than two triangles; close it, e.g. with trimesh.repair.fill_holes(mesh)"
        )
    _, uses = np.unique(ends, axis=0, return_counts=True)
    if np.any(uses != 1):
        raise ConfigurationError(
            f"{name}: inconsistent winding, at {np.sum(uses > 1)} edges two neighbours face "
            "different ways; turn them, e.g. with trimesh.repair.fix_winding(mesh)"
        )


def _signed_fill(vertices: Array, faces: Faces, name: str) -> float:
    """Volume [-] over the cube of the longest edge of the bounds; negative if it faces inwards."""
    if len(faces) == 0:
        raise ConfigurationError(f"{name}: every triangle is a point or a line; give it a surface")
    scaled = (vertices - vertices[0]) / np.ptp(vertices, axis=0).max()
    a, b, c = np.moveaxis(scaled[faces], 1, 0)
    fill = float(np.einsum("fi,fi->", a, np.cross(b, c))) / 6
    if abs(fill) <= SMALLEST_FILL:
        raise ConfigurationError(
            f"{name}: encloses no volume ({fill:.3g} of its longest edge cubed); give the surface "
            "thickness"
        )
    return fill
