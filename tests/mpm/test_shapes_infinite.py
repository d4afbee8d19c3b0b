"""Half spaces: alone, moved, put together with others and taken away."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from tests.mpm import scenes
from tests.mpm.catalogue import QUATERNION, TETRAHEDRON

GROUND = mpm.HalfSpace((0.0, 0.0), (0.0, 1.0))
INFINITE: dict[str, mpm.Shape] = {
    "half space": GROUND,
    "moved": mpm.Placed(GROUND, (1.0, 1.0)),
    "with a ball": mpm.Union(mpm.Sphere((0.0, 1.0), 0.5), GROUND),
    "with a hole": mpm.Difference(GROUND, mpm.Sphere((0.0, 0.0), 0.5)),
    "slab": mpm.Difference(GROUND, mpm.HalfSpace((0.0, -1.0), (0.0, 1.0))),
    "moved with a ball": mpm.Placed(mpm.Union(mpm.Sphere((0.0, 1.0), 0.5), GROUND), (1.0, 1.0)),
}


@pytest.mark.parametrize("dim", [2, 3])
def test_half_space(dim):
    """Distance, normal and bounds of the ground."""
    point, up = scenes.vector(dim, 0.2, 0.3, 0.1), scenes.vector(dim, 0.0, 2.0)
    ground = mpm.HalfSpace(point, up)
    points = np.random.default_rng(0).normal(size=(10, dim))
    np.testing.assert_allclose(ground.sdf(points), points[:, 1] - 0.3, atol=1e-15)
    np.testing.assert_array_equal(ground.normal(points), np.tile(np.eye(dim)[1], (10, 1)))
    lower, upper = ground.bounds
    assert np.all(lower == -math.inf)
    assert upper[1] == 0.3
    assert np.isinf(np.delete(upper, 1)).all()


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.volume,
        lambda s: s.mass_properties(),
        lambda s: s.particles(0.1),
        lambda s: s.sample(10),
    ],
    ids=["volume", "mass", "lattice", "sample"],
)
@pytest.mark.parametrize("name", INFINITE)
def test_infinite_shape_has_no_volume(name, ask):
    """What an infinite shape cannot have is refused; the error names all of it and the remedy."""
    shape = INFINITE[name]
    with pytest.raises(ConfigurationError, match=r"elsewhere put a Box in its place") as caught:
        ask(shape)
    assert str(caught.value).startswith(f"{shape} is infinite")


@pytest.mark.parametrize(("dim", "turn"), [(2, 0.7), (3, QUATERNION)])
def test_a_half_space_moved_is_a_half_space(dim, turn):
    """Twice moved too, and after a copy: contact knows planes by their class."""
    plane = mpm.HalfSpace((0.2, 0.3, 0.1)[:dim], (1.0, -2.0, 0.5)[:dim])
    place = (0.5, 0.1, -0.3)[:dim]
    moved = mpm.Placed(plane, place, turn)
    twice = mpm.Placed(moved, place)
    assert isinstance(moved, mpm.HalfSpace)
    assert isinstance(twice, mpm.HalfSpace)
    rotation = mpm.Placed(mpm.Sphere((0.0,) * dim, 1.0), place, turn).rotation
    x = np.random.default_rng(0).normal(size=(100, dim))
    world = x @ rotation.T + np.array(place)
    np.testing.assert_allclose(moved.sdf(world), plane.sdf(x), atol=1e-14)
    np.testing.assert_allclose(twice.sdf(world + np.array(place)), plane.sdf(x), atol=1e-14)
    np.testing.assert_allclose(moved.normal(world), plane.normal(x) @ rotation.T, atol=1e-14)


def test_bad_place_of_a_half_space_is_named():
    """Placing a plane checks its arguments as placing anything else does."""
    with pytest.raises(ConfigurationError, match="must hold 2 numbers"):
        mpm.Placed(GROUND, (0.0, 0.0, 0.0))


def test_placed_shapes_can_be_copied():
    """Copies and pickles of a placed shape are placed shapes."""
    placed = mpm.Placed(mpm.Sphere((0.2, 0.1), 0.3), (1.0, 2.0), 0.4)
    for other in (copy.copy(placed), copy.deepcopy(placed), pickle.loads(pickle.dumps(placed))):
        assert other == placed


@pytest.mark.parametrize("options", [{}, {"position": (0.0, 0.0)}, {"softness": 10.0}])
def test_a_placed_half_space_is_a_tool(options):
    """A plane moved by `Placed` is accepted as a tool like one written there."""
    scene = scenes.block(2)
    tool = scene.add_tool(mpm.Placed(GROUND, (0.0, 0.1), 0.1), **options)
    assert tool.shape.sdf(np.array([0.0, 0.1])) == pytest.approx(0.0, abs=1e-15)


def test_contact_points_beside_a_plane():
    """The plane itself brings none; what lies on or around it keeps its own."""
    ball = mpm.Sphere((0.0, 1.0), 0.5)
    np.testing.assert_array_equal(mpm.Union(ball, GROUND).contact_points(), [[0.0, 1.0, 0.5]])
    sunk = mpm.Union(mpm.Sphere((0.0, -1.0), 0.5), GROUND)
    assert len(sunk.contact_points()) == 0
    pit = mpm.Difference(GROUND, mpm.Box((0.0, 0.0), (1.0, 1.0))).contact_points()
    assert sorted(map(tuple, pit[:, :2])) == [
        (-0.5, -0.5), (-0.5, 0.0), (0.0, -0.5), (0.5, -0.5), (0.5, 0.0),
    ]  # fmt: skip


# ---------------------------------------------------------------------- taken away


@pytest.mark.parametrize("level", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("dim", [2, 3])
def test_support_of_a_cap(dim, level):
    """A ball less a half space reaches as far as its round part or the rim of the cut.

    With n the plane's normal, c its height over the centre and r the radius, the farthest point
    along d is that of the ball if r n·d ≥ c, else one of the rim: c n·d + √(r² − c²) √(1 − (n·d)²).
    """
    r, centre = 0.5, np.array([0.3, 0.2, 0.1])[:dim]
    n = np.array([1.0, 2.0, -0.5])[:dim]
    n /= np.linalg.norm(n)
    cap = mpm.Difference(mpm.Sphere(centre, r), mpm.HalfSpace(centre + level * n, n))
    for d in [n, -n, *np.random.default_rng(0).normal(size=(40, dim))]:
        d = d / np.linalg.norm(d)
        along = float(n @ d)
        rim = level * along + math.sqrt((r**2 - level**2) * max(0.0, 1 - along**2))
        expected = float(centre @ d) + (r if r * along >= level else rim)
        # Golden sections of the share s stop at 1e-15, where the slope is below 10.
        assert cap.support(d) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("base", "plane", "expected"),
    [
        (
            mpm.Box((0.5, 0.5), (1.0, 1.0)),
            mpm.HalfSpace((0.0, 0.7), (0.0, 1.0)),
            [(0.0, 0.7), (1.0, 1.0)],
        ),
        # The corner cut off at x + y = 1.5 has legs of half a metre.
        (
            mpm.Box((0.5, 0.5), (1.0, 1.0)),
            mpm.HalfSpace((1.0, 0.5), (1.0, 1.0)),
            [(0.5, 0.5), (1.0, 1.0)],
        ),
        (
            mpm.Capsule((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 0.1),
            mpm.Placed(mpm.HalfSpace((0.0, 0.0, 0.0), (1.0, 0.0, 0.0)), (0.4, 0.0, 0.0)),
            [(0.4, -0.1, -0.1), (1.1, 0.1, 0.1)],
        ),
    ],
)
def test_half_spaces_narrow_the_bounds(base, plane, expected):
    """The bounds of a convex solid less a half space are those of what is left."""
    np.testing.assert_allclose(mpm.Difference(base, plane).bounds, expected, atol=1e-12)
    # Among other cuts, in a union, the half space narrows them too.
    cut = mpm.Union(mpm.Sphere(base.bounds[0], 0.01), plane)
    np.testing.assert_allclose(mpm.Difference(base, cut).bounds, expected, atol=1e-12)


def test_bounds_where_nothing_is_left():
    """A half space that takes everything leaves the bounds alone and the difference empty."""
    nothing = mpm.Difference(mpm.Sphere((0.0, 0.0), 1.0), mpm.HalfSpace((0.0, 1.5), (0.0, 1.0)))
    np.testing.assert_array_equal(nothing.bounds, [(-1.0, -1.0), (1.0, 1.0)])
    with pytest.raises(ConfigurationError, match="leaves less than"):
        _ = nothing.volume
    with pytest.raises(ConfigurationError, match="holds no particle"):
        nothing.particles(0.1)


def test_bounds_of_a_cut_mesh_hold_it():
    """No point of a mesh less a half space lies beyond the bounds, and vertices left touch them."""
    vertices, _ = TETRAHEDRON
    plane = mpm.HalfSpace((0.0, 0.25, 0.0), (0.0, 1.0, 0.0))
    cut = mpm.Difference(mpm.Mesh(TETRAHEDRON), plane)
    lower, upper = cut.bounds
    assert lower[1] == pytest.approx(0.25, abs=1e-12)
    assert upper[1] == vertices[:, 1].max()
    x = cut.sample(2000)
    assert np.all((x >= lower) & (x <= upper))


def test_a_dome_on_the_floor_is_a_body():
    """What a half space takes away may lie outside of the domain."""
    dome = mpm.Difference(
        mpm.Sphere((0.5, 0.0, 0.5), 0.3), mpm.HalfSpace((0.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    )
    body = mpm.Scene((1.0,) * 3, (8,) * 3).add_body(dome, scenes.soft())
    assert body.x[:, 1].min() > 0.0
    half = 2 / 3 * math.pi * 0.3**3
    # Half a ball is summed over a lattice, to about 3e-4.
    assert abs(body.volume * len(body.x) / half - 1) <= 3e-4
    # Its centroid is 3/8 of the radius above the floor.
    assert dome.mass_properties().centroid[1] == pytest.approx(0.375 * 0.3, rel=1e-3)
