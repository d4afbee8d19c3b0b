"""Every validation case, as `simenv validate` runs it."""

from __future__ import annotations

import numpy as np
import pytest

from simenv.validation.registry import CASES
from simenv.validation.runner import run_case

NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if spec.slow else name
    for name, spec in CASES.items()
]


@pytest.mark.parametrize("name", NAMES)
def test_case(compare, name):
    """Every comparison of the case holds; controls lie outside. Curves are there to be drawn."""
    outcome = run_case(CASES[name])
    assert outcome.comparisons
    for panel in outcome.panels:
        for curve in panel.curves:
            assert len(curve.x) == len(curve.y) > 0
            assert np.isfinite(curve.x).all()
            assert np.isfinite(curve.y).all()
    for c in outcome.comparisons:
        assert c.reason
        assert c.source
        if c.control:
            assert c.passed, f"{name}, {c.what}: {c.measured:.6g} lies within the tolerance"
        else:
            compare(f"{name}: {c.what}", c.measured, c.expected, c.tolerance)
