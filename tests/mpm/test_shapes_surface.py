"""Surface points: on the surface, dense enough, clipped, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm.shapes.surface import onto_surface, surface_points
from tests.mpm.catalogue import EXACT, MESHES, SHAPES, random_points

SPACING = 0.03


def _points(shape: mpm.Shape, spacing: float = SPACING) -> np.ndarray:
    return surface_points(shape, spacing, *shape.bounds)[0]


@pytest.mark.parametrize("name", EXACT | MESHES)
def test_points_are_on_the_surface(name):
    """Where distances are exact, moving along the normal ends on the surface.

    At an edge, on the bisector, the difference that gives normals mixes two faces; after the second
    move what is left is of second order.
    """
    distance = np.abs(SHAPES[name].sdf(_points(SHAPES[name])))
    assert np.quantile(distance, 0.95) <= 1e-6
    assert distance.max() <= 0.5 * SPACING


@pytest.mark.parametrize("name", SHAPES)
def test_points_cover_the_surface(name):
    """Every place of the surface has a point within a spacing of it, compounds' creases too.

    A lattice has a point within √d/2 spacings of any place, but where the surface cuts it at a
    slant the nearest one may be out of the band of half a spacing and another one takes its place.
    """
    shape = SHAPES[name]
    x = random_points(shape, 4000)
    x = onto_surface(shape, x[np.abs(shape.sdf(x)) < SPACING])
    x = x[np.abs(shape.sdf(x)) < 1e-6]
    assert len(x) > 100
    away = np.linalg.norm(x[:, None] - _points(shape)[None], axis=2).min(axis=1)
    assert away.max() <= SPACING * 1.25


def test_number_of_points():
    """About one for every square of the spacing: 4π r² / s² on a ball.

    The band holds s · 4π r² / s³ lattice points on average.
    """
    # A spacing that divides the bounds, so that it is not made smaller.
    count = len(_points(mpm.Sphere((0.0, 0.0, 0.0), 0.5), 0.05))
    assert count == pytest.approx(math.pi / 0.05**2, rel=0.05)


@pytest.mark.parametrize("thickness", [0.03, 1e-3])
def test_thin_plates_have_points(thickness):
    """A plate thinner than the spacing is not missed."""
    plate = mpm.Box((0.0, 0.0, 0.0), (1.0, thickness, 1.0))
    points = _points(plate, 0.1)
    assert len(points) >= 100
    assert np.abs(points[:, 1]).max() <= thickness / 2 + 1e-9
    assert np.linalg.norm(points[:, [0, 2]] - (0.5, 0.5), axis=1).min() <= 0.1


def test_what_a_box_cuts_off():
    """Of a large ball the part near a small box alone is sampled, at the spacing asked for."""
    ball = mpm.Sphere((0.0, -50.0, 0.0), 50.0)
    lower, upper = np.array([-0.5, -0.5, -0.5]), np.array([0.5, 0.5, 0.5])
    points, spacing = surface_points(ball, 0.05, lower, upper)
    assert spacing == 0.05
    assert np.all((points > lower - 0.1) & (points < upper + 0.1))
    # The box extended by half a spacing on all sides, of 21 squares along each edge.
    assert len(points) == pytest.approx(22**2, rel=0.1)
    assert len(surface_points(ball, 0.05, lower + 10, upper + 10)[0]) == 0


def test_too_large_for_the_spacing():
    """A spacing that means too many candidates is enlarged, and told."""
    points, spacing = surface_points(mpm.Box((0, 0, 0), (1, 1, 1)), 1e-4, -np.ones(3), np.ones(3))
    assert spacing == pytest.approx(2 ** (-21 / 3), rel=0.01)
    assert len(points) == pytest.approx(6 / spacing**2, rel=0.1)


def test_infinite_shapes_are_refused():
    """A plane has no surface points; a bad spacing is named."""
    with pytest.raises(ConfigurationError, match="infinite"):
        surface_points(mpm.HalfSpace((0, 0), (0, 1)), 0.1, -np.ones(2), np.ones(2))
    with pytest.raises(ConfigurationError, match="spacing 0"):
        surface_points(mpm.Sphere((0, 0), 1.0), 0.0, -np.ones(2), np.ones(2))
