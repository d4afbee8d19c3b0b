"""Receding horizon: it swings up a pendulum, and begins every episode afresh."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from agents.trajopt.receding import Receding, search
from agents.trajopt.samplers import CEM, ICEM, MPPI
from agents.trajopt.trials import Trials
from simenv.errors import ConfigurationError
from tests.agents.physics.systems import DoubleIntegrator, Pendulum, lqr

MPC = {
    "cem": (lambda seed: CEM(15, 1, population=100, elites=10, seed=seed), 4),
    "icem": (lambda seed: ICEM(30, 1, population=40, color=2.0, seed=seed), 3),
    "mppi": (lambda seed: MPPI(20, 1, population=400, std=0.75, seed=seed), 1),
}


def swing_up(name: str, seed: int) -> float:
    """Return of an episode of Gymnasium's own Pendulum-v1, planned with the model of it."""
    make, iterations = MPC[name]
    sampler = make(seed)
    trials = Trials(Pendulum(sampler.most), steps=sampler.shape[0])
    env, model, total = gymnasium.make("Pendulum-v1"), Pendulum(1), 0.0
    env.reset(seed=seed)
    for _ in range(200):
        search(sampler, trials, model.at(*env.unwrapped.state), iterations)
        total += float(env.step(2.0 * sampler.plan[0].numpy())[1])
        sampler.shift()
    return total


@pytest.mark.parametrize("name", MPC)
def test_a_horizon_that_recedes_swings_the_pendulum_up(name):
    """From hanging nearly down, where random torques earn −1,121 on average."""
    assert swing_up(name, 3) > -300.0


@pytest.mark.slow
@pytest.mark.parametrize("name", MPC)
def test_pendulum_over_ten_seeds(name):
    """−180 or better in the mean."""
    assert np.mean([swing_up(name, seed) for seed in range(10)]) >= -180.0


def test_every_episode_begins_afresh():
    """At step 0 there is a new sampler, later ones go on from the last search; all is counted."""
    one, trials = DoubleIntegrator(1), Trials(DoubleIntegrator(33), steps=5)
    player = Receding(lambda: CEM(5, 2, population=32, elites=4), trials, iterations=2)
    state, first = one.initial(3), []
    for t in range(3):
        first.append(player(state, t))
        state = one.transition(state, first[-1])
    assert trials.simulated == 3 * 2 * 33 * 5
    again = player(one.initial(3), 0)
    assert torch.equal(again, first[0])
    assert not torch.equal(player(one.initial(3), 1), first[0])


def test_a_plan_leads_to_rest():
    """Looking twenty steps ahead, the point's cost is within a tenth of the best linear law's."""
    one, trials = DoubleIntegrator(1), Trials(DoubleIntegrator(101), steps=20)
    player = Receding(lambda: CEM(20, 2), trials, iterations=4)
    state, total, best = one.initial(3), 0.0, 0.0
    for t in range(60):
        action = player(state, t)
        after = one.transition(state, action)
        total += float(one.reward(state, action, after))
        state = after
    assert float(state.x.norm()) < 0.1
    state = one.initial(3)
    for _ in range(60):
        action = lqr(one.task.features(state)).clamp(-1.0, 1.0)
        after = one.transition(state, action)
        best += float(one.reward(state, action, after))
        state = after
    assert total > 1.1 * best


def test_plans_shorter_than_trials_are_refused():
    """With both lengths, before the first step."""
    trials = Trials(DoubleIntegrator(4))
    with pytest.raises(ConfigurationError, match=r"plans of 5 steps for trials of 200"):
        Receding(lambda: CEM(5, 2), trials, iterations=1)


def test_no_iterations_are_refused():
    """By name."""
    trials = Trials(DoubleIntegrator(4), steps=2)
    with pytest.raises(ConfigurationError, match="iterations = 0"):
        Receding(lambda: CEM(2, 2, population=4, elites=2), trials, iterations=0)
