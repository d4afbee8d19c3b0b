"""OGSRL over several steps: sums and advantages of rollouts whose numbers are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.offline.cpo import Rollouts
from agents.offline.data import Transitions
from agents.offline.dynamics import Outcome
from agents.offline.ogsrl import OGSRL
from tests.agents.offline.models import TINY

STEPS, GAMMA, LAMBDA = 3, 0.5, 0.5
STARTS = torch.tensor([[0.0], [1.0], [3.0]])


def step(observations, actions) -> Outcome:
    """s' = s + a; reward s + 1, cost 2 s; an end where s' is 3."""
    after = observations + actions
    return Outcome(
        after, observations + 1, (after == 3.0).float(), 2 * observations, torch.zeros(1, 1)
    )


@pytest.fixture
def model() -> OGSRL:
    """One whose policy always takes the action 1, and whose values are s, 2 s and 4.

    The guardian flags states above 4.
    """
    states = np.linspace(0.0, 6.0, 20)[:, None]
    zeros = np.zeros(20)
    data = Transitions.from_arrays(
        states, zeros[:, None], zeros, states, np.ones(20), costs=zeros + 1
    )
    options = {"rollouts": 3, "rollout_length": STEPS, "gamma": GAMMA, "gae_lambda": LAMBDA}
    model = OGSRL(data, **TINY | options, cost_limit=3.0, horizon=STEPS)
    model.actor = _Still()
    model.dynamics = SimpleNamespace(sample=step)
    model.guardian = SimpleNamespace(flags=lambda s, a: (s > 4.0).float())
    model.value = lambda s: s
    model.cost_value = lambda x: torch.cat([2 * x[..., :1], torch.full_like(x[..., :1], 4.0)], -1)
    return model


class _Still(torch.nn.Module):
    def forward(self, observations):
        return torch.ones(len(observations), 1)

    def std(self):
        return torch.zeros(1)


@pytest.fixture
def found(model) -> Rollouts:
    """From 0 and from 1 to the end at 3; from 3 out of the data."""
    return model.roll_out(STARTS)


def test_where_rollouts_end(found):
    """The first at its third step, the second at its second, the third never."""
    assert found.alive.T.tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1]]
    assert found.terminated.T.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_discounted_sums_of_several_rollouts(model, found):
    """Rewards, costs and steps outside, to the end of each rollout, by hand.

    Rewards are 1, 2, 3; 2, 3; 4, 5, 6, and costs 0, 2, 4; 2, 4; 6, 8, 10; the third rollout alone
    is outside, at its third step, and goes on to be counted there.
    """
    sums = [
        [1 + 2 / 2 + 3 / 4, 0 + 2 / 2 + 4 / 4, 0.0],
        [2 + 3 / 2, 2 + 4 / 2, 0.0],
        [4 + 5 / 2 + 6 / 4, 6 + 8 / 2 + 10 / 4, 1 / 4],
    ]
    torch.testing.assert_close(model.mean_sums(found), torch.tensor(sums).mean(dim=0))


def test_advantages_of_several_rollouts(model, found):
    """By hand: δ = x + γ V(s') − V(s), without V(s') at an end, and A = δ + γ λ A'.

    Of the rewards, with V = s: δ = 1.5, 2, 1; 2, 1; 3, 3.5, 4. Of the costs, with V = 2 s and
    nothing after the rollout: δ = 1, 2, 0; 2, 0; 4, 5, 0. Of the steps outside, with V = 4:
    δ = −2, −2, −4 up to an end; −2, −4; −2, −2, −3.
    """
    share = GAMMA * LAMBDA
    errors = {
        0: [[1.5, 2.0, 1.0], [1.0, 2.0, 0.0], [-2.0, -2.0, -4.0]],
        1: [[2.0, 1.0], [2.0, 0.0], [-2.0, -4.0]],
        2: [[3.0, 3.5, 4.0], [4.0, 5.0, 0.0], [-2.0, -2.0, -3.0]],
    }
    advantages, targets = model.advantages(found)
    for rollout, signals in errors.items():
        for signal, deltas in enumerate(signals):
            steps = range(len(deltas))
            expected = [sum(share ** (k - h) * deltas[k] for k in steps if k >= h) for h in steps]
            mine = advantages[: len(deltas), rollout, signal]
            assert mine.tolist() == pytest.approx(expected), (rollout, signal)
    torch.testing.assert_close(targets, advantages + model._values(found.observations)[:-1])
