"""Steps of constrained policy optimisation on rollouts: slopes, trust region, line search."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from agents.offline.cpo import ConstrainedStep, Rollouts, detached
from agents.offline.data import Transitions
from agents.offline.dynamics import Outcome
from tests.agents.offline.test_ogsrl import action, guard, ogsrl, toy


class Level(nn.Module):
    """A policy with one parameter: its mean, the same in every state."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.level, self.deviation = nn.Parameter(torch.zeros(1)), std

    def forward(self, observations):
        """The mean."""
        return self.level.expand(*observations.shape[:-1], 1)

    def std(self):
        """σ."""
        return torch.full((1,), self.deviation)


def test_gains_have_the_units_of_costs():
    """Their slope is that of the mean discounted cost, by differences of the policy's mean.

    In one state, where a cost is c(a), Σ γʰ/N ∂log π · c estimates d/dμ E c; with 40,000 draws of
    (a + 1)/2 it errs by about (σ/2 · 1/σ)/√40000 = 0.0025 from ½ (actions are not clipped here).
    """
    model = toy(cost_limit=0.5, rollouts=40_000, initial_std=0.1)
    found = model.roll_out(torch.zeros(40_000, 1))
    advantages, _ = model.advantages(found)
    before = detached(model.stepper.policy(found))
    gains = model.stepper.gains(found, advantages, before)
    assert gains.tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    bias = model.actor.network[-1].bias
    slope = torch.autograd.grad(gains[1], bias)[0].item()
    # The mean is the tanh of the network.
    by_mean = slope / (1 - action(model) ** 2)
    assert by_mean == pytest.approx(0.5, abs=5 * 0.0025)


def test_a_step_stays_in_its_trust_region():
    """And a search that finds nothing leaves the policy as it was."""
    model = toy(cost_limit=0.6, max_kl=0.005)
    model.learn(10, log_interval=1)
    assert 0 < model.losses["kl"] <= 0.005
    assert model.losses["no_step"] == 0.0
    before = [p.clone() for p in model.actor.parameters()]
    model.stepper.divergence = lambda *_: sum(p.sum() for p in model.actor.parameters()) ** 2 + 1
    noted = model.update(model.sample())
    assert (noted["step_share"], noted["no_step"]) == (0.0, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.actor.parameters(), strict=True))


def test_gradients_that_are_not_finite_are_no_step():
    """Nothing is searched and nothing taken, and the log says so."""
    model = toy()
    found = model.roll_out(model.sample().observations)
    before = [p.clone() for p in model.actor.parameters()]
    advantages = model.advantages(found)[0] * torch.nan
    noted = model.stepper(found, advantages, torch.ones(1))
    assert (noted["step_share"], noted["no_step"]) == (0.0, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.actor.parameters(), strict=True))


def test_slopes_over_several_steps_are_those_of_the_sums():
    """Where s' = s + a and a step costs s, Σ γʰ E sₕ rises by Σ γʰ h = 4.707 with the mean action.

    γ = 0.9 and four steps. The estimate's error is that of 20,000 means of four products of a score
    of deviation 1/σ and what is left to pay, of a deviation below 1 (σ = 0.3): 0.03 at most a
    step; a slope that also counts what comes after the rollout is many times as large.
    """
    states = np.linspace(-10.0, 10.0, 20)[:, None]
    data = Transitions.from_arrays(
        states, 0 * states, states[:, 0], states, np.ones(20), costs=states[:, 0]
    )
    given = {"rollouts": 20_000, "rollout_length": 4, "gamma": 0.9, "gae_lambda": 1.0}
    model = ogsrl(data, cost_limit=1.0, horizon=4, **given)
    model.actor, model.guardian = Level(0.3), guard(9.0)
    model.stepper = ConstrainedStep(model.actor, model.gamma)
    model.cost_value = lambda seen: torch.zeros(*seen.shape[:-1], 2)
    model.dynamics = SimpleNamespace(
        sample=lambda s, a: Outcome(s + a, 0 * a, 0 * a, s, torch.zeros(1, 1))
    )
    found = model.roll_out(torch.zeros(20_000, 1))
    advantages, _ = model.advantages(found)
    before = detached(model.stepper.policy(found))
    gains = model.stepper.gains(found, advantages, before)
    slope = torch.autograd.grad(gains[1], model.actor.level)[0].item()
    assert slope == pytest.approx(0.9 + 2 * 0.81 + 3 * 0.729, abs=5 * 4 * 0.03)


def one_step(advantages: torch.Tensor, actions: torch.Tensor) -> tuple[Rollouts, torch.Tensor]:
    """Rollouts (1, N) of one step in one state, and their advantages (1, N, 1 + K)."""
    count = len(actions)
    ones = torch.ones(1, count)
    empty = torch.zeros_like(advantages)[None]
    return Rollouts(torch.zeros(2, count, 1), actions[None], empty, ones, ones), advantages[None]


@pytest.mark.parametrize(("excess", "sign"), [((3.0, 0.1), -1), ((0.1, 1.0), 1)])
def test_a_step_may_raise_one_exceeded_budget_to_lower_the_other(excess, sign):
    """What is farther away comes first, and the policy does not stand still between the two.

    With the action a drawn around 0, one cost has the slope 1 and the other −0.1 of a, so that an
    excess of 0.1 of the second is as far away as one of 1 of the first.
    """
    torch.manual_seed(0)
    actor = Level(0.5)
    actions = 0.5 * torch.randn(5_000, 1)
    found, advantages = one_step(torch.cat([0 * actions, actions, -0.1 * actions], 1), actions)
    noted = ConstrainedStep(actor, 0.99)(found, advantages, torch.tensor(excess))
    assert noted["recovery"] == 1.0
    assert noted["no_step"] == 0.0
    assert sign * actor.level.item() > 0


def test_the_curvature_is_that_of_some_rollouts():
    """Evenly chosen, at least as many as asked for."""
    column = torch.arange(200.0).expand(2, 200)
    found = Rollouts(*[column[..., None]] * 3, column, column)
    assert found.some(64).alive[0].tolist() == list(range(0, 200, 3))
    assert torch.equal(found.some(300).alive, column)
