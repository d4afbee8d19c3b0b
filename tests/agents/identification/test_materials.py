"""The four materials from values five times too small, in at most 100 gradient evaluations."""

from __future__ import annotations

import pytest

import simenv
from agents.identification import identify
from tasks.identification import LAWS

pytestmark = pytest.mark.slow

GOALS = {"E": 0.10, "bulk_modulus": 0.10, "yield_stress": 0.15, "friction_angle": 0.15}


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
@pytest.mark.parametrize("material", LAWS)
def test_within_the_goals(material, method):
    """Moduli end within 10 %, yield stress and friction angle within 15 % of the truth."""
    problem = simenv.identification(f"MaterialID-{material}", segment=10)
    assert (problem.start / problem.truth).tolist() == pytest.approx([0.2] * len(problem.truth))
    result = identify(problem, method, iterations=60)
    assert result.gradients <= 100
    for name, error in result.relative.items():
        assert abs(error) <= GOALS[name]
