"""Shapes moved about and put together: insides, bounds, normals, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from tests.mpm.catalogue import COMPOUND, EXACT, QUATERNION, random_points

DISC, BOX = mpm.Sphere((0.2, 0.1), 0.3), mpm.Box((0.4, 0.2), (0.4, 0.3))


def test_inside_of_a_union_and_a_difference():
    """A point is inside of a union if in any part, of a difference if in the base alone."""
    x = np.random.default_rng(0).uniform(-0.5, 1.0, (2000, 2))
    disc, box = DISC.sdf(x) < 0, BOX.sdf(x) < 0
    np.testing.assert_array_equal(mpm.Union(DISC, BOX).sdf(x) < 0, disc | box)
    np.testing.assert_array_equal(mpm.Difference(DISC, BOX).sdf(x) < 0, disc & ~box)


@pytest.mark.parametrize("name", COMPOUND)
def test_distance_is_a_bound(name):
    """Between two points a distance never changes by more than the way: its size is a bound.

    It vanishes on the surface, so that a slope of at most one keeps it below the true distance.
    """
    shape = COMPOUND[name]
    x = random_points(shape, 500)
    phi = shape.sdf(x)
    way = np.linalg.norm(x[:, None] - x[None], axis=2)
    assert np.all(np.abs(phi[:, None] - phi[None]) <= way + 1e-6)


@pytest.mark.parametrize("name", COMPOUND)
def test_bounds_hold_everything(name):
    """No point inside lies beyond the bounds, or farther from a place than `radius_about` it."""
    shape = COMPOUND[name]
    x = random_points(shape, 20_000)
    x = x[shape.sdf(x) < 0]
    lower, upper = shape.bounds
    assert np.all((x >= lower) & (x <= upper))
    place = np.full(shape.dim, 0.1)
    assert np.linalg.norm(x - place, axis=1).max() <= shape.radius_about(place)


@pytest.mark.parametrize("name", COMPOUND)
def test_normals_are_slopes(name):
    """One step along the normal leads one step up the signed distance, away from creases."""
    shape = COMPOUND[name]
    x = random_points(shape, 300)
    normals = shape.normal(x)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-9)
    step = 1e-4
    grown = (shape.sdf(x + step * normals) - shape.sdf(x - step * normals)) / (2 * step)
    # Creases within a step of one of 300 points, and a mesh's error of 1e-7, spoil a few.
    assert np.mean(np.abs(grown - 1) < 1e-2) > 0.98


def test_union_bounds_and_radius():
    """A union reaches as far as its parts."""
    both = mpm.Union(DISC, BOX)
    np.testing.assert_allclose(both.bounds, [(-0.1, -0.2), (0.6, 0.4)], atol=1e-15)
    assert both.radius_about(np.array([-0.1, 0.1])) == pytest.approx(math.hypot(0.7, 0.25))


# ---------------------------------------------------------------------- placed


def test_angle_turns_counter_clockwise():
    """Positive angles turn x towards y."""
    rod = mpm.Placed(mpm.Capsule((0.0, 0.0), (1.0, 0.0), 0.1), (0.0, 0.0), math.pi / 2)
    assert rod.sdf(np.array([0.0, 1.0])) == pytest.approx(-0.1)
    np.testing.assert_allclose(rod.bounds, [(-0.1, -0.1), (0.1, 1.1)], atol=1e-12)


@pytest.mark.parametrize(
    ("quaternion", "end"),
    [
        ((0, 0, 1, 1), (0, 1, 0)),
        ((0, 2, 0, 2), (0, 0, -1)),
        ((1, 0, 0, 1), (1, 0, 0)),
        ((0, 0, -1, 0), (-1, 0, 0)),
    ],
)
def test_quaternion_is_xyzw(quaternion, end):
    """Right-handed turns, the real part last, of any length: where they take the x axis."""
    rod = mpm.Placed(mpm.Capsule((0, 0, 0), (1, 0, 0), 0.1), (0, 0, 0), quaternion)
    assert rod.sdf(np.array(end, float)) == pytest.approx(-0.1)


@pytest.mark.parametrize("name", EXACT)
def test_placing_twice(name):
    """Moving there and back again gives the shape itself."""
    shape = EXACT[name]
    orientation = 0.7 if shape.dim == 2 else QUATERNION
    back = -0.7 if shape.dim == 2 else (*(-q for q in QUATERNION[:3]), QUATERNION[3])
    there = mpm.Placed(shape, (0.3, -0.2, 0.5)[: shape.dim], orientation)
    home = -np.array((0.3, -0.2, 0.5)[: shape.dim]) @ there.rotation
    again = mpm.Placed(there, tuple(home), back)
    x = random_points(shape, 100)
    np.testing.assert_allclose(again.sdf(x), shape.sdf(x), atol=1e-14)
    np.testing.assert_allclose(again.bounds, shape.bounds, atol=1e-14)
    inertia = shape.mass_properties().inertia
    np.testing.assert_allclose(again.mass_properties().inertia, inertia, atol=1e-14 * inertia.max())
    np.testing.assert_allclose(again.contact_points(), shape.contact_points(), atol=1e-14)


def test_no_orientation_is_no_turn():
    """Without an orientation a shape is only moved."""
    moved = mpm.Placed(BOX, (1.0, 2.0))
    np.testing.assert_allclose(moved.bounds, np.add(BOX.bounds, (1.0, 2.0)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mpm.Union(), "at least one shape"),
        (lambda: mpm.Union(DISC, mpm.Sphere((0, 0, 0), 1.0)), "2-D, and .*3-D; give shapes of one"),
        (lambda: mpm.Difference(mpm.Sphere((0, 0, 0), 1.0), DISC), "3-D, and .*2-D; give shapes"),
        (lambda: mpm.Placed(DISC, (0.0, 0.0, 0.0)), "must hold 2 numbers"),
        (lambda: mpm.Placed(DISC, (0.0, math.nan)), "Placed position"),
        (lambda: mpm.Placed(DISC, (0.0, 0.0), (0, 0, 0, 1)), "a finite angle.* in 2-D"),
        (lambda: mpm.Placed(DISC, (0.0, 0.0), math.inf), "orientation = inf"),
        (lambda: mpm.Placed(mpm.Sphere((0, 0, 0), 1.0), (0, 0, 0), 0.5), "a quaternion.* in 3-D"),
        (lambda: mpm.Placed(mpm.Sphere((0, 0, 0), 1.0), (0, 0, 0), (0, 0, 0, 0)), "not zero"),
    ],
)
def test_bad_compound_is_named(make, message):
    """What does not fit together is refused, with what it is."""
    with pytest.raises(ConfigurationError, match=message):
        make()
