"""SACLag: a multiplier that follows the cost of training episodes."""

from __future__ import annotations

import math

import pytest
import torch

from agents.actor_critic import ActorCritic, Proposal
from agents.saclag import SACLag
from tests.agents.constrained import TINY, bandits, random_batch, settle


def make(**options: object) -> SACLag:
    """A tiny agent."""
    options = {"cost_limit": 0.5, "horizon": 1, **TINY, **options}
    return SACLag("MlpPolicy", bandits(2), **options)


def propose(model: SACLag) -> Proposal:
    """Actions of the policy in the states of the batch."""
    return model.propose(random_batch().observations)


def test_loss():
    """The actor's loss is (α log π − min Q + λ E Q_c) / (1 + λ)."""
    model, batch = make(initial_multiplier=3.0), random_batch()
    proposal, temperature = propose(model), torch.tensor(0.3)
    reward = ActorCritic.actor_loss(model, batch, proposal, temperature).item()
    cost = model.cost_bound(batch.observations, proposal.actions).mean().item()
    loss = model.actor_loss(batch, proposal, temperature).item()
    assert loss == pytest.approx((reward + 3.0 * cost) / 4.0, rel=1e-5)


@pytest.mark.parametrize(("costs", "sign"), [((0.4, 0.8), 1.0), ((0.4, 0.5), -1.0)])
def test_dual_step(costs, sign):
    """The multiplier rises where the mean episode exceeds the limit, and falls where not."""
    model = make(initial_multiplier=1.0, dual_learning_rate=0.01)
    for cost in costs:
        model.episode_ended(cost)
    model.update_duals(random_batch(), propose(model))
    # Adam's first step has the length of the learning rate.
    assert model.multiplier.item() - 1.0 == pytest.approx(sign * 0.01, rel=1e-3)


def test_the_multiplier_is_not_negative():
    """Episodes below the limit take the multiplier to zero and no further."""
    model = make(initial_multiplier=0.02, dual_learning_rate=0.01)
    model.episode_ended(0.0)
    for _ in range(5):
        model.update_duals(random_batch(), propose(model))
    assert model.multiplier.item() == 0.0


def test_window():
    """Only the last episodes count."""
    model = make(cost_window=2, dual_learning_rate=0.01, initial_multiplier=1.0)
    for cost in (100.0, 0.0, 0.1):
        model.episode_ended(cost)
    model.update_duals(random_batch(), propose(model))
    assert model.multiplier.item() < 1.0
    assert model.get_extra_state()["episode_costs"] == [0.0, 0.1]


def test_no_episode_no_step():
    """The multiplier waits for the first episode."""
    model = make(initial_multiplier=1.0)
    model.update_duals(random_batch(), propose(model))
    assert model.multiplier.item() == 1.0


def test_the_warm_up_does_not_count():
    """Episodes of random actions are left out, those after them are measured."""
    model = make(learning_starts=20, cost_window=100)
    model.learn(20)
    assert not model.episode_costs
    model.learn(6, reset_num_timesteps=False)
    assert len(model.episode_costs) == 6
    assert all(0 <= cost <= 1 for cost in model.episode_costs)


def test_constrained_bandit():
    """The best action under the budget, and its multiplier, are found."""
    action, multiplier = settle(SACLag, 8 * 400, dual_learning_rate=5e-3, cost_window=50)
    # The temperature of 0.003 and the spread it leaves in the actions shift the optimum a little.
    assert action == pytest.approx(math.sqrt(0.09), abs=0.04)
    assert multiplier == pytest.approx(0.5 / math.sqrt(0.09), abs=0.3)
