"""Meshes: distances against closed forms, files, and what is refused."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import trimesh

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm.shapes import mesh_query
from simenv.mpm.shapes.triangle import SHORT, SLENDER, nearest_on_triangle, without_slivers
from tests.mpm import scenes
from tests.mpm.catalogue import TETRAHEDRON, random_points

VERTICES, FACES = TETRAHEDRON
ERROR = 1e-6
"""Promised error of the distance [-] over the mesh's size."""


def _box(size: tuple[float, ...], center: tuple[float, ...] = (0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    box = trimesh.creation.box(size)
    box.apply_translation(center)
    return box


def _near(mesh: trimesh.Trimesh, away: float, count: int = 2000) -> np.ndarray:
    """Points within about `away` [m] of the surface."""
    points, _ = trimesh.sample.sample_surface(mesh, count, seed=0)
    return np.asarray(points) + np.random.default_rng(0).normal(0, away, (count, 3))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 0.01), (1, 1, 0.001), (1, 0.01, 0.01)])
def test_distance_to_a_box(size):
    """Two triangles per face, slivers of 1 : 1000 among them, give the distance of the box."""
    center = (0.3, 0.2, -0.1)
    surface, box = _box(size, center), mpm.Box(center, size)
    mesh = mpm.Mesh(surface)
    x = np.concatenate([random_points(box, 2000), _near(surface, 1e-2), _near(surface, 1e-5)])
    np.testing.assert_allclose(mesh.sdf(x), box.sdf(x), atol=ERROR)


@pytest.mark.parametrize(("radius", "length"), [(0.01, 1.0), (0.5, 0.02), (0.3, 0.4)])
def test_distance_to_a_cylinder(radius, length):
    """A prism of 64 sides, fans of needles at its ends, is off by at most the sagitta."""
    surface = trimesh.creation.cylinder(radius, length, sections=64)
    mesh, exact = mpm.Mesh(surface), mpm.Cylinder((0, 0, -length / 2), (0, 0, length / 2), radius)
    x = np.concatenate([random_points(exact, 500), _near(surface, 1e-3, 500)])
    sagitta = radius * (1 - math.cos(math.pi / 64))
    np.testing.assert_allclose(mesh.sdf(x), exact.sdf(x), atol=sagitta + ERROR)


def test_far_away():
    """A hundred sizes away the distance is right, and outside."""
    mesh, box = mpm.Mesh(_box((1, 1, 1))), mpm.Box((0, 0, 0), (1, 1, 1))
    x = np.random.default_rng(0).normal(0, 100, (100, 3))
    np.testing.assert_allclose(mesh.sdf(x), box.sdf(x), rtol=ERROR)


def test_a_cavity_is_outside():
    """A closed surface inside another, facing inwards, hollows it out."""
    outer, inner = _box((1, 1, 1)), _box((0.5, 0.5, 0.5))
    inner.invert()
    mesh = mpm.Mesh(trimesh.util.concatenate([outer, inner]))
    assert mesh.volume == pytest.approx(0.875)
    points = np.array([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0], [0.6, 0.0, 0.0]])
    np.testing.assert_allclose(mesh.sdf(points), [0.25, -0.1, 0.1], atol=ERROR)


def test_normals():
    """Away from the nearest point, inside and outside; on the surface, the triangle's own."""
    mesh, box = mpm.Mesh(_box((1, 2, 3))), mpm.Box((0, 0, 0), (1, 2, 3))
    x = random_points(box, 500)
    # The nearest triangle may be mistaken for one that is 1e-7 farther, a point of which, for the
    # places here, is within 1e-4 of the right direction.
    np.testing.assert_allclose(mesh.normal(x), box.normal(x), atol=1e-4)
    on = np.array([[0.5, 0.3, 0.2], [0.1, -1.0, 0.2], [0.1, 0.2, 1.5]])
    np.testing.assert_allclose(mesh.normal(on), [(1, 0, 0), (0, -1, 0), (0, 0, 1)], atol=1e-12)


def test_bounds_and_particles():
    """The bounds are those of the vertices; particles and samples fill the inside."""
    mesh = mpm.Mesh(TETRAHEDRON)
    np.testing.assert_array_equal(mesh.bounds, [VERTICES.min(axis=0), VERTICES.max(axis=0)])
    x = mesh.particles(0.03)
    assert np.all(mesh.sdf(x) < 0)
    # The lattice is adjusted by 2 % per axis at most, and the rim of 1,981 cells is ragged.
    assert abs(len(x) * 0.03**3 / mesh.volume - 1) < 0.1


def test_body_of_a_mesh():
    """A mesh fills with material like any shape; its mass is exact."""
    scene = mpm.Scene((1.0,) * 3, (8,) * 3)
    body = scene.add_body(mpm.Mesh(TETRAHEDRON), scenes.soft(), count=200)
    # 0.321 is the determinant of the three edges at the first corner.
    assert body.volume * 200 == pytest.approx(0.321 / 6, rel=1e-12)


@pytest.mark.parametrize("ending", ["stl", "obj", "ply", "off", "glb"])
def test_files(tmp_path, ending):
    """Every format gives the same solid; `scale` turns its unit into metres."""
    path = tmp_path / f"part.{ending}"
    trimesh.Trimesh(VERTICES, FACES).export(path)
    mesh = mpm.Mesh(path, scale=1e-3)
    # STL and GLB hold single precision.
    np.testing.assert_allclose(
        mesh.bounds, 1e-3 * np.array(mpm.Mesh(TETRAHEDRON).bounds), rtol=1e-6
    )
    assert mesh.volume == pytest.approx(1e-9 * 0.321 / 6, rel=1e-6)
    assert repr(mesh) == f"Mesh({str(path)!r})"
    assert mpm.Mesh(str(path)).volume == pytest.approx(0.321 / 6, rel=1e-6)


def test_repeated_vertices_are_merged():
    """Three vertices of their own for every triangle, as in STL files, are a closed surface."""
    mesh = mpm.Mesh((VERTICES[FACES].reshape(-1, 3), np.arange(12).reshape(-1, 3)))
    assert len(mesh.vertices) == 4
    assert mesh.volume == pytest.approx(0.321 / 6)


def test_inside_out_is_turned_round():
    """A surface that faces inwards as a whole encloses the same solid."""
    mesh = mpm.Mesh((VERTICES, FACES[:, ::-1]))
    assert mesh.volume == pytest.approx(0.321 / 6)
    assert mesh.sdf(VERTICES.mean(axis=0)[None])[0] < 0


def test_given_mesh_is_left_alone():
    """A `trimesh.Trimesh` is taken, and not changed."""
    surface = trimesh.Trimesh(VERTICES, FACES[:, ::-1], process=False)
    assert mpm.Mesh(surface, scale=2.0).volume == pytest.approx(8 * 0.321 / 6)
    np.testing.assert_array_equal(surface.vertices, VERTICES)
    np.testing.assert_array_equal(surface.faces, FACES[:, ::-1])


def _capped_box(offset: float) -> tuple[np.ndarray, np.ndarray]:
    """A unit box, one edge of which has a triangle of height about `offset` laid along it."""
    box = _box((1, 1, 1))
    vertices, faces = np.array(box.vertices), box.faces.tolist()
    a, b, c = faces.pop(0)
    middle, new = (vertices[a] + vertices[b]) / 2, len(vertices)
    vertices = np.concatenate([vertices, [middle + offset * (vertices[c] - middle)]])
    return vertices, np.array([*faces, (b, c, new), (c, a, new), (a, b, new)])


@pytest.mark.parametrize("offset", [1e-2, 1e-5, 1e-8, 1e-10, 1e-12, 0.0])
def test_triangles_without_height(offset):
    """Corners almost or wholly on one line change neither distance, sign, normal nor volume."""
    surface, box = _box((1, 1, 1)), mpm.Box((0, 0, 0), (1, 1, 1))
    mesh = mpm.Mesh(_capped_box(offset))
    vertices = mesh.vertices[-1] + np.random.default_rng(1).normal(0, 1e-3, (200, 3))
    x = np.concatenate([random_points(box, 1000), _near(surface, 1e-5), vertices])
    # A triangle that is no more than its edges is 1e-7 high.
    np.testing.assert_allclose(mesh.sdf(x), box.sdf(x), atol=2e-7)
    assert mesh.volume == pytest.approx(1.0, rel=1e-12)
    assert np.all(np.isfinite(mesh.normal(np.concatenate([x, mesh.vertices]))))


@pytest.mark.parametrize("gap", [1e-4, 1e-7, 1e-10, 0.0])
def test_vertices_that_almost_coincide(gap):
    """Edges shrunk to a gap, or to nothing, leave the solid as it is without them."""
    ball = trimesh.creation.icosphere(1)
    vertices, (i, j) = np.array(ball.vertices), ball.edges_unique[7]
    vertices[j] = vertices[i] + gap * (vertices[j] - vertices[i])
    mesh, hull = mpm.Mesh((vertices, ball.faces)), mpm.Mesh(_collapsed(vertices, ball.faces, i, j))
    x = random_points(hull, 2000)
    # The surfaces are a gap apart.
    np.testing.assert_allclose(mesh.sdf(x), hull.sdf(x), atol=gap + 1e-7)
    assert mesh.volume == pytest.approx(hull.volume, rel=10 * gap + 1e-9)


def _collapsed(
    vertices: np.ndarray, faces: np.ndarray, i: int, j: int
) -> tuple[np.ndarray, np.ndarray]:
    """The mesh with vertex j put into i, and without the two triangles at that edge."""
    faces = np.where(faces == j, i, faces)
    return vertices, faces[[len(set(face)) == 3 for face in faces.tolist()]]


def test_stray_points_count_for_nothing():
    """Vertices of no triangle, and triangles of one place, do not stretch the bounds."""
    vertices = np.concatenate([VERTICES, [(5, 5, 5), (9, 9, 9)]])
    mesh = mpm.Mesh((vertices, [*FACES, (4, 4, 4)]))
    np.testing.assert_array_equal(mesh.bounds, mpm.Mesh(TETRAHEDRON).bounds)


@pytest.mark.parametrize("squash", [(1, 1, 1e-3), (1, 1e-3, 1e-3)])
def test_distance_against_brute_force(squash):
    """A ball squashed to slivers: the least distance to any triangle, the side by solid angles.

    Single precision mistakes slivers for each other: with it alone the second ball is off by 2e-6.
    1e-7 is the height of a triangle that counts as its edges.
    """
    ball = trimesh.creation.icosphere(3)
    vertices, faces = np.array(ball.vertices) * squash, ball.faces
    mesh = mpm.Mesh((vertices, faces))
    x = np.concatenate(
        [random_points(mesh, 1000), vertices + np.random.default_rng(0).normal(0, 1e-3, (642, 3))]
    )
    corners = vertices[faces]
    each = [nearest_on_triangle(np.tile(p, (len(faces), 1)), corners) - p for p in x]
    least = np.linalg.norm(each, axis=2).min(axis=1)
    distance = mesh.sdf(x)
    np.testing.assert_allclose(np.abs(distance), least, atol=2e-7)
    clear = least > 1e-6
    np.testing.assert_array_equal(distance[clear] < 0, _winding(corners, x[clear]) > 0.5)


def _winding(corners: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Winding number (P,): solid angles over 4π (van Oosterom and Strackee, 1983)."""
    a, b, c = np.moveaxis(corners[None] - x[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(v, axis=2) for v in (a, b, c))
    triple = np.sum(a * np.cross(b, c), axis=2)
    sums = np.sum(a * b, axis=2) * lc + np.sum(b * c, axis=2) * la + np.sum(c * a, axis=2) * lb
    return np.sum(2 * np.arctan2(triple, la * lb * lc + sums), axis=1) / (4 * math.pi)


@pytest.mark.parametrize("count", [0, 1, 10, 11, 25])
def test_batches_are_put_together(monkeypatch, count):
    """Looking up many places in several batches gives what one batch gives."""
    mesh = mpm.Mesh(TETRAHEDRON)
    x = random_points(mesh, count)
    whole = mesh.sdf(x)
    monkeypatch.setattr(mesh_query, "BATCH", 10)
    np.testing.assert_array_equal(mesh.sdf(x), whole)
    assert whole.shape == (count,)


def test_mesh_can_be_pickled():
    """A mesh that has been used survives a round trip through pickle."""
    mesh = mpm.Mesh(TETRAHEDRON)
    x = random_points(mesh, 20)
    distance = mesh.sdf(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(mesh)).sdf(x), distance)


# ---------------------------------------------------------------------- triangles


def test_nearest_point_of_a_triangle():
    """Above the face, beside an edge and off a corner of a triangle in the plane z = 0."""
    corners = np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0]], float)
    x = np.array([[1, 1, 3], [2, -1, 1], [-1, -2, 0], [3, 3, 0], [6, -1, 2]], float)
    expected = [(1, 1, 0), (2, 0, 0), (0, 0, 0), (2, 2, 0), (4, 0, 0)]
    nearest = nearest_on_triangle(x, np.tile(corners, (5, 1, 1)))
    np.testing.assert_allclose(nearest, expected, atol=1e-12)


def test_slivers_are_cut_up():
    """The pieces of a sliver are short or stout, fill it, and know where they come from."""
    corners = np.array(
        [[[0, 0, 0], [0, 1, 0], [1, 0, 0]], [[0, 0, 0], [2, 0, 0], [2, 0.01, 0]]], float
    )
    pieces, parent = without_slivers(corners)
    np.testing.assert_array_equal(pieces[parent == 0], corners[:1])
    thin = pieces[parent == 1]
    edges = np.roll(thin, -1, axis=1) - thin
    length = np.linalg.norm(edges, axis=2).max(axis=1)
    doubled = np.cross(edges[:, 0], edges[:, 1])[:, 2]
    assert np.all((length**2 <= SLENDER * doubled) | (length <= SHORT))
    assert doubled.sum() == pytest.approx(0.02, rel=1e-12)


# ---------------------------------------------------------------------- errors


def test_missing_file_is_named(tmp_path):
    """A path without a file is refused with the whole path."""
    with pytest.raises(ConfigurationError, match=f"there is no file {tmp_path / 'none.stl'}"):
        mpm.Mesh(tmp_path / "none.stl")


@pytest.mark.parametrize("ending", ["stl", "xyzzy", "obj", "glb"])
def test_unreadable_file_is_named(tmp_path, ending):
    """A file of an unknown format or with rubbish in it is refused with formats that do."""
    path = tmp_path / f"rubbish.{ending}"
    path.write_text("rubbish")
    with pytest.raises(ConfigurationError, match=r"rubbish\.\w+'\): .*"):
        mpm.Mesh(path)


def _with(vertices: np.ndarray, row: int, value: float) -> np.ndarray:
    changed = vertices.copy()
    changed[row, 1] = value
    return changed


FLAT = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((VERTICES, FACES[:3]), "not watertight, 3 open edges and 0 shared by more than two"),
        ((VERTICES, np.tile(FACES, (2, 1))), "not watertight, 0 open edges and 6 shared by more"),
        ((VERTICES, FACES[[0, 1, 2, 3]] * 1.0), "whole numbers from 0 to 3"),
        ((VERTICES, FACES + 1), "whole numbers from 0 to 3"),
        ((VERTICES, [*FACES[:3], FACES[3][::-1]]), "inconsistent winding, at 3 edges"),
        (
            (FLAT, [[0, 1, 2], [0, 2, 3], [2, 1, 0], [3, 2, 0]]),
            "not watertight, 0 open edges and 1 shared",
        ),
        ((FLAT, [[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]]), "encloses no volume"),
        ((_with(VERTICES, 2, math.nan), FACES), "1 vertices are not finite, first number 2"),
        ((VERTICES[:, :2], FACES), r"vertices of shape \(4, 2\) must be"),
        ((VERTICES, [[0, 1, 2, 3]]), r"faces of shape \(1, 4\) must be triangles"),
        ((VERTICES, np.empty((0, 3), int)), r"faces of shape \(0, 3\) must be triangles"),
        ((VERTICES, [*FACES[:3], (2, 3, 3)]), "not watertight, 3 open edges"),
        ((VERTICES, FACES, FACES), "Mesh of 3 arrays"),
        ((np.ones((3, 3)), [[0, 1, 2]]), "every triangle is a point or a line"),
    ],
)
def test_bad_surface_is_named(source, message):
    """A surface that encloses no solid is refused with what is wrong and how much of it."""
    with pytest.raises(ConfigurationError, match=message):
        mpm.Mesh(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale = 0.0"),
        ({"scale": math.nan}, "scale = nan"),
    ],
)
def test_bad_option_is_named(options, message):
    """A bad scale is refused with its value."""
    with pytest.raises(ConfigurationError, match=message):
        mpm.Mesh(TETRAHEDRON, **options)
