"""Trials: sums over whole rollouts, in batches that need not come out even."""

from __future__ import annotations

import pytest
import torch

from agents.trajopt import make_policy
from agents.trajopt.trials import Trials, by_table
from tests.agents.physics.systems import DoubleIntegrator
from tests.agents.toy import Toy


def test_gains_are_returns_and_the_value_of_the_end():
    """Of plans in batches that do not come out even, from one state for all."""
    start = DoubleIntegrator(4).initial(5)[1:2]
    plans = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    trials = Trials(DoubleIntegrator(4), steps=3, value=lambda state: state.x[:, 0, 0])
    tried, one = trials(start, plans), DoubleIntegrator(1)
    assert trials.simulated == 2 * 4 * 3
    for plan, gain, earned in zip(plans, tried.gains, tried.returns, strict=True):
        state, total = start, 0.0
        for action in plan:
            after = one.transition(state, action[None])
            total += float(one.reward(state, action[None], after))
            state = after
        assert float(earned) == pytest.approx(total, rel=1e-5)
        assert float(gain) == pytest.approx(total + float(state.x[0, 0, 0]), rel=1e-5)


def test_nothing_follows_where_the_task_ended():
    """Neither rewards nor the value of what comes after."""
    system = DoubleIntegrator(2)
    system.terminal = lambda state: state.time >= 1
    trials = Trials(system, steps=3, value=lambda state: torch.full((2,), 100.0))
    start = system.initial(0)[:1]
    tried = trials(start, torch.zeros(2, 3, 2))
    assert torch.allclose(tried.gains, -start.x[0, 0].square().sum().expand(2))


def test_nothing_follows_the_last_step_of_an_episode():
    """Its value is of what comes after in the episode; one step earlier it counts."""
    system = DoubleIntegrator(1, 5)
    trials = Trials(system, steps=3, value=lambda state: torch.full((1,), 100.0))
    start, still = system.initial(0), torch.zeros(1, 3, 2)
    gains = [float(trials(start.replace(time=start.time + t), still).gains) for t in (1, 2)]
    assert gains[0] - gains[1] == pytest.approx(100.0, rel=1e-5)


def test_a_step_that_breaks_makes_a_trial_worthless():
    """Else a search would look for what breaks the simulator, where rewards are negative."""
    system = DoubleIntegrator(3)
    whole = system.transition

    def breaking(state, action):
        after = whole(state, action)
        broken = (action[:, 0] > 0.5) & (state.time == 1)
        return after.replace(fault=torch.where(broken, 1, after.fault))

    system.transition = breaking
    plans = torch.zeros(3, 4, 2)
    plans[1, 1, 0] = 1.0
    tried = Trials(system, steps=4)(system.initial(0)[:1], plans)
    assert torch.isnan(tried.gains).tolist() == [False, True, False]
    assert torch.isnan(tried.returns).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["gait", "feedback", "plan"])
def test_tables_are_the_parameters_of_policies(kind):
    """A table tried is worth what the policy that it came from earns."""
    toy = Toy(num_envs=2)
    policy, other = (make_policy(kind, toy.task, 2, seed) for seed in (0, 1))
    trials = Trials(toy, by_table(other))
    tables = policy.table
    tried = trials(toy.initial()[:1], tables)
    state, total = toy.initial(), torch.zeros(2)
    for t in range(toy.task.horizon):
        action = policy(toy.observation(state), t).detach()
        after = toy.transition(state, action)
        total += toy.reward(state, action, after)
        state = after
    torch.testing.assert_close(tried.returns, total)
