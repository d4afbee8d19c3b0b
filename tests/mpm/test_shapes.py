"""Shapes: volume, bounds, signed distance, particles, and what is refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm.shapes import base
from simenv.mpm.shapes.base import MOST_CANDIDATES
from tests.mpm import catalogue, scenes
from tests.mpm.catalogue import random_points

SHAPES = catalogue.EXACT

VOLUMES = {
    "box 2-D": 0.06,
    "box 3-D": 0.006,
    "disc": math.pi * 0.04,
    "ball": 4 / 3 * math.pi * 0.008,
    "capsule 2-D": 0.08 + math.pi * 0.01,
    "capsule 3-D": math.pi * 0.01 * 0.5 + 4 / 3 * math.pi * 0.001,
    "cylinder": math.pi * 0.04 * math.sqrt(0.14),
    "turned box 2-D": 0.06,
    "turned box 3-D": 0.006,
    "turned cylinder": math.pi * 0.04 * 0.1,
}


@pytest.fixture(params=SHAPES)
def shape(request) -> mpm.Shape:
    """One of the shapes."""
    return SHAPES[request.param]


@pytest.mark.parametrize("name", SHAPES)
def test_volume(name):
    """The volume is that of the textbook."""
    assert math.isclose(SHAPES[name].volume, VOLUMES[name], rel_tol=1e-12)


def test_volume_is_where_the_distance_is_negative(shape):
    """The share of random points with a negative distance gives the volume.

    A share s of n points scatters by √(s(1 − s)/n); four of these are never missed.
    """
    points = random_points(shape, 40_000)
    lower, upper = shape.bounds
    share = shape.volume / float(np.prod(1.5 * (upper - lower)))
    counted = float(np.mean(shape.sdf(points) < 0))
    assert abs(counted - share) <= 4 * math.sqrt(share * (1 - share) / len(points))


def test_bounds_are_tight(shape):
    """No point inside lies beyond the bounds, and every face of the bounds touches the shape."""
    lower, upper = shape.bounds
    points = random_points(shape, 40_000)
    inside = points[shape.sdf(points) < 0]
    assert np.all(inside >= lower)
    assert np.all(inside <= upper)
    # 40,000 points leave gaps of about (extent) / 40,000^(1/3) at a curved face.
    gap = 0.1 * (upper - lower)
    assert np.all(inside.min(axis=0) - lower <= gap)
    assert np.all(upper - inside.max(axis=0) <= gap)


def test_distance_has_unit_slope(shape):
    """Away from its creases a distance grows by one metre per metre."""
    points = random_points(shape, 200)
    h = 1e-6
    steps = h * np.eye(shape.dim)
    slopes = [(shape.sdf(points + s) - shape.sdf(points - s)) / (2 * h) for s in steps]
    length = np.linalg.norm(slopes, axis=0)
    # A crease (medial axis) within h of one of 200 points has odds of 1e-4.
    np.testing.assert_allclose(length, 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "point", "distance"),
    [
        ("box 2-D", (0.4, 0.5), -0.1),
        ("box 2-D", (0.7, 0.5), 0.2),
        ("box 2-D", (0.4 + 0.1 + 0.03, 0.5 + 0.15 + 0.04), 0.05),
        ("box 3-D", (0.4, 0.5, 0.62), -0.03),
        ("box 3-D", (0.4, 0.9, 0.6), 0.25),
        ("disc", (0.5, 0.5), -0.2),
        ("disc", (0.8, 0.9), 0.3),
        ("ball", (0.5, 0.5, 0.9), 0.2),
        ("capsule 2-D", (0.5, 0.5), -0.1),
        ("capsule 2-D", (0.5, 0.75), 0.15),
        ("capsule 2-D", (0.73, 0.54), -0.05),
        ("capsule 2-D", (0.0, 0.1), 0.4),
        ("capsule 3-D", (0.4, 0.55, 0.7), -0.1),
        ("capsule 3-D", (0.4, 0.4, 0.2), 0.2),
        ("turned box 2-D", (0.5 + 0.1 * math.cos(0.7), 0.4 + 0.1 * math.sin(0.7)), -0.1),
    ],
)
def test_known_distances(name, point, distance):
    """Distances that can be worked out by hand, inside, beside and off a corner."""
    assert math.isclose(SHAPES[name].sdf(np.array(point)), distance, abs_tol=1e-12)


def test_distance_keeps_leading_axes(shape):
    """An array of points (..., d) gives distances (...)."""
    points = random_points(shape, 6).reshape(2, 3, shape.dim)
    assert shape.sdf(points).shape == (2, 3)


def test_particles_fill_the_shape(shape):
    """Particles lie inside, apart by about the spacing, and as many as fit."""
    spacing = 0.02
    x = shape.particles(spacing)
    assert np.all(shape.sdf(x) < 0)
    expected = shape.volume / spacing**shape.dim
    # The lattice is stretched by at most half a cell in 5 to 20, and its rim is ragged.
    assert abs(len(x) / expected - 1) < 0.15
    first = x[0]
    apart = np.linalg.norm(x[1:] - first, axis=1).min()
    assert 0.8 * spacing < apart < 1.2 * spacing


def test_particles_are_centred():
    """A symmetric shape gets symmetric particles: its centroid is kept to rounding."""
    for name in ("box 2-D", "box 3-D", "disc", "ball"):
        shape = SHAPES[name]
        np.testing.assert_allclose(shape.particles(0.02).mean(axis=0), shape.center, atol=1e-12)


@pytest.mark.parametrize("spacing", [None, 1.0, 7.3])
def test_mass_is_exact(shape, spacing):
    """The particles' mass adds up to ρ V whatever the sampling."""
    scene = mpm.Scene((1.0,) * shape.dim, (16,) * shape.dim)
    body = scene.add_body(shape, scenes.soft(), particles_per_cell=spacing)
    mass = body.volume * scenes.DENSITY * len(body.x)
    assert math.isclose(mass, scenes.DENSITY * shape.volume, rel_tol=1e-12)


def test_default_sampling_is_two_per_axis():
    """A box that covers whole cells gets 4 particles per cell in 2-D and 8 in 3-D."""
    for dim in (2, 3):
        body = scenes.block(dim).bodies[0]
        assert len(body.x) == 2**dim * 2**dim


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mpm.Box((0.5, 0.5), (0.1, 0.1, 0.1)), "differ"),
        (lambda: mpm.Box((0.5,), (0.1,)), "2 or 3"),
        (lambda: mpm.Box((0.5, 0.5), (0.1, 0.0)), "Box size = 0.0"),
        (lambda: mpm.Box((0.5, math.nan), (0.1, 0.1)), "Box center"),
        (lambda: mpm.Sphere((0.5, 0.5), -0.1), "Sphere radius = -0.1"),
        (lambda: mpm.Sphere((0.5, 0.5), math.nan), "Sphere radius = nan"),
        (lambda: mpm.Sphere((0.5, math.inf), 0.1), "Sphere center"),
        (lambda: mpm.Capsule((0.5, 0.5), (0.5, 0.5, 0.5), 0.1), "differ"),
        (lambda: mpm.Capsule((0.5, 0.5), (0.6, 0.5), 0.0), "Capsule radius = 0.0"),
        (lambda: mpm.Cylinder((0.5, 0.5), (0.6, 0.5), 0.1), "a Cylinder is 3-D; use a Box"),
        (lambda: mpm.Cylinder((0.5,) * 3, (0.5,) * 3, 0.1), "Cylinder length = 0.0"),
        (lambda: mpm.Cylinder((0.5,) * 3, (0.6,) * 3, -0.1), "Cylinder radius = -0.1"),
        (lambda: mpm.HalfSpace((0.5, 0.5), (0.0, 0.0)), "must not be zero"),
        (lambda: mpm.HalfSpace((0.5, 0.5), (0.0, 0.0, 1.0)), "differ"),
        (lambda: mpm.Capsule((math.nan, 0.5), (0.6, 0.5), 0.1), "Capsule start"),
    ],
)
def test_bad_shape_is_named(make, message):
    """A shape with a bad length or dimension is refused, with the field and the value."""
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize("spacing", [0.0, -0.1, math.nan, math.inf])
def test_bad_spacing_is_named(spacing):
    """A spacing that is not a positive length is refused with its value."""
    with pytest.raises(ConfigurationError, match=f"spacing {spacing}"):
        SHAPES["disc"].particles(spacing)


def test_empty_lattice_names_a_spacing_that_does():
    """A shape that no lattice point falls into is refused with a spacing that would do."""
    thin = mpm.Capsule((0.1, 0.1), (0.9, 0.5), 0.01)
    with pytest.raises(ConfigurationError, match="holds no particle") as caught:
        thin.particles(0.45)
    remedy = float(re.search(r"use at most ([0-9.e-]+)", str(caught.value)).group(1))
    assert len(thin.particles(remedy)) > 0


def test_cylinder_distances():
    """Beside, above and off the rim of an upright cylinder, and inside of it."""
    cylinder = mpm.Cylinder((0.0, -0.2, 0.0), (0.0, 0.2, 0.0), 0.1)
    points = [(0.3, 0.1, 0.4), (0.03, 0.5, 0.04), (0.13, 0.24, 0.0), (0.07, 0.0, 0.0), (0, 0.17, 0)]
    expected = [0.4, 0.3, 0.05, -0.03, -0.03]
    np.testing.assert_allclose(cylinder.sdf(np.array(points, float)), expected, atol=1e-12)


def test_normals_point_outwards(shape):
    """One step along the normal leads one step away from the surface."""
    points = random_points(shape, 200)
    normals = shape.normal(points)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-12)
    step = 1e-5
    grown = shape.sdf(points + step * normals) - shape.sdf(points)
    # Central differences over 1e-6 m know the direction to 1e-9; a curved level set of radius
    # 0.01 m or more (no point is closer to an axis) adds step²/(2 · 0.01) at most.
    np.testing.assert_allclose(grown, step, atol=1e-8)


@pytest.mark.parametrize(
    ("shape", "point", "radius"),
    [
        (mpm.Box((0.0, 0.0), (0.6, 0.8)), (0.0, 0.0), 0.5),
        (mpm.Box((0.1, 0.0, 0.0), (0.2, 0.4, 0.4)), (0.1, 0.0, 0.1), math.sqrt(0.01 + 0.04 + 0.09)),
        (mpm.Sphere((0.3, 0.4), 0.1), (0.0, 0.0), 0.6),
        (mpm.Capsule((0.0, 0.0), (1.0, 0.0), 0.1), (0.2, 0.0), 0.9),
        (mpm.Cylinder((0.0, 0.0, 0.0), (0.0, 0.4, 0.0), 0.1), (0.2, 0.0, 0.0), 0.5),
        (mpm.HalfSpace((0.0, 0.0), (0.0, 1.0)), (0.0, 0.0), math.inf),
        (mpm.Mesh(catalogue.TETRAHEDRON), (0.1, 0.1, 0.1), math.sqrt(0.01 + 0.64 + 0.04)),
        (mpm.Placed(mpm.Sphere((0.3, 0.4), 0.1), (1.0, 0.0), 1.0), (1.0, 0.0), 0.6),
    ],
)
def test_radius_about(shape, point, radius):
    """The farthest point of a shape from a place, worked out by hand."""
    assert math.isclose(shape.radius_about(np.array(point)), radius, rel_tol=1e-12)


def test_too_thin_for_a_lattice():
    """A shape that no lattice of bearable size falls into is refused; the search ends."""
    hair = mpm.Capsule((0.1, 0.1, 0.1), (0.9, 0.5, 0.3), 1e-5)
    with pytest.raises(ConfigurationError, match=r"holds no particle.*make it thicker"):
        hair.particles(0.1)


@pytest.mark.parametrize(("dim", "spacing"), [(2, 1e-5), (3, 1e-3)])
def test_too_fine_a_lattice_names_a_spacing_that_does(dim, spacing):
    """More lattice points than a computer holds are refused with a spacing that would do."""
    box = mpm.Box((0.5,) * dim, (1.0,) * dim)
    with pytest.raises(ConfigurationError, match=f"spacing {spacing} .* points in the bounds") as e:
        box.particles(spacing)
    remedy = float(re.search(r"use at least ([0-9.e-]+)", str(e.value)).group(1))
    assert (1 / remedy) ** dim <= MOST_CANDIDATES
    assert (0.99 / remedy) ** dim >= 0.95 * MOST_CANDIDATES


def test_lattice_in_batches(monkeypatch):
    """A lattice tried bit by bit is the lattice tried at once."""
    ball = mpm.Sphere((0.5, 0.5, 0.5), 0.2)
    whole = ball.particles(0.02)
    monkeypatch.setattr(base, "BATCH", 1000)
    np.testing.assert_array_equal(ball.particles(0.02), whole)


SCALES = [(1e-3, 0.0), (1e-3, 100.0), (100.0, 0.0)]
"""Sizes [m] of a shape, and how far from the origin [m] it lies."""


def _scaled(size: float, away: float) -> list[mpm.Shape]:
    """A capsule, a drilled block and a mesh, `size` times as large, moved along every axis."""
    at = np.full(3, away)

    def place(*x: float) -> tuple[float, ...]:
        return tuple(at + size * np.array(x))

    vertices, faces = catalogue.TETRAHEDRON
    block = mpm.Box(place(0, 0, 0), (size, 0.8 * size, 0.6 * size))
    drill = mpm.Cylinder(place(0, -1, 0), place(0, 1, 0), 0.2 * size)
    return [
        mpm.Capsule(place(0, 0, 0), place(0.5, 0.2, 0.1), 0.1 * size),
        mpm.Difference(block, drill),
        mpm.Mesh((at + size * vertices, faces)),
    ]


@pytest.mark.parametrize(("size", "away"), SCALES)
@pytest.mark.parametrize("kind", [0, 1, 2], ids=["capsule", "drilled block", "mesh"])
def test_every_scale_is_alike(kind, size, away):
    """A millimetre or 100 m across, here or 100 m away, a shape is the same but for its scale.

    Places 100 m away are rounded to 1.4e-14 m, 1.4e-11 of a millimetre; meshes are exact to 1e-6.
    """
    whole, scaled = _scaled(1.0, 0.0)[kind], _scaled(size, away)[kind]
    x = random_points(whole, 500)
    at = away + size * x
    error = 1e-6 if kind == 2 else 1e-10
    np.testing.assert_allclose(scaled.sdf(at) / size, whole.sdf(x), atol=error)
    # Normals are differences over 1e-6 of the extent: the rounding of places, over that.
    off = np.linalg.norm(scaled.normal(at) - whole.normal(x), axis=1)
    assert np.mean(off < max(1e-3 if kind == 2 else 0.0, 1e-4)) > 0.98  # but for creases
    a, b = whole.mass_properties(), scaled.mass_properties()
    assert b.volume / size**3 == pytest.approx(a.volume, rel=1e-9)
    np.testing.assert_allclose((b.centroid - away) / size, a.centroid, atol=1e-9)
    np.testing.assert_allclose(b.inertia / size**5, a.inertia, atol=1e-9)
    points, others = whole.contact_points(), scaled.contact_points()
    assert points.shape == others.shape
    np.testing.assert_allclose((others[:, :3] - away) / size, points[:, :3], atol=1e-6)
    samples = (scaled.sample(50, seed=1) - away) / size
    np.testing.assert_allclose(samples, whole.sample(50, seed=1), atol=1e-9)
