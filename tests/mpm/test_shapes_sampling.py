"""Even sampling: exact counts, evenness, seeds, and how bodies use it."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm.shapes.sampling import even_sequence
from tests.mpm import scenes
from tests.mpm.catalogue import SHAPES


@pytest.fixture(params=SHAPES)
def shape(request) -> mpm.Shape:
    """One of the shapes."""
    return SHAPES[request.param]


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_count_is_exact(shape, count):
    """As many points as asked for, all inside."""
    x = shape.sample(count, seed=3)
    assert x.shape == (count, shape.dim)
    assert np.all(shape.sdf(x) < 0)


def test_seeds(shape):
    """The same seed gives the same points, another seed others; fewer points are the first ones."""
    x = shape.sample(100, seed=1)
    np.testing.assert_array_equal(shape.sample(100, seed=1), x)
    np.testing.assert_array_equal(shape.sample(10, seed=1), x[:10])
    assert np.abs(shape.sample(100, seed=2) - x).max(axis=1).min() > 0


@pytest.mark.parametrize(
    "shape",
    [
        mpm.Box((0.5, 0.4), (0.3, 0.2)),
        mpm.Sphere((0.5, 0.5), 0.4),
        mpm.Box((0.5, 0.4, 0.3), (0.3, 0.2, 0.1)),
        mpm.Sphere((0.5, 0.5, 0.5), 0.4),
        mpm.Cylinder((0.5, 0.3, 0.5), (0.5, 0.7, 0.5), 0.2),
    ],
)
def test_octants_are_filled_evenly(shape):
    """Each octant about the middle holds its share, closer than independent points would.

    A share s of n independent points scatters by σ = √(s (1 − s) / n), and the root mean square of
    8 seeds and 2^d octants, 24 free numbers at least, by 1/√48 of that around σ: below σ/2, three
    and a half such steps away, independent points do not get.
    """
    n, share = 1000, 0.5**shape.dim
    middle = shape.mass_properties().centroid
    signs = np.array(list(product((False, True), repeat=shape.dim)))
    errors = []
    for seed in range(8):
        above = shape.sample(n, seed) > middle
        errors.append(np.mean(np.all(above == signs[:, None], axis=2), axis=1) - share)
    spread = math.sqrt(np.mean(np.square(errors)))
    assert spread <= 0.5 * math.sqrt(share * (1 - share) / n)


@pytest.mark.parametrize("dim", [2, 3])
def test_sequence_keeps_points_apart(dim):
    """No two of 1,000 points are closer than 0.3 of their mean spacing, around the edges too.

    The nearest two of independent points are about n^(−1/d) of the spacing apart: 0.03 and 0.1.
    """
    n = 1000
    x = even_sequence(np.full(dim, 0.3), 0, n)
    assert np.all((x >= 0) & (x < 1))
    apart = np.abs(x[:, None] - x[None])
    distance = np.linalg.norm(np.minimum(apart, 1 - apart), axis=2) + np.eye(n)
    assert distance.min() >= 0.3 * n ** (-1 / dim)


@pytest.mark.parametrize("name", ["disc", "ring", "cylinder", "drilled box", "mesh"])
def test_neighbours_are_evenly_apart(name):
    """Nearest neighbours are farther and more alike than those of independent points.

    Of n independent points per volume V the nearest neighbour is on average c (V/n)^(1/d) away,
    with c = 1/2 in the plane and Γ(4/3) (4π/3)^(−1/3) = 0.554 in space (Clark and Evans 1954), and
    scatters by 0.52 and 0.36 of that; next to the surface it is farther. A lattice has c = 1.
    """
    shape = SHAPES[name]
    x = shape.sample(1000, seed=4)
    apart = np.linalg.norm(x[:, None] - x[None], axis=2) + 10 * np.eye(len(x))
    nearest = apart.min(axis=1)
    spacing = (shape.volume / len(x)) ** (1 / shape.dim)
    independent, scatter = (0.5, 0.52) if shape.dim == 2 else (0.554, 0.36)
    assert nearest.mean() >= 1.25 * independent * spacing
    assert nearest.std() <= 0.75 * scatter * nearest.mean()


def test_fresh_processes_agree():
    """Another process draws bitwise the same samples of a compound and a mesh."""
    code = (
        "from tests.mpm.catalogue import SHAPES\n"
        "import hashlib\n"
        "for name in ('drilled box', 'mesh'):\n"
        "    x = SHAPES[name].sample(300, seed=9)\n"
        "    print('sha', hashlib.sha256(x.tobytes()).hexdigest())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seen = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("sha ")]
    here = [SHAPES[name].sample(300, seed=9).tobytes() for name in ("drilled box", "mesh")]
    assert seen == [hashlib.sha256(x).hexdigest() for x in here]


def test_too_many_to_be_sampled():
    """A count, or a shape too thin for it, that would take hours is refused at once."""
    hair = mpm.Capsule((0.1, 0.1, 0.1), (0.9, 0.5, 0.3), 1e-5)
    with pytest.raises(ConfigurationError, match=r"100 particles take .* make it thicker"):
        hair.sample(100)
    with pytest.raises(ConfigurationError, match=r"use a smaller count"):
        mpm.Box((0.5, 0.5), (1.0, 1.0)).sample(10**10)


def test_sequence_can_be_continued():
    """Terms do not depend on where a batch starts."""
    shift = np.array([0.1, 0.7])
    whole = even_sequence(shift, 0, 100)
    np.testing.assert_allclose(even_sequence(shift, 40, 60), whole[40:], atol=1e-14)


@pytest.mark.parametrize("count", [0, -1, 1.5])
def test_bad_count_is_named(count):
    """A count that is not a whole number of at least 1 is refused with its value."""
    with pytest.raises(ConfigurationError, match=f"count = {count}"):
        SHAPES["disc"].sample(count)


@pytest.mark.parametrize("seed", [-1, 0.5])
def test_bad_seed_is_named(seed):
    """A seed that is not a whole number of at least 0 is refused with its value."""
    with pytest.raises(ConfigurationError, match=f"seed = {seed}"):
        SHAPES["disc"].sample(10, seed)


def test_too_thin_to_be_sampled(monkeypatch):
    """Sampling ends, with what to do, where no point is ever inside."""
    disc = mpm.Sphere((0.5, 0.5), 0.2)
    monkeypatch.setattr(mpm.Sphere, "sdf", lambda self, x: np.ones(len(x)))
    with pytest.raises(ConfigurationError, match=r"only 0 of .* too few for 5 particles; make it"):
        disc.sample(5)


# ---------------------------------------------------------------------- bodies


def _scene(dim: int) -> mpm.Scene:
    return mpm.Scene((1.0,) * dim, (10,) * dim)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("count", [1, 777])
def test_body_of_so_many_particles(dim, count):
    """A body has exactly the particles asked for; they share its volume."""
    shape = mpm.Sphere((0.5,) * dim, 0.3)
    body = _scene(dim).add_body(shape, scenes.soft(), count=count)
    assert body.x.shape == (count, dim)
    assert math.isclose(body.volume * count, shape.volume, rel_tol=1e-12)
    np.testing.assert_array_equal(body.x, shape.sample(count, 0))


def test_body_of_a_seed():
    """A seed without a count spreads as many particles as the density asks for."""
    shape = mpm.Sphere((0.5, 0.5), 0.3)
    body = _scene(2).add_body(shape, scenes.soft(), particles_per_cell=9, seed=5)
    # π 0.3² / 0.1² · 9 = 254.5
    assert len(body.x) == 254
    np.testing.assert_array_equal(body.x, shape.sample(254, 5))
    body = _scene(2).add_body(shape, scenes.soft(), seed=5)
    # By default four per cell: 113.1.
    assert len(body.x) == 113


def test_body_of_a_count_and_a_seed():
    """The seed chooses among the samples of a count."""
    shape = mpm.Sphere((0.5, 0.5), 0.3)
    body = _scene(2).add_body(shape, scenes.soft(), count=50, seed=5)
    np.testing.assert_array_equal(body.x, shape.sample(50, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"count": 10, "particles_per_cell": 4},
            "count = 10 and particles_per_cell = 4 contradict",
        ),
        ({"count": 0}, "count = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 1, "particles_per_cell": math.inf}, "particles_per_cell = inf"),
        ({"seed": 1, "particles_per_cell": 0.01}, r"use at least 0\.0353678"),
    ],
)
def test_bad_sampling_is_named(options, message):
    """Contradictory or impossible options are refused, and the scene stays empty."""
    scene = _scene(2)
    with pytest.raises(ConfigurationError, match=message):
        scene.add_body(mpm.Sphere((0.5, 0.5), 0.3), scenes.soft(), **options)
    assert scene.bodies == []
