"""The examples of trajectory optimisation do what they say, with small budgets."""

from __future__ import annotations

import pytest

import simenv
from agents.evaluation import play
from agents.trajopt import make_policy
from examples import receding_horizon, sample_then_descend


def test_gradients_go_on_from_a_sample(monkeypatch, tmp_path):
    """The plan that is drawn earns what is said, and more than the gait that it began with."""
    monkeypatch.chdir(tmp_path)
    drawn, draw = [], sample_then_descend.draw
    monkeypatch.setattr(
        sample_then_descend, "draw", lambda best, path: (drawn.append(best), draw(best, path))
    )
    sampled, refined = sample_then_descend.main(population=6, iterations=3)
    # The gait was tried in a batch of another size, where contact amplifies roundings.
    assert refined > sampled + 1e-2 * abs(sampled)
    functional = simenv.functional(sample_then_descend.TASK)
    plan = make_policy("plan", functional.task, 1)
    plan.load_state_dict(drawn[0])
    # The same steps again, summed in float64 instead of float32: eighty roundings of 6e-8.
    played = play(functional, plan, sample_then_descend.SEED).returns[0]
    assert float(played) == pytest.approx(refined, rel=1e-5)
    assert (tmp_path / "plan.gif").stat().st_size > 1_000


def test_planning_beats_slack_muscles():
    """Two populations of eight, three steps ahead, already jump."""
    planned, rest = receding_horizon.main(horizon=3, population=8, iterations=1)
    assert planned > rest
