"""Solids given by their surface, a mesh of triangles."""

from __future__ import annotations

from functools import cached_property
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.checks import check_length
from simenv.mpm.shapes.mesh_file import Source, closed_surface
from simenv.mpm.shapes.mesh_query import MeshQuery
from simenv.mpm.shapes.triangle import FLAT

MOST_CONTACTS = 64
"""Contact points of a mesh, at most."""
CLOSE = 1e-6
"""Distance [-] over the mesh's size, below which the triangle's own normal is taken."""


class Mesh(Shape):
    """The solid inside a closed surface of triangles that does not cut through itself.

    Volume, centroid and inertia are exact. Signed distances are exact to 1e-6 of the mesh's size.

    Args:
        source: path of a file (STL, OBJ, PLY, OFF, GLB), arrays (vertices (V, 3), faces (F, 3)), or
            a `trimesh.Trimesh`.
        scale: metres per unit of the source.

    Attributes:
        vertices: (V, 3) [m].
        faces: (F, 3), counter-clockwise seen from outside.

    Raises:
        ConfigurationError: the file cannot be read, the surface is not closed, its triangles
            face different ways, it encloses no volume, or a number is out of bounds.
    """

    def __init__(self, source: Source, *, scale: float = 1.0) -> None:
        self._name = f"Mesh({_label(source)})"
        check_length(f"{self._name} scale", scale)
        self.vertices, self.faces = closed_surface(source, scale, self._name)
        self._mass_properties = _mass_properties(self.vertices, self.faces)
        self._query = MeshQuery(self.vertices, self.faces)

    def __repr__(self) -> str:
        return self._name

    @property
    def dim(self) -> int:
        return 3

    def sdf(self, x: Array) -> Array:
        return self._nearest(x)[0]

    def normal(self, x: Array) -> Array:
        """Away from the nearest point of the surface; on the surface, that triangle's normal."""
        distance, away, face = self._nearest(x)
        close = np.abs(distance) < CLOSE * self.extent
        off_surface = away * np.sign(distance)[..., None]
        slope = np.where(close[..., None], self._face_normals[face], off_surface)
        length = np.linalg.norm(slope, axis=-1, keepdims=True)
        return slope / np.where(length > 0.0, length, 1.0)

    def support(self, direction: Array) -> float:
        return float(np.max(self.vertices @ direction))

    def radius_about(self, point: Array) -> float:
        return float(np.max(np.linalg.norm(self.vertices - point, axis=1)))

    def mass_properties(self) -> MassProperties:
        return self._mass_properties

    def contact_points(self) -> Array:
        """Vertices, each as far as can be from those chosen before it."""
        away = np.linalg.norm(self.vertices - self._mass_properties.centroid, axis=1)
        chosen = []
        for _ in range(min(MOST_CONTACTS, len(self.vertices))):
            chosen.append(int(np.argmax(away)))
            step = np.linalg.norm(self.vertices - self.vertices[chosen[-1]], axis=1)
            away = step if len(chosen) == 1 else np.minimum(away, step)
        return np.pad(self.vertices[chosen], ((0, 0), (0, 1)))

    @cached_property
    def _face_normals(self) -> Array:
        """Normals (F, 3), of any length; faces without height have that around their corners."""
        a, b, c = np.moveaxis(self.vertices[self.faces], 1, 0)
        normals = np.cross(b - a, c - a)
        around = np.zeros_like(self.vertices)
        np.add.at(around, self.faces, normals[:, None])
        longest = np.max(
            [np.sum((p - q) ** 2, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0
        )
        flat = np.linalg.norm(normals, axis=1) <= FLAT * longest
        normals[flat] = around[self.faces[flat]].sum(axis=1)
        return normals

    def _nearest(self, x: Array) -> tuple[Array, Array, NDArray[np.int64]]:
        """Signed distance (...), way from the nearest point (..., 3), its triangle (...)."""
        x = np.asarray(x, dtype=np.float64)
        point, face, side = self._query.nearest(x.reshape(-1, 3))
        away = x - point.reshape(x.shape)
        distance = np.linalg.norm(away, axis=-1)
        return side.reshape(distance.shape) * distance, away, face.reshape(distance.shape)


def _mass_properties(vertices: Array, faces: NDArray[np.int64]) -> MassProperties:
    """By trimesh, about the first vertex: far from the origin large integrals would cancel."""
    import trimesh  # slow to import, and few scenes have a mesh

    solid = trimesh.Trimesh(vertices - vertices[0], faces, process=False)
    centroid = vertices[0] + np.array(solid.center_mass)
    return MassProperties(float(solid.volume), centroid, np.array(solid.moment_inertia))


def _label(source: Source) -> str:
    """What errors call a mesh: its file, or how large it is."""
    if isinstance(source, str | PathLike):
        return repr(str(source))
    if isinstance(source, tuple):
        if len(source) != 2:
            raise ConfigurationError(f"Mesh of {len(source)} arrays; give (vertices, faces)")
        return f"{len(np.asarray(source[0]))} vertices, {len(np.asarray(source[1]))} faces"
    return f"{len(source.vertices)} vertices, {len(source.faces)} faces"
