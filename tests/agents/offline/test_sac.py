"""Soft actor-critic on batches: losses by hand, and the temperature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from agents.offline.sac import OfflineSAC
from simenv.errors import ConfigurationError
from tests.agents.offline.sets import BATCH, bandit, regret

TINY = {"net_arch": (4,), "batch_size": 2, "seed": 0, "gamma": 0.5}


class KnownActor(nn.Module):
    """Actions s/4 of log density s."""

    def sample(self, observations):
        return 0.25 * observations, observations


class KnownCritic(nn.Module):
    """Values s + a and 2 s."""

    def forward(self, observations, actions):
        return torch.cat([observations + actions, 2 * observations], dim=-1)

    def smallest(self, *inputs):
        return self(*inputs).min(dim=-1, keepdim=True).values


def known(**options) -> OfflineSAC:
    """With networks whose values are known, and α = ½ unless told otherwise."""
    model = OfflineSAC(bandit(10), **TINY | {"temperature": 0.5} | options)
    model.actor, model.critic = KnownActor(), KnownCritic()
    model.critic_target = model.critic
    return model


def test_target():
    """r + γ (1 − d)(min Q̄ − α log π): at s' = 2 min(2.5, 4) − ½·2 = 1.5; ends have r alone."""
    assert known().target(BATCH)[:, 0].tolist() == [1.75, 3.0]
    assert known(entropy_backup=False).target(BATCH)[:, 0].tolist() == [2.25, 3.0]


def test_critic_loss():
    """Values (1.5, 2) and (1.5, 4) against 1.75 and 3: the sum of two means."""
    expected = (0.25**2 + 1.5**2) / 2 + (0.25**2 + 1.0**2) / 2
    assert known().critic_loss(BATCH).item() == pytest.approx(expected)


def test_actor_loss():
    """α log π − min Q: ½ − min(1.25, 2) and 1 − min(2.5, 4), mean −1.125."""
    actions, log_prob = KnownActor().sample(BATCH.observations)
    assert known().actor_loss(BATCH, actions, log_prob).item() == pytest.approx(-1.125)


def test_temperature_moves_the_entropy_to_its_goal():
    """Less entropy than H̄ raises α, more lowers it; the loss is −log α (E log π + H̄)."""
    for entropy, sign in ((-2.0, 1), (0.0, -1)):
        model = OfflineSAC(bandit(10), **TINY, initial_temperature=0.2, target_entropy=-1.0)
        loss = model.temperature_loss(torch.full((3, 1), -entropy))
        assert loss.item() == pytest.approx(-math.log(0.2) * (-entropy - 1.0))
        model.descend(model.temperature_optimizer, "temperature_loss", loss)
        assert sign * (model.alpha.item() - 0.2) > 0


def test_a_fixed_temperature_stays():
    """Also at zero, and nothing is learnt of it."""
    model = OfflineSAC(bandit(50), **TINY, temperature=0.0).learn(5)
    assert model.alpha.item() == 0.0
    assert model.log_temperature.item() == 0.0
    assert "temperature_loss" not in model.losses


def test_it_solves_a_bandit_that_is_covered():
    """Uniform actions leave nothing to be overestimated; 0.005 is an error of 0.07 in 2."""
    model = OfflineSAC(
        bandit(),
        net_arch=(32, 32),
        batch_size=128,
        seed=0,
        learning_rate=3e-3,
        actor_learning_rate=3e-3,
        temperature=0.005,
    )
    assert regret(model.learn(600)) < 0.005


@pytest.mark.parametrize(
    "option",
    [
        {"actor_learning_rate": 0.0},
        {"temperature": -1.0},
        {"initial_temperature": 0.0},
        {"temperature_learning_rate": 0.0},
        {"target_entropy": float("nan")},
    ],
)
def test_options_outside_their_bounds(option):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        OfflineSAC(bandit(10), **TINY, **option)
