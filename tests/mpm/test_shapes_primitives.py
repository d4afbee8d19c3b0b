"""Primitives: what a kernel evaluates agrees with the shape."""

from __future__ import annotations

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm import tools
from simenv.mpm.shapes.primitive import KINDS
from tests.mpm.catalogue import SHAPES, TETRAHEDRON, random_points
from tests.mpm.evaluate import covered, evaluate, interpolate

HALF_SPACES = {
    "half plane": mpm.HalfSpace((0.2, 0.4), (1.0, 2.0)),
    "half space": mpm.HalfSpace((0.2, 0.4, 0.3), (0.0, 0.0, -3.0)),
    "turned half space": mpm.Placed(
        mpm.HalfSpace((0.2, 0.4, 0.3), (1.0, 2.0, -3.0)), (0.1, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4)
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_primitives_give_the_distance(name):
    """At random points the primitives, in order, give the shape's own signed distance.

    To rounding; an interpolated grid is off by at most √3/2 of its spacing: the weights put the
    corners at a mean square distance of at most 3/4 spacings², and a distance has slope one.
    """
    shape = SHAPES[name]
    points, primitives = random_points(shape, 2000), shape.primitives()
    points = points[covered(primitives, points)]
    spacing = max([p.grid.spacing for p in primitives if p.grid is not None], default=0.0)
    error = np.abs(evaluate(primitives, points) - shape.sdf(points)).max()
    assert error <= 1e-12 + np.sqrt(3) / 2 * spacing


@pytest.mark.parametrize("name", HALF_SPACES)
def test_half_space(name):
    """A half space, wherever it is turned, gives its distance to rounding."""
    shape = HALF_SPACES[name]
    points = np.random.default_rng(0).normal(size=(200, shape.dim))
    np.testing.assert_allclose(evaluate(shape.primitives(), points), shape.sdf(points), atol=1e-14)


@pytest.mark.parametrize("name", SHAPES)
def test_primitives_are_well_formed(name):
    """Every primitive has a known kind, a proper rotation, three lengths, a grid if it is one."""
    shape = SHAPES[name]
    for p in shape.primitives():
        assert p.kind in KINDS
        assert p.position.shape == (shape.dim,)
        assert p.size.shape == (3,)
        np.testing.assert_allclose(p.rotation @ p.rotation.T, np.eye(shape.dim), atol=1e-14)
        assert np.linalg.det(p.rotation) > 0
        assert (p.grid is not None) == (p.kind == "grid")


def test_what_subtracts_comes_first():
    """In a union the one part that takes something away is evaluated before the others."""
    ring = mpm.Difference(mpm.Sphere((0.0, 0.0), 0.3), mpm.Sphere((0.0, 0.0), 0.2))
    box, capsule = mpm.Box((0.0, 0.0), (0.8, 0.1)), mpm.Capsule((0.0, 0.0), (0.0, 1.0), 0.1)
    steps = mpm.Union(box, ring, capsule).primitives()
    assert [p.kind for p in steps] == ["sphere", "sphere", "box", "capsule"]
    assert [p.subtract for p in steps] == [False, True, False, False]


def test_two_differences_in_a_union_are_refused():
    """No order expresses the union of two differences; the error says what to do instead."""
    with pytest.raises(ConfigurationError, match="build the union first and subtract from it"):
        mpm.Union(tools.cup(0.2, 0.4, 0.05), tools.cup(0.1, 0.4, 0.05)).primitives()


def test_a_difference_taken_away_is_refused():
    """No order expresses taking a difference away."""
    ring = mpm.Difference(mpm.Sphere((0.0, 0.0), 0.3), mpm.Sphere((0.0, 0.0), 0.2))
    with pytest.raises(ConfigurationError, match="Union with what stays"):
        mpm.Difference(mpm.Box((0.0, 0.0), (1.0, 1.0)), ring).primitives()


def test_differences_in_a_row():
    """A difference of a difference takes both cuts away."""
    once = mpm.Difference(mpm.Box((0.0, 0.0), (1.0, 1.0)), mpm.Sphere((0.5, 0.5), 0.3))
    twice = mpm.Difference(once, mpm.Union(mpm.Sphere((-0.5, 0.5), 0.2), mpm.Sphere((0, 0), 0.1)))
    points = random_points(twice, 1000)
    np.testing.assert_allclose(evaluate(twice.primitives(), points), twice.sdf(points), atol=1e-15)


def test_grid_covers_the_mesh_with_a_margin():
    """The grid reaches three spacings beyond the bounds, and holds the distance at its nodes."""
    mesh = mpm.Mesh(TETRAHEDRON, resolution=10)
    grid = mesh.primitives()[0].grid
    lower, upper = mesh.bounds
    top = grid.origin + grid.spacing * (np.array(grid.values.shape) - 1)
    assert grid.spacing == pytest.approx((upper - lower).max() / 10, rel=1e-12)
    np.testing.assert_allclose(grid.origin, lower - 3 * grid.spacing, atol=1e-12)
    reach = (top - upper) / grid.spacing
    assert np.all((reach >= 3 - 1e-9) & (reach < 4))
    node = np.array([[3, 4, 5]])
    x = grid.origin + grid.spacing * node
    np.testing.assert_allclose(interpolate(grid, x), mesh.sdf(x), atol=1e-12)


def test_beyond_the_grid_is_a_lower_bound():
    """Far from a mesh the distance is never too large, nor less than the way to the grid."""
    mesh = mpm.Mesh(TETRAHEDRON)
    points = np.random.default_rng(0).uniform(-3, 3, (2000, 3))
    points = points[~covered(mesh.primitives(), points)]
    distance = evaluate(mesh.primitives(), points)
    slack = np.sqrt(3) / 2 * mesh.grid.spacing
    assert np.all(distance <= mesh.sdf(points) + slack)
    lower, upper = mesh.bounds
    way = np.linalg.norm(points - np.clip(points, lower, upper), axis=1)
    # The grid reaches less than four spacings beyond the bounds on every axis.
    assert np.all(distance >= way - np.sqrt(3) * 4 * mesh.grid.spacing)


def test_grid_is_made_once():
    """Two placings of a mesh share its grid."""
    mesh = mpm.Mesh(TETRAHEDRON, resolution=4)
    first, second = mpm.Placed(mesh, (1.0, 0.0, 0.0)), mpm.Placed(mesh, (0.0, 1.0, 0.0))
    assert first.primitives()[0].grid is second.primitives()[0].grid
