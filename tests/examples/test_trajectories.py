"""The examples of trajectory optimisation do what they say, with small budgets."""

from __future__ import annotations

from examples import receding_horizon, sample_then_descend


def test_gradients_go_on_from_a_sample(monkeypatch, tmp_path):
    """The plan is no worse than the gait that it began with, and is drawn."""
    monkeypatch.chdir(tmp_path)
    sampled, refined = sample_then_descend.main(population=6, iterations=3)
    # The same actions from the same start, in a batch of another size.
    assert refined >= sampled - 1e-2 * abs(sampled)
    assert (tmp_path / "plan.gif").stat().st_size > 1_000


def test_planning_beats_slack_muscles():
    """Two populations of eight, three steps ahead, already jump."""
    planned, rest = receding_horizon.main(horizon=3, population=8, iterations=1)
    assert planned > rest
