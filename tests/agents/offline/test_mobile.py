"""MOBILE: the inconsistency of targets, and exact resume."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.offline.data import Batch
from agents.offline.ensemble import Members
from agents.offline.mobile import MOBILE
from simenv.errors import ConfigurationError
from tests.agents.offline.models import BANDIT, ROLLOUTS, TINY, assert_resumes
from tests.agents.offline.sets import bandit, regret
from tests.agents.offline.systems import linear


def mobile(data=None, **options) -> MOBILE:
    """A tiny one, of the linear system unless told otherwise."""
    data = linear(100) if data is None else data
    return MOBILE(data, **TINY | ROLLOUTS | {"penalty_samples": 2} | options)


class FirstFeature(nn.Module):
    """Values 2 s₀ and 3 s₀ + 100, whatever the action."""

    def smallest(self, observations, actions):
        first = observations[:, :1]
        return torch.minimum(2 * first, 3 * first + 100)


class KnownModel(nn.Module):
    """Elites 0 and 2 of three that move s₀ by 1, 50 and 4, with given noise."""

    num_features = 2

    def __init__(self, std: float = 0.0) -> None:
        super().__init__()
        self.std = std

    def members(self, observations, actions):
        move = torch.tensor([1.0, 50.0, 4.0])[:, None, None]
        mean = torch.cat([move, 0 * move, 0 * move], dim=2).expand(3, len(actions), 3)
        return Members(mean, torch.full_like(mean, self.std), mean[..., :0])

    def next_observations(self, observations, found):
        mean = found.mean[[0, 2], :, :2]
        return observations + mean + found.std[[0, 2], :, :2] * torch.randn_like(mean)


def known(**options) -> MOBILE:
    """With a model and target critics whose answers are known."""
    model = mobile(**options)
    model.dynamics, model.critic_target = KnownModel(), FirstFeature()
    return model


def batch(size: int = 16) -> Batch:
    """Rewards 1 at s = s' = (−3, 0), nowhere an end."""
    state = torch.tensor([[-3.0, 0.0]]).expand(size, 2)
    return Batch(state, torch.zeros(size, 1), torch.ones(size, 1), state, torch.zeros(size, 1))


def test_the_inconsistency_by_hand():
    """Elites at s₀' = −2 and 1 have values −4 and 2: their deviation (n − 1) is 6/√2."""
    found = known().inconsistency(torch.tensor([[-3.0, 0.0]]), torch.zeros(1, 1))
    assert found.shape == (1, 1)
    assert found.item() == pytest.approx(6 / 2**0.5)


def test_it_is_measured_in_the_datasets_units():
    """Standardised observations go to the model as they were, and to the critics standardised."""
    model = known(normalize=True)
    model.normalizer.mean.fill_(7.0)
    model.normalizer.std.fill_(2.0 - model.normalizer.epsilon)
    found = model.inconsistency(torch.tensor([[-5.0, 0.0]]), torch.zeros(1, 1))
    # Standardised states −5 + ½ and −5 + 2, values −9 and −6.
    assert found.item() == pytest.approx(3 / 2**0.5, rel=1e-5)


def test_draws_are_averaged_before_they_are_compared():
    """With noise σ the deviation over elites shrinks to the true one as draws grow.

    For n draws each elite's mean has deviation 2σ/√n = 0.04; a deviation over single draws would be
    of the size of 2σ = 2.
    """
    model = known(penalty_samples=2_500)
    model.dynamics = KnownModel(std=1.0)
    found = model.inconsistency(torch.tensor([[-20.0, 0.0]]), torch.zeros(1, 1))
    assert found.item() == pytest.approx(6 / 2**0.5, abs=5 * 0.04)


def test_both_shares_are_logged():
    """What was lost in rollouts, beside the inconsistency of the batch."""
    assert {"lost_share", "inconsistency"} <= mobile().learn(1).losses.keys()


def test_only_rows_of_the_model_are_penalised():
    """The target 1 + ½ (−6) is lowered by β 6/√2 in all but the first rows."""
    model = known(gamma=0.5, penalty=2.0, real_ratio=0.25)
    target = model.target(batch())[:, 0]
    assert target[:4].tolist() == [-2.0] * 4
    assert target[4:].tolist() == pytest.approx([-2.0 - 12 / 2**0.5] * 12)
    assert model._notes["inconsistency"][0].mean().item() == pytest.approx(6 / 2**0.5)


def test_the_clamp_is_an_option():
    """Off, negative targets stay; on, none is below 0."""
    assert (known().target(batch()) < 0).all()
    assert (known(clamp=True).target(batch()) == 0).all()


def test_the_next_entropy_counts_if_asked():
    """Left out of targets by default."""
    assert not mobile().entropy_backup
    plain, soft = known(penalty=0.0), known(penalty=0.0, entropy_backup=True)
    assert len(set(plain.target(batch())[:, 0].tolist())) == 1
    assert len(set(soft.target(batch())[:, 0].tolist())) > 1


def test_one_elite_cannot_disagree():
    """Its deviation would not be a number."""
    with pytest.raises(ConfigurationError, match="model_elites = 1"):
        mobile(model_elites=1)


@pytest.mark.parametrize("option", [{"penalty": -1.0}, {"penalty_samples": 0}])
def test_options_outside_their_bounds(option):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        mobile(**option)


@pytest.mark.parametrize("at", [7, 12])
def test_resume_equals_the_uninterrupted_training(at, tmp_path):
    """At a rollout, and between two."""
    assert_resumes(mobile, tmp_path, at, lambda m: (m.rollouts.rows, m.log_temperature))


def test_it_solves_a_bandit():
    """By a model of the reward alone; zero has a regret of 0.21, 0.01 is an error of 0.1 in 2."""
    assert regret(mobile(bandit(1_000), **BANDIT).learn(400)) < 0.01
