"""The way back to the data: divergent rollouts, the policy to anchors, and anchors."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from agents.offline.anchors import AnchorSeeker, divergent_rollouts, round_trip, seek
from agents.offline.dynamics import Dynamics, ReverseDynamics
from simenv.errors import TrainingError
from tests.agents.offline.sets import bandit
from tests.agents.offline.systems import linear


def generator() -> torch.Generator:
    """One that always begins the same."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def system():
    """A linear system with little noise."""
    return linear(1_500, noise=0.002)


@pytest.fixture(scope="module")
def models(system):
    """Both models of it, fitted."""
    torch.manual_seed(0)
    options = {"members": 3, "elites": 2, "widths": (32, 32)}
    forward, reverse = Dynamics(2, 1, **options), ReverseDynamics(2, 1, **options)
    for model in (forward, reverse):
        model.fit(system, generator(), max_epochs=100)
    return forward, reverse


def test_a_step_and_its_reversal_lead_back(system, models):
    """On a linear system the round trip misses by less than a tenth of a step's length.

    Its square is a hundredth; models that were not fitted miss by a step's length or more.
    """
    forward, reverse = models
    assert round_trip(forward, reverse, system) < 0.01
    torch.manual_seed(0)
    assert round_trip(forward, ReverseDynamics(2, 1, widths=(8,)), system) > 1


def test_divergent_rollouts_hold_one_action():
    """Every step repeats 0.8 u with noise of deviation 0.1, from all s', away from the data."""
    size, length = 2_000, 3
    data = bandit(size)
    data.actions = torch.where(data.actions > 0, 0.75, -0.75)
    back = SimpleNamespace(sample=lambda state, action: state + action)
    states, actions = divergent_rollouts(back, data, generator(), length)
    assert states.shape == actions.shape == (length * size, 1)
    steps = actions.view(length, size)
    # Six deviations from another sign, four from the bound.
    noise = steps - 0.6 * steps.sign()
    assert torch.equal(steps.sign(), steps[:1].sign().expand(length, size))
    # Five standard errors of a deviation of so many draws.
    assert noise.std() == pytest.approx(0.1, rel=5 / math.sqrt(2 * length * size))
    path = data.next_observations.view(1, size) + steps.cumsum(dim=0)
    torch.testing.assert_close(states.view(length, size), path)
    assert len(set(steps[0].sign().tolist())) == 2


def test_divergent_rollouts_stay_within_the_bounds():
    """Noise does not lead an action out of [-1, 1]."""
    data = bandit(1_000)
    data.actions = torch.ones_like(data.actions)
    back = SimpleNamespace(sample=lambda state, action: state)
    _, actions = divergent_rollouts(back, data, generator(), 1)
    assert actions.max() == 1
    assert actions.min() < 0.8


def test_the_seeker_learns_the_way_back():
    """It repeats actions that are a function of the state, learns no more, and says so."""
    torch.manual_seed(0)
    states = 3 + 5 * torch.randn(2_000, 2)
    actions = torch.tanh((states[:, :1] - 3) / 5)
    seeker = AnchorSeeker(2, 1, (32, 32))
    assert not seeker.fitted
    losses = seeker.fit(states, actions, generator())
    assert seeker.fitted
    # The actions' own variance is 0.39.
    assert losses[-1] < 0.01
    assert (seeker(states) - actions).square().mean() < 0.01
    assert not any(p.requires_grad for p in seeker.parameters())


def test_the_seeker_stops_where_nothing_improves():
    """After `patience` epochs without half a percent less, and at the bound of epochs."""
    torch.manual_seed(0)
    states, actions = torch.randn(512, 1), torch.sign(torch.randn(512, 1))
    losses = AnchorSeeker(1, 1, (8,)).fit(states, actions, generator(), patience=3)
    assert len(losses) < 50
    least = [min(losses[: i + 1]) for i in range(len(losses))]
    assert losses[-1] > 0.995 * least[-4]
    short = AnchorSeeker(1, 1, (8,)).fit(states, actions, generator(), max_epochs=2)
    assert len(short) == 2


def test_the_seeker_refuses_what_is_not_finite():
    """A broken model of the dynamics does not lead to a broken policy."""
    states = torch.tensor([[1.0], [math.inf]])
    with pytest.raises(TrainingError, match="anchor-seeking policy is not finite"):
        AnchorSeeker(1, 1, (8,)).fit(states, torch.zeros(2, 1), generator())


def test_anchors_are_steps_of_the_model():
    """h times s ← T(s, π̃(s)), without a gradient."""

    def mean(observations, actions):
        return SimpleNamespace(observations=observations + actions)

    model = SimpleNamespace(mean=mean)
    states = torch.tensor([[4.0], [-2.0]], requires_grad=True)
    for steps, expected in ((0, [4.0, -2.0]), (1, [2.0, -1.0]), (3, [0.5, -0.25])):
        found = seek(model, lambda s: -0.5 * s, states, steps)
        assert found[:, 0].tolist() == expected
    assert not found.requires_grad


def test_anchors_lie_nearer_to_the_data(system, models):
    """From where the backward model goes the fitted policy leads back, on a linear system."""
    forward, reverse = models
    torch.manual_seed(0)
    pairs = divergent_rollouts(reverse, system, generator(), 5)
    seeker = AnchorSeeker(2, 1, (32, 32))
    seeker.fit(*pairs, generator(), max_epochs=10)
    outer = pairs[0][-len(system) :]
    found = seek(forward, seeker, outer, 3)
    # What actions move is the first feature, whose data end at about 1.1.
    beyond = outer[:, 0].abs() > 1.2
    assert beyond.sum() > 50
    assert (found[beyond, 0].abs() < outer[beyond, 0].abs()).float().mean() > 0.95
