"""Contact points: on the surface, enough of them, none that is hidden."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh

from simenv import mpm
from simenv.mpm import tools
from tests.mpm.catalogue import COMPOUND, EXACT, MESHES, QUATERNION, SHAPES


@pytest.mark.parametrize("name", EXACT | MESHES)
def test_balls_touch_the_surface_from_within(name):
    """The distance at a ball's centre is minus its radius, to rounding; to 1e-6 for a mesh."""
    shape = SHAPES[name]
    balls = shape.contact_points()
    assert balls.shape[1] == shape.dim + 1
    np.testing.assert_allclose(shape.sdf(balls[:, :-1]), -balls[:, -1], atol=1e-6)


@pytest.mark.parametrize("name", COMPOUND)
def test_balls_of_compounds_lie_in_them(name):
    """A ball is inside, points of radius 0 are on the surface or where two parts meet."""
    shape = SHAPES[name]
    balls = shape.contact_points()
    assert len(balls) > 0
    assert np.all(shape.sdf(balls[:, :-1]) <= -balls[:, -1] + 1e-6)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        (mpm.Box((0.0, 0.0), (1.0, 2.0)), 8),
        (mpm.Box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)), 26),
        (mpm.Sphere((0.0, 0.0), 1.0), 1),
        (mpm.Capsule((0.0, 0.0), (0.0, 0.0), 0.1), 1),
        (mpm.Capsule((0.0, 0.0), (0.25, 0.0), 0.1), 4),
        (mpm.Capsule((0.0, 0.0), (9.0, 0.0), 0.1), 17),
        (mpm.Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 1.0), 34),
        (mpm.HalfSpace((0.0, 0.0), (0.0, 1.0)), 0),
        (EXACT["turned box 3-D"], 26),
        (MESHES["mesh"], 4),
    ],
)
def test_how_many(shape, count):
    """The number of balls of each shape."""
    assert shape.contact_points().shape == (count, shape.dim + 1)


@pytest.mark.parametrize("name", ["box 2-D", "box 3-D", "turned box 2-D", "turned box 3-D", "mesh"])
def test_outermost_points_are_among_them(name):
    """Along every direction a solid with corners reaches as far as its contact points."""
    shape = SHAPES[name]
    points = shape.contact_points()[:, :-1]
    for direction in np.random.default_rng(0).normal(size=(50, shape.dim)):
        direction /= np.linalg.norm(direction)
        assert math.isclose(np.max(points @ direction), shape.support(direction), rel_tol=1e-12)


def test_rim_is_round():
    """The rim points of a cylinder are 22.5° apart: in no direction is more than 2 % missed."""
    cylinder = mpm.Cylinder((0.0, -1.0, 0.0), (0.0, 1.0, 0.0), 1.0)
    points = cylinder.contact_points()[:, :-1]
    for angle in np.linspace(0, math.pi, 20):
        reach = np.max(points @ (math.cos(angle), 0.0, math.sin(angle)))
        assert math.cos(math.pi / 16) <= reach + 1e-12
        assert reach <= 1.0 + 1e-12


def test_points_of_a_mesh_are_spread():
    """Of a fine sphere 64 vertices are taken, and none of it is far from all of them.

    64 caps of angle α that cover the sphere, 4π = 64 · 2π (1 − cos α) · overlap, with an overlap
    below 3 for points that are farthest from one another, have α < 0.45.
    """
    ball = mpm.Mesh(trimesh.creation.icosphere(3))
    points = ball.contact_points()[:, :-1]
    assert len(points) == 64
    near = np.max(ball.vertices @ points.T, axis=1)
    assert np.all(near > math.cos(0.45))


def test_what_a_union_swallows_is_left_out():
    """Balls inside another part go, those that stick out stay."""
    bar = mpm.Box((0.0, 0.0), (1.0, 0.2))
    hidden, out = mpm.Sphere((0.0, 0.0), 0.05), mpm.Sphere((0.5, 0.0), 0.1)
    balls = mpm.Union(bar, hidden, out).contact_points()
    np.testing.assert_array_equal(balls[balls[:, -1] > 0], [[0.5, 0.0, 0.1]])
    # Of the bar's eight points the middle of the right edge is inside the right ball.
    assert np.sum(balls[:, -1] == 0) == 7


def test_a_cut_removes_and_adds_points():
    """A box with a corner cut off loses that corner and has the cut's corner inside of it."""
    box = mpm.Box((0.0, 0.0), (1.0, 1.0))
    balls = mpm.Difference(box, mpm.Box((0.5, 0.5), (0.6, 0.6))).contact_points()
    assert not np.any(np.all(np.isclose(balls, (0.5, 0.5, 0.0)), axis=1))
    assert np.any(np.all(np.isclose(balls, (0.2, 0.2, 0.0)), axis=1))
    assert np.any(np.all(np.isclose(balls, (-0.5, -0.5, 0.0)), axis=1))


def test_a_ball_that_is_cut_becomes_points():
    """Half a ball has points on its round side only, an uncut ball beside it stays one ball."""
    pair = mpm.Union(mpm.Sphere((0, 0, 0), 1.0), mpm.Sphere((5, 0, 0), 0.5))
    balls = mpm.Difference(pair, mpm.HalfSpace((0, 0.1, 0), (0, -1, 0))).contact_points()
    assert np.sum(balls[:, -1] > 0) == 0  # the cut, y > 0.1, reaches both
    low = balls[np.abs(balls[:, 0]) <= 1]
    np.testing.assert_allclose(np.linalg.norm(low[:, :3], axis=1), 1.0, atol=1e-12)
    assert np.all(low[:, 1] <= 0.1 + 1e-6)
    assert low[:, 1].min() < -0.9
    kept = mpm.Difference(pair, mpm.HalfSpace((0, 0.7, 0), (0, -1, 0))).contact_points()
    np.testing.assert_array_equal(kept[kept[:, -1] > 0], [[5, 0, 0, 0.5]])


def test_a_drilled_hole_has_points():
    """The wall of a round hole through a box carries points of the drill."""
    box = mpm.Box((0, 0, 0), (1, 1, 1))
    drilled = mpm.Difference(box, mpm.Capsule((0, -1, 0), (0, 1, 0), 0.2))
    balls = drilled.contact_points()
    inner = np.linalg.norm(balls[:, [0, 2]], axis=1) < 0.21
    assert np.sum(inner) >= 8
    np.testing.assert_allclose(np.linalg.norm(balls[inner][:, [0, 2]], axis=1), 0.2, atol=1e-6)


def test_a_cup_stands_on_its_rim():
    """An upright cup has its outer rims, its bottom's middle, and the floor inside."""
    balls = tools.cup(0.1, 0.2, 0.01).contact_points()
    assert np.sum(np.isclose(balls[:, 1], -0.1)) == 17
    assert np.sum(np.isclose(balls[:, 1], 0.1)) == 16  # the middle of the upper end is cut away
    assert np.sum(np.isclose(balls[:, 1], -0.09)) == 17
    turned = mpm.Placed(tools.cup(0.1, 0.2, 0.01), (1, 2, 3), QUATERNION)
    np.testing.assert_allclose(turned.sdf(turned.contact_points()[:, :-1]), 0.0, atol=1e-12)
