"""OGSRL: what its policy is cloned from, and where its rollouts start."""

from __future__ import annotations

import numpy as np
import pytest

from tests.agents.offline.systems import linear
from tests.agents.offline.test_ogsrl import ogsrl, priced


def test_starts():
    """Any observation, or first ones alone; as the dataset has them."""
    data = linear(300, narrow=True)
    first = {tuple(row) for row in data.observations[data.initial].tolist()}
    model = ogsrl(data, starts="first", rollouts=50, normalize=True)
    assert {tuple(row) for row in model.sample().observations.tolist()} <= first
    anywhere = ogsrl(data, rollouts=50).sample().observations
    assert not {tuple(row) for row in anywhere.tolist()} <= first


@pytest.mark.parametrize(("limit", "dearest"), [(0.0, 1), (5.0, 5), (99.0, 19)])
def test_cheap_episodes(limit, dearest):
    """Those within the limit, or the cheapest tenth, which are 0 and 1."""
    model = ogsrl(priced(), clone_from="cheap", cost_limit=limit, horizon=5)
    found = model.draw(500, model._to_clone).observations[:, 0].round()
    assert set(found.tolist()) == set(range(dearest + 1))


def test_rollouts_start_in_the_episodes_that_are_cloned():
    """Anywhere in them, and nowhere else."""
    options = {"cost_limit": 5.0, "horizon": 5, "rollouts": 500}
    model = ogsrl(priced(), clone_from="cheap", **options)
    starts = model.sample().observations
    assert set(starts[:, 0].round().tolist()) == set(range(6))
    assert len(starts.unique(dim=0)) == 30


def test_the_clone_of_cheap_episodes():
    """Their actions are ½, those of all others −½, and the states tell little."""
    options = {"clone_steps": 200, "learning_rate": 1e-2, "horizon": 5, "cost_limit": 5.0}
    model = ogsrl(priced(), clone_from="cheap", **options)
    model._prepare_model()
    cheap = model.dataset.observations[:30]
    assert model.actor(model.encode(cheap)).mean().item() == pytest.approx(0.5, abs=0.1)
    # Fitted to the rest as well, the deviation would be near that of ±½.
    assert model.actor.std().item() < 0.2


def test_the_policy_starts_as_a_clone():
    """The data's actions are −0.9 s₀ and a tenth of a uniform number, of deviation 0.1/√3."""
    model = ogsrl(net_arch=(32,), batch_size=64, clone_steps=1_000, learning_rate=3e-3)
    model._prepare_model()
    seen = model.dataset.observations
    error = model.actor(model.encode(seen)) + 0.9 * seen[:, :1]
    noise = 0.1 / np.sqrt(3)
    # The clone averages 300 draws over few parameters: it errs by much less than they do.
    assert error.square().mean().sqrt().item() < 0.5 * noise
    # Root of the sum of both squares; the deviation of 300 draws is known to 1/√600 = 4 %.
    assert model.actor.std().item() == pytest.approx(noise, rel=0.2)
