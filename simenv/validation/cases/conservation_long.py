"""Momenta over 10,000 substeps, at a tenth of the speed so as to stay clear of the walls."""

from __future__ import annotations

import numpy as np

from simenv import mpm
from simenv.validation.cases import conservation
from simenv.validation.outcome import Comparison, Curve, Outcome, Panel

STEPS = 10 * conservation.STEPS
REASON = "rounding of ε = 2e-16 over 10,000 substeps"


def run() -> Outcome:
    """Both dimensions in double precision; the worse of the two."""
    drifts = {d: conservation.tumble(d, mpm.NeoHookean, "float64", STEPS, 0.1) for d in (2, 3)}
    comparisons = [
        Comparison(
            f"{name} momentum, drift in 10,000 substeps, float64",
            0.0,
            max(float(getattr(drift, name)[-1]) for drift in drifts.values()),
            conservation.EXACT,
            REASON,
            conservation.SOURCE,
        )
        for name in ("linear", "angular")
    ]
    n = np.arange(1.0, STEPS + 1) * conservation.SUBSTEPS
    curves = [
        Curve(f"{name}, {d}-D", n, getattr(drift, name)[1:], "measured")
        for d, drift in drifts.items()
        for name in ("linear", "angular")
    ]
    curves.append(Curve("1e-12", n, np.full(STEPS, conservation.EXACT), "expected"))
    panel = Panel("substeps", "relative drift of momentum [-]", curves, logarithmic=True)
    return Outcome("Conservation over 10,000 substeps, float64", comparisons, [panel])
