"""CAL: the weight of the cost, and the multiplier."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agents.actor_critic import Proposal
from agents.cal import CAL, LOG_MULTIPLIER_BOUNDS
from tests.agents.constrained import TINY, bandits, random_batch, settle


def make(**options: object) -> CAL:
    """A tiny agent in float64, so that differences can be taken."""
    options = {"cost_limit": 0.5, "horizon": 1, "penalty": 2.0, **TINY, **options}
    model = CAL("MlpPolicy", bandits(2), **options)
    for module in (model.critic, model.cost_ensemble):
        module.double()
    model.critic.extract_features = lambda observations, _: observations.double()
    return model


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    """Proposed actions (B, 1) and their log densities (B, 1)."""
    generator = torch.Generator().manual_seed(1)
    shape = (6, 1)
    return tuple(torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))


def mean_bound(model: CAL, actions: torch.Tensor) -> torch.Tensor:
    """E Q̂_c of actions in the states of the batch."""
    return model.cost_bound(random_batch().observations, actions.double()).mean()


SLACKS = (-3.0, -0.2, 0.1, 3.0)
"""d − E Q̂_c: over budget, slightly so, slightly below, and so far below that the weight is 0."""


@pytest.mark.parametrize("slack", SLACKS)
@pytest.mark.parametrize("whose", ["buffer", "policy"])
def test_weight(slack, whose):
    """The cost weighs max(0, λ + c (E Q̂_c − d)), of the actions that were asked for."""
    model, (actions, _) = make(dual_actions=whose), draw()
    batch = random_batch()
    expected = mean_bound(model, batch.actions if whose == "buffer" else actions).item()
    model.cost_budget = expected + slack
    weight = model.cost_weight(batch, mean_bound(model, actions).detach())
    multiplier = 0.6931
    # λ is a float32.
    assert weight.item() == pytest.approx(max(0.0, multiplier - 2.0 * slack), abs=1e-6)
    assert (weight.item() == 0) is (slack == 3.0)


@pytest.mark.parametrize("whose", ["buffer", "policy"])
def test_the_newest_states_are_held_against_the_budget(whose, monkeypatch):
    """With a window the batch says nothing of E Q̂_c: the newest transitions do."""
    model, newest = make(dual_actions=whose, dual_window=7), random_batch(seed=5)
    asked = []

    def sample_newest(size, count, env=None):
        asked.append((size, count))
        return newest

    monkeypatch.setattr(model.replay_buffer, "sample_newest", sample_newest)
    torch.manual_seed(0)
    model.cost_weight(random_batch(), torch.zeros(()))
    torch.manual_seed(0)
    proposed = model.propose(newest.observations).actions
    actions = newest.actions if whose == "buffer" else proposed
    expected = model.cost_bound(newest.observations, actions).mean()
    torch.testing.assert_close(model.cost_budget - model._slack, expected)
    assert asked == [(len(newest.actions), 7)]


@pytest.mark.parametrize("slack", SLACKS)
def test_the_actor_descends_the_augmented_lagrangian(slack):
    """Gradients equal central differences of E[α log π − Q] + (max(0, λ + c g)² − λ²) / 2c."""
    model, batch, (actions, log_prob) = make(dual_actions="policy"), random_batch(), draw()
    model.cost_budget = mean_bound(model, actions).item() + slack
    temperature, c, multiplier = torch.tensor(0.3), 2.0, model.multiplier.double()

    def lagrangian(actions: torch.Tensor) -> torch.Tensor:
        excess = mean_bound(model, actions) - model.cost_budget
        value = model.value(batch, Proposal(actions, log_prob)).mean()
        smooth = (multiplier + c * excess).clamp(min=0) ** 2 - multiplier**2
        return temperature * log_prob.mean() - value + smooth / (2 * c)

    moving = actions.clone().requires_grad_()
    model.actor_loss(batch, Proposal(moving, log_prob), temperature).backward()
    step = 1e-6
    for row in range(3):
        shift = torch.zeros_like(actions)
        shift[row] = step
        with torch.no_grad():
            slope = (lagrangian(actions + shift) - lagrangian(actions - shift)) / (2 * step)
        # Differences of numbers of size 1 are good to 1e-16 / step; ReLUs are linear between kinks.
        assert moving.grad[row].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_dual_step(sign):
    """The multiplier rises where cost exceeds the budget, and falls where it does not."""
    model, batch = make(dual_learning_rate=0.01), random_batch()
    model.cost_budget = mean_bound(model, batch.actions).item() - sign
    before = model.multiplier.log().item()
    proposal = Proposal(*draw())
    model.actor_loss(batch, proposal, torch.tensor(0.3))
    model.update_duals(batch, proposal)
    # Adam's first step has the length of the learning rate.
    assert model.multiplier.log().item() - before == pytest.approx(sign * 0.01, rel=1e-3)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_multiplier_is_clamped(sign):
    """However long a budget is missed or met, log λ stays within its bounds."""
    model, batch = make(dual_learning_rate=4.0), random_batch()
    model.cost_budget = mean_bound(model, batch.actions).item() - sign
    proposal = Proposal(*draw())
    for _ in range(5):
        model.actor_loss(batch, proposal, torch.tensor(0.3))
        model.update_duals(batch, proposal)
    bound = LOG_MULTIPLIER_BOUNDS[1 if sign > 0 else 0]
    assert model.log_multiplier.item() == bound
    assert model.multiplier.item() == pytest.approx(math.exp(bound))


def test_no_penalty_is_a_plain_lagrangian():
    """With c = 0 the weight is λ."""
    model, (actions, _) = make(penalty=0.0), draw()
    weight = model.cost_weight(random_batch(), mean_bound(model, actions).detach())
    assert weight.item() == pytest.approx(0.6931, abs=1e-6)


def test_the_policy_delay_holds_for_the_multiplier():
    """Multiplier and actor step together."""
    model = CAL("MlpPolicy", bandits(1), cost_limit=0.5, horizon=1, policy_delay=3, **TINY)
    model.learn(10 + 9)
    steps = model.dual_optimizer.state[model.log_multiplier]["step"].item()
    assert steps == model.actor.optimizer.state[next(model.actor.parameters())]["step"].item() == 3


def test_constrained_bandit():
    """The best action under the budget, and its multiplier, are found."""
    action, multiplier = settle(CAL, 8 * 400, dual_learning_rate=1e-2, dual_actions="policy")
    # The temperature of 0.003 and the spread it leaves in the actions shift the optimum a little.
    assert action == pytest.approx(math.sqrt(0.09), abs=0.04)
    assert multiplier == pytest.approx(0.5 / math.sqrt(0.09), abs=0.3)
    assert np.isfinite(multiplier)
