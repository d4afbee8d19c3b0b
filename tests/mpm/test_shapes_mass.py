"""Volume, centroid and inertia against closed forms and random points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from tests.mpm.catalogue import EXACT, MESHES, QUATERNION, SHAPES

TETRAHEDRA = (
    np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], float),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]),
)


def _inertia_density(r: np.ndarray) -> np.ndarray:
    """|r|² E − r rᵀ, (P, 3, 3), or |r|², (P, 1, 1), of positions (P, d)."""
    squares = np.sum(r**2, axis=1)[:, None, None]
    if r.shape[1] == 2:
        return squares
    return squares * np.eye(3) - r[:, :, None] * r[:, None]


@pytest.mark.parametrize("name", EXACT | MESHES)
def test_random_points_agree(name):
    """Means over random points give volume, centroid and inertia, within five standard errors.

    Of the about 150 numbers compared one in 10,000 seeds would have one farther off.
    """
    shape = SHAPES[name]
    volume, centroid, inertia = shape.mass_properties()
    lower, upper = shape.bounds
    x = np.random.default_rng(0).uniform(lower, upper, (200_000, shape.dim))
    inside = (shape.sdf(x) < 0)[:, None]
    terms = [
        inside,
        inside * (x - centroid),
        inside * _inertia_density(x - centroid).reshape(len(x), -1),
    ]
    samples = np.concatenate(terms, axis=1) * float(np.prod(upper - lower))
    expected = np.concatenate([[volume], np.zeros(shape.dim), inertia.ravel()])
    error = np.abs(samples.mean(axis=0) - expected)
    assert np.all(error <= 5 * samples.std(axis=0) / math.sqrt(len(x)) + 1e-12)


def test_textbook_cylinder():
    """V r²/2 about the axis and V (3 r² + h²)/12 across it, for an axis along z."""
    volume, centroid, inertia = mpm.Cylinder((0, 0, 1), (0, 0, 3), 0.5).mass_properties()
    across = math.pi * 0.5 * (3 * 0.25 + 4) / 12
    np.testing.assert_allclose(centroid, (0, 0, 2))
    np.testing.assert_allclose(inertia, np.diag([across, across, volume * 0.125]), atol=1e-15)


def test_textbook_mesh():
    """A tetrahedron with legs a, b, c along the axes has ∫ x² = V a²/10 and ∫ xy = V ab/20."""
    volume, centroid, inertia = mpm.Mesh(TETRAHEDRA).mass_properties()
    legs = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(volume, 1.0)
    np.testing.assert_allclose(centroid, legs / 4)
    moment = np.outer(legs, legs) / 20 + np.diag(legs**2 / 20) - np.outer(legs, legs) / 16
    np.testing.assert_allclose(inertia, np.trace(moment) * np.eye(3) - moment, atol=1e-14)


def test_capsule_without_length_is_a_ball():
    """A capsule of no length has the properties of a sphere, in 2-D and 3-D."""
    for dim in (2, 3):
        place = (0.3, 0.2, 0.1)[:dim]
        ball, capsule = mpm.Sphere(place, 0.2), mpm.Capsule(place, place, 0.2)
        for a, b in zip(ball.mass_properties(), capsule.mass_properties(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


# ---------------------------------------------------------------------- compounds


def _three_boxes(dim: int) -> mpm.Union:
    """Unit boxes shifted by a quarter along each of the first two axes and by both."""
    shifts = [(0.0, 0.0), (0.25, 0.0), (0.25, 0.25)]
    return mpm.Union(*(mpm.Box((*s, 0.0)[:dim], (1.0,) * dim) for s in shifts))


@pytest.mark.parametrize("dim", [2, 3])
def test_boxes_that_overlap_count_once(dim):
    """Three boxes, each overlapping both others: exact, since all faces are along the axes."""
    # The union is [−½, ¾] × [−½, ½], of area 1.25, and [−¼, ¾] × [½, ¾], of area 0.25.
    volume, centroid, inertia = _three_boxes(dim).mass_properties()
    assert math.isclose(volume, 1.5, rel_tol=1e-12)
    expected = (1.25 * np.array([0.125, 0.0]) + 0.25 * np.array([0.25, 0.625])) / 1.5
    np.testing.assert_allclose(centroid[:2], expected, atol=1e-12)
    polar = 1.25 * (1.25**2 + 1) / 12 + 0.25 * (1 + 0.25**2) / 12
    polar += 1.25 * np.sum((expected - (0.125, 0)) ** 2) + 0.25 * np.sum(
        (expected - (0.25, 0.625)) ** 2
    )
    assert math.isclose(inertia[-1, -1], polar, rel_tol=1e-12)


@pytest.mark.parametrize("depth", [0.0, 1e-16, 1e-9, 1e-4])
@pytest.mark.parametrize("dim", [2, 3])
def test_boxes_that_hardly_overlap(dim, depth):
    """Boxes side by side, which overlap by rounding or a hair, are one box."""
    size = (0.2, 1.0, 1.0)[:dim]
    left, right = ((x, 0.5, 0.5)[:dim] for x in (0.1, 0.3 - depth))
    joined = mpm.Union(mpm.Box(left, size), mpm.Box(right, size)).mass_properties()
    box = mpm.Box(((0.4 - depth) / 2, 0.5, 0.5)[:dim], (0.4 - depth, 1.0, 1.0)[:dim])
    for a, b in zip(joined, box.mass_properties(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("thickness", [1e-6, 1e-3, 0.05])
def test_plates_that_cross(thickness):
    """Two thin plates at right angles share a rod, however thin; all faces are along the axes."""
    lying, standing = (1.0, thickness, 0.8), (thickness, 0.7, 0.8)
    volume = mpm.Union(mpm.Box((0, 0, 0), lying), mpm.Box((0, 0, 0), standing)).volume
    expected = 0.8 * thickness * (1.7 - thickness)
    assert math.isclose(volume, expected, rel_tol=1e-12)


def test_parts_that_are_apart_add_up():
    """Disjoint parts are exact, by the parallel axis theorem."""
    a, b = mpm.Sphere((0, 0, 0), 0.5), mpm.Cylinder((2, 0, 0), (2, 1, 0), 0.3)
    (va, ca, ia), (vb, cb, ib) = a.mass_properties(), b.mass_properties()
    volume, centroid, inertia = mpm.Union(a, b).mass_properties()
    assert math.isclose(volume, va + vb, rel_tol=1e-15)
    np.testing.assert_allclose(centroid, (va * ca + vb * cb) / volume, rtol=1e-14)
    apart = va * vb / volume * _inertia_density((cb - ca)[None])[0]
    np.testing.assert_allclose(inertia, ia + ib + apart, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("orientation", [(0, 0, 0, 1), QUATERNION])
def test_hollow_ball(orientation):
    """A shell: 4π/3 (a³ − b³) and 8π/15 (a⁵ − b⁵).

    The hollow is summed over a lattice, r / h = 40. Smearing a sphere of radius r over a width h
    adds h²/24 times the slope of 4π r² to its volume, (h/2r)² = 1.6e-4 of it, and h²/24 times the
    slope of 8π/3 r⁴ to its inertia, 5/6 (h/r)²; the cells' own inertia adds 5/12 (h/r)² to that,
    together 7.8e-4. A quarter is left for the scatter of the lattice.
    """
    a, b = 0.5, 0.4
    shell = mpm.Difference(mpm.Sphere((0, 0, 0), a), mpm.Sphere((0, 0, 0), b))
    volume, centroid, inertia = mpm.Placed(shell, (1, 2, 3), orientation).mass_properties()
    hollow, expected = 4 / 3 * math.pi * b**3, 4 / 3 * math.pi * (a**3 - b**3)
    assert abs(volume - expected) <= 2e-4 * hollow
    np.testing.assert_allclose(centroid, (1, 2, 3), atol=1e-12)
    turned, wanted = 8 / 15 * math.pi * b**5, 8 / 15 * math.pi * (a**5 - b**5)
    np.testing.assert_allclose(inertia, wanted * np.eye(3), atol=9.8e-4 * turned)


def test_half_a_box():
    """A box less a half space along an axis is the smaller box, exactly."""
    whole = mpm.Box((0, 0, 0), (1, 1, 1))
    half = mpm.Difference(whole, mpm.HalfSpace((0.2, 0, 0), (1, 0, 0)))
    exact = mpm.Box((0.35, 0, 0), (0.3, 1, 1))
    for a, b in zip(half.mass_properties(), exact.mass_properties(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_what_a_cut_misses_is_kept():
    """A cut beside the base takes nothing away."""
    base = mpm.Sphere((0, 0), 0.5)
    assert mpm.Difference(base, mpm.Box((1, 1), (0.2, 0.2))).volume == base.volume
    # The bounds of these two meet, the shapes do not.
    assert mpm.Difference(base, mpm.Box((0.48, 0.48), (0.1, 0.1))).volume == base.volume


@pytest.mark.parametrize("radius", [0.5, 0.6, 0.4998])
def test_too_little_left(radius):
    """A difference that leaves nothing, or less than its error, is refused."""
    rest = mpm.Difference(mpm.Sphere((0, 0), 0.5), mpm.Sphere((0, 0), radius))
    with pytest.raises(ConfigurationError, match=r"leaves less than 0\.003 of the base"):
        _ = rest.volume
