"""The nearest triangle of a mesh, and on which side of it a place lies, by Warp's mesh."""

from functools import cached_property
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import NDArray

from simenv.mpm.device import load
from simenv.mpm.shapes.base import Array
from simenv.mpm.shapes.triangle import nearest_on_triangle, without_slivers

MODULE = "simenv_mpm_mesh_query"

ROUNDING = 1e-12
"""Share [-] by which a neighbour must be nearer for the search to go on."""
BATCH = 2**18
"""Places looked up at once, which bounds the memory needed."""


@wp.kernel(module=MODULE, enable_backward=False)
def _look_up(
    mesh: wp.uint64,
    reach: float,
    x: wp.array(dtype=wp.vec3),
    face: wp.array(dtype=int),
    side: wp.array(dtype=float),
):
    i = wp.tid()
    q = wp.mesh_query_point_sign_winding_number(mesh, x[i], reach)
    face[i] = q.face
    side[i] = q.sign


def _neighbours(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """The triangles (F, 3) across the edges of each triangle of a closed surface."""
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2), axis=2).reshape(-1, 2)
    # Each edge occurs twice: sorted, its two triangles are side by side.
    pairs = np.lexsort((ends[:, 1], ends[:, 0])).reshape(-1, 2)
    across = np.empty(len(ends), dtype=np.int64)
    across[pairs] = pairs[:, ::-1] // 3
    return across.reshape(-1, 3)


class MeshQuery:
    """Nearest points of a closed surface.

    The side is that of the winding number (Barill et al., "Fast Winding Numbers for Soups and
    Clouds", 2018), which, unlike the normal of the nearest triangle, is also right beside sharp
    edges, thin walls and slivers. Warp finds the nearest triangle in single precision, in
    coordinates scaled to the mesh. From there the search goes on in double precision, from a
    triangle to its neighbours as long as one of them is nearer: slivers are mistaken for each other
    in single precision.

    Args:
        vertices: (V, 3) [m].
        faces: (F, 3), counter-clockwise seen from outside, of a closed surface.
    """

    def __init__(self, vertices: Array, faces: NDArray[np.int64]) -> None:
        self._corners = corners = vertices[faces]
        self._neighbours = _neighbours(faces)
        lower, upper = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        self._middle = (lower + upper) / 2
        self._scale = float(np.max(upper - lower)) / 2

    def nearest(self, x: Array) -> tuple[Array, NDArray[np.int64], Array]:
        """Nearest surface points (P, 3) [m], their triangles (P,), sides (P,): −1 is inside."""
        batches = np.array_split(x, 1 + len(x) // BATCH)
        point, face, side = zip(*map(self._nearest, batches), strict=True)
        return np.concatenate(point), np.concatenate(face), np.concatenate(side)

    def _nearest(self, x: Array) -> tuple[Array, NDArray[np.int64], Array]:
        mesh, parent = self._mesh
        local = ((x - self._middle) / self._scale).astype(np.float32)
        # The mesh lies within √3 of the origin.
        reach = 2.0 + float(np.linalg.norm(local, axis=1).max(initial=0.0))
        points: Any = wp.array(local, dtype=wp.vec3, device="cpu")
        piece, side = (wp.empty(len(x), dtype=t, device="cpu") for t in (int, float))
        load([_look_up], "cpu")
        wp.launch(_look_up, len(x), [mesh.id, reach, points, piece, side], device="cpu")
        point, face = self._descend(x, parent[piece.numpy()])
        return point, face, side.numpy()

    def _descend(self, x: Array, face: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
        """Nearest points (P, 3) and their triangles (P,), from triangles nearby."""
        face, point = face.copy(), nearest_on_triangle(x, self._corners[face])
        distance = np.linalg.norm(x - point, axis=1)
        moved = np.arange(len(x))
        while len(moved):
            start, better = face[moved], np.zeros(len(moved), dtype=bool)
            for k in range(3):
                other = self._neighbours[start, k]
                there = nearest_on_triangle(x[moved], self._corners[other])
                away = np.linalg.norm(x[moved] - there, axis=1)
                nearer = away < distance[moved] * (1 - ROUNDING)
                at = moved[nearer]
                face[at], point[at], distance[at] = other[nearer], there[nearer], away[nearer]
                better |= nearer
            moved = moved[better]
        return point, face

    @cached_property
    def _mesh(self) -> tuple[wp.Mesh, NDArray[np.int64]]:
        """Warp's mesh in scaled coordinates, and of which triangle each of its pieces is."""
        pieces, parent = without_slivers((self._corners - self._middle) / self._scale)
        points = pieces.reshape(-1, 3).astype(np.float32)
        mesh = wp.Mesh(
            points=wp.array(points, dtype=wp.vec3, device="cpu"),
            indices=wp.array(np.arange(len(points)), dtype=wp.int32, device="cpu"),
            support_winding_number=True,
        )
        return mesh, parent

    def __getstate__(self) -> dict[str, Any]:
        # Warp's mesh can be neither copied nor pickled; it is built anew when needed.
        return {name: value for name, value in self.__dict__.items() if name != "_mesh"}
