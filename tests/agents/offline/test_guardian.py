"""The guardian: leave-one-out densities, the choice of a bandwidth, and what it flags."""

from __future__ import annotations

import math
import warnings

import gymnasium
import numpy as np
import pytest
import torch

from agents.offline.guardian import Guardian
from agents.offline.support import log_density
from simenv.errors import ConfigurationError
from tests.agents.offline.memory import TensorMemory


def generator(seed: int = 0) -> torch.Generator:
    """Of splits and uniform points."""
    return torch.Generator().manual_seed(seed)


def ring(count: int = 1_250) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of four numbers near a closed curve, as of a swinging pendulum under a controller."""
    phase = 2 * math.pi * torch.rand(count, 1, generator=generator(1))
    noise = 0.1 * torch.randn(count, 4, generator=generator(2))
    wave = [phase.cos(), phase.sin(), (2 * phase).sin(), (phase + 1).cos()]
    found = torch.cat(wave, dim=1) + noise
    return found[:, :3], found[:, 3:]


@pytest.fixture(scope="module")
def fitted():
    """Of the ring."""
    guardian = Guardian(0.05, 1_000)
    guardian.fit(*ring(), generator())
    return guardian


def test_the_density_of_a_training_point_leaves_it_out():
    """Centres at −1 and 1, h = 1: e⁻² / √2π at both, and nothing thinner elsewhere."""
    guardian = Guardian(bandwidth=1.0)
    guardian.centres = torch.tensor([[-1.0], [1.0]])
    guardian._measure(guardian.centres, torch.zeros(1, 1))
    constant = math.log(math.sqrt(2 * math.pi))
    (fit,) = guardian.fits
    assert fit.likelihood == pytest.approx(-2.0 - constant)
    assert fit.threshold == pytest.approx(-2.0 - constant)
    # With themselves, or in the middle, they are denser: (1 + e⁻²)/2 and e^(−½).
    assert (fit.held_out, fit.uniform) == (0.0, 0.0)


def test_both_bounds_are_met(fitted):
    """At most 2 α of the points held out, at least 10 α of uniform ones."""
    assert fitted.sound
    assert fitted.chosen.held_out <= 0.1
    assert fitted.chosen.uniform >= 0.5


def test_points_held_out_are_flagged_like_training_points(fitted):
    """With densities that leave out the point itself, both kinds are alike at every bandwidth.

    250 points held out, of which α = 5 % should be flagged, vary by √(.05·.95/250) = 1.4 %, the
    threshold by another √(.05·.95/1000) = 0.7 %: 6.2 % are four deviations of their sum.
    Densities with the point itself would flag most of them at the smallest bandwidth.
    """
    assert len(fitted.fits) == 15
    assert max(abs(fit.held_out - 0.05) for fit in fitted.fits) < 0.062
    threshold = log_density(fitted.centres, fitted.centres, 0.02).quantile(0.05)
    fresh = fitted._scaled(torch.cat(ring(3_000), dim=1)[-500:])
    with_itself = log_density(fresh, fitted.centres, 0.02) < threshold
    assert with_itself.float().mean() > 0.5


def pendulum(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of Pendulum-v1 under uniform actions, four numbers each, in a random order."""
    env, rng, rows = gymnasium.make("Pendulum-v1"), np.random.default_rng(0), []
    while len(rows) < count:
        seen, _ = env.reset(seed=len(rows))
        for _ in range(200):
            action = rng.uniform(-2.0, 2.0, 1).astype(np.float32)
            rows.append(np.concatenate([seen, action]))
            seen = env.step(action)[0]
    found = torch.as_tensor(rng.permutation(np.stack(rows))[:count], dtype=torch.float32)
    return found[:, :3], found[:, 3:]


def test_a_wide_kernel_is_blind():
    """On four numbers of Pendulum-v1 the published bandwidth, 0.535, flags half too few.

    With 3000 points it flags 27 % of uniform ones and the chosen bandwidth 76 %, both about 6 % of
    data held out.
    """
    data = pendulum(1_600)
    chosen = Guardian(points=800).fit(*data, generator())
    with pytest.warns(RuntimeWarning, match="cannot tell these data from uniform"):
        blind = Guardian(points=800, bandwidth=0.535).fit(*data, generator())
    assert blind.uniform < 0.4
    assert chosen.uniform > 0.6
    assert max(blind.held_out, chosen.held_out) <= 0.1
    assert chosen.bandwidth < 0.2


def test_flags(fitted):
    """Data of the ring, mostly not; its middle and a place far off, yes."""
    seen, acts = ring(3_000)
    flagged = fitted.flags(seen, acts)
    assert flagged.shape == (3_000, 1)
    assert flagged.mean() < 0.1
    places = torch.tensor([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, 0.0, 0.0]])
    assert fitted.flags(places[:, :3], places[:, 3:])[:, 0].tolist() == [1.0, 1.0]


def test_units_do_not_matter(fitted):
    """A feature a thousand times as large changes no flag; a constant one neither."""
    seen, acts = ring()
    scale = torch.tensor([1.0, 1000.0, 1.0])
    other = Guardian(0.05, 1_000)
    other.fit(torch.cat([seen * scale, torch.ones(1_250, 1)], dim=1), acts, generator())
    places = torch.rand(200, 4, generator=generator(7)) * 2 - 1
    mine = fitted.flags(places[:, :3], places[:, 3:])
    wide = torch.cat([places[:, :3] * scale, torch.ones(200, 1)], dim=1)
    # Distances differ by rounding alone, which may turn a flag at the threshold.
    assert (other.flags(wide, places[:, 3:]) != mine).sum() <= 1


def test_rows_are_chosen_before_they_are_joined():
    """Of 100,000 rows of 41 numbers, 20 are joined: never the dataset once more."""
    seen, acts = torch.rand(100_000, 40, generator=generator()), torch.rand(100_000, 1)
    with TensorMemory() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        Guardian(points=10).fit(seen, acts, generator())
    # Their order, 8 bytes a row, and the 1000 uniform points are 1 MB; the data are 16 MB.
    assert memory.peak < 0.25 * seen.nbytes


def test_data_without_an_outside_are_reported():
    """Uniform data: whatever the bandwidth, uniform points are flagged like data."""
    points = torch.rand(600, 2, generator=generator())
    guardian = Guardian(0.05, 400)
    with pytest.warns(RuntimeWarning, match="it flags .* where 50% are wanted"):
        chosen = guardian.fit(points[:, :1], points[:, 1:], generator())
    assert not guardian.sound
    assert chosen.held_out <= 0.1


def test_its_state(fitted):
    """What is restored flags the same."""
    other = Guardian(0.05, 1_000)
    with pytest.raises(ConfigurationError, match="has seen no data"):
        other.flags(torch.zeros(1, 3), torch.zeros(1, 1))
    other.set_state(fitted.get_state())
    places = torch.rand(500, 4, generator=generator(7)) * 2 - 1
    mine, theirs = (g.flags(places[:, :3], places[:, 3:]) for g in (fitted, other))
    assert torch.equal(mine, theirs)
    assert (other.chosen, other.fits, other.sound) == (fitted.chosen, fitted.fits, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"share": 0.2}, "guardian_share = 0.2"),
        ({"points": 1}, "guardian_points = 1 must be a whole number of at least 2"),
        ({"bandwidth": 0.0}, "guardian_bandwidth"),
    ],
)
def test_options_outside_their_bounds(option, message):
    """Each is refused by name; so are data that are too few."""
    with pytest.raises(ConfigurationError, match=message):
        Guardian(**option)
    with pytest.raises(ConfigurationError, match="4 transitions are too few"):
        Guardian().fit(torch.zeros(4, 1), torch.zeros(4, 1), generator())
