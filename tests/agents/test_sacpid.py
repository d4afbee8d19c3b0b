"""SACPID: a controller sets the multiplier."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.sacpid import SACPID, PIDController
from tests.agents.constrained import TINY, bandits, settle


def test_terms():
    """λ is K_P Δ + Σ K_I Δ + K_D (rise of Δ), and a fall of Δ adds nothing."""
    controller = PIDController(2.0, 0.5, 3.0, maximum=100.0)
    assert controller.step(1.0) == pytest.approx(2.0 + 0.5)
    assert controller.step(4.0) == pytest.approx(8.0 + 2.5 + 9.0)
    assert controller.step(3.0) == pytest.approx(6.0 + 4.0)


def test_integral_is_not_negative():
    """Years below the limit are not held against the first violation."""
    controller = PIDController(0.0, 0.5, 0.0, maximum=100.0)
    for _ in range(50):
        assert controller.step(-1.0) == 0.0
    assert controller.step(1.0) == pytest.approx(0.5)


def test_integral_does_not_wind_up():
    """After a long violation at the maximum, λ falls with the first measurement below the limit."""
    controller = PIDController(1.0, 0.5, 0.0, maximum=4.0)
    for _ in range(100):
        assert controller.step(3.0) <= 4.0
    assert controller.output == 4.0
    # The proportional part holds 3 of the 4, so that no more than 1 has accumulated.
    assert controller.accumulated == pytest.approx(1.0)
    assert controller.step(-0.5) == pytest.approx(-0.5 + 1.0 - 0.25)


def test_saturation_by_the_proportional_part_leaves_the_integral_alone():
    """What has accumulated is neither raised nor thrown away by a peak."""
    controller = PIDController(10.0, 0.5, 0.0, maximum=4.0)
    controller.step(0.2)
    before = controller.accumulated
    assert before == pytest.approx(0.1)
    assert controller.step(50.0) == 4.0
    assert controller.accumulated == before


def test_it_holds_a_plant_at_its_limit():
    """A cost that falls linearly with λ settles at the limit, and λ where it belongs."""
    controller, cost = PIDController(0.05, 0.02, 0.01, maximum=10.0), 60.0
    for _ in range(400):
        cost = 60.0 - 10.0 * controller.step(cost - 40.0)
    # Contraction by at least 0.86 a step, so that nothing is left but rounding.
    assert cost == pytest.approx(40.0, abs=1e-6)
    assert controller.output == pytest.approx(2.0, abs=1e-6)


def make(**options: object) -> SACPID:
    """A tiny agent."""
    options = {"cost_limit": 0.5, "horizon": 1, "cost_window": 3, **TINY, **options}
    return SACPID("MlpPolicy", bandits(2), **options)


def test_one_step_per_window():
    """The controller steps once for as many episodes as the window holds, on their mean."""
    model = make(proportional_gain=1.0, integral_gain=0.0, derivative_gain=0.0)
    for cost in (1.0, 2.0):
        model.episode_ended(cost)
    assert model.multiplier.item() == 0.0
    model.episode_ended(3.0)
    assert model.multiplier.item() == pytest.approx(1.5)
    assert model.get_extra_state()["episode_costs"] == []


def test_state_of_the_controller():
    """A restored controller goes on as the first would have."""
    model, other = make(), make()
    for cost in np.linspace(0.2, 3.0, 10):
        model.episode_ended(float(cost))
    other.set_extra_state(model.get_extra_state())
    for cost in (2.0, 1.0, 0.3, 0.1):
        model.episode_ended(cost)
        other.episode_ended(cost)
    assert other.controller == model.controller
    assert model.multiplier.item() > 0


def test_constrained_bandit():
    """The best action under the budget, and its multiplier, are found."""
    gains = {"proportional_gain": 5.0, "integral_gain": 0.5, "derivative_gain": 5.0}
    action, multiplier = settle(SACPID, 8 * 400, cost_window=20, **gains)
    # The temperature of 0.003 and the spread it leaves in the actions shift the optimum a little;
    # twenty measured episodes leave the proportional term some noise.
    assert action == pytest.approx(math.sqrt(0.09), abs=0.05)
    assert multiplier == pytest.approx(0.5 / math.sqrt(0.09), abs=0.4)
