"""The cantilever with finer cells comes closer to Timoshenko's beam, shear included."""

from __future__ import annotations

import numpy as np

from simenv.validation.cases import cantilever
from simenv.validation.outcome import Comparison, Curve, Outcome, Panel

CELLS = 2, 4, 8
EXPECTED = cantilever.DEFLECTION * (1 + 0.8 * (cantilever.HEIGHT / cantilever.LENGTH) ** 2)
BEAM = "1.5ρgL⁴/(Eh²) · (1 + 0.8 h²/L²), Timoshenko"


def run() -> Outcome:
    """Two, four and eight cells over the height; each bounded by the error of the one before."""
    tips = [cantilever.mean(cantilever.tip(cells)) for cells in CELLS]
    errors = [abs(tip / EXPECTED - 1) for tip in tips]
    bounds = [0.10, *errors[:-1]]
    reasons = ["half a cell, 2.5 % of L, to the fourth power, of which the clamp is uncertain"]
    reasons += ["less than with cells twice as large"] * 2
    comparisons = [
        Comparison(f"tip, {cells} cells over the height [m]", EXPECTED, tip, bound, reason, BEAM)
        for cells, tip, bound, reason in zip(CELLS, tips, bounds, reasons, strict=True)
    ]
    curves = [
        Curve("Timoshenko", [0, *CELLS], np.full(4, EXPECTED), "expected", 0.10),
        Curve("tip", CELLS, tips, "measured"),
    ]
    panel = Panel("cells over the height", "tip deflection [m]", curves)
    return Outcome("Cantilever with finer cells", comparisons, [panel])
