"""Sticky walls rub once a substep: how Poiseuille flow depends on the length of the substep.

A particle next to the wall takes part of its velocity from nodes in the wall, which are at rest
although the flow, continued there, would run backwards. What is lost that way does not shrink with
the substep, so that many short substeps rub more than few long ones.
"""

from __future__ import annotations

import numpy as np

from simenv.validation.cases.poiseuille import FASTEST, TOLERANCE, WALL, fluid
from simenv.validation.channel import Channel, centre
from simenv.validation.outcome import Comparison, Curve, Outcome, Panel

NUMBERS = 0.2, 0.1, 0.05, 0.025, 0.01
"""η Δt/(ρ Δx²) [-]."""
TOO_SHORT = 0.01
REASON = "a substep a tenth of the one recommended: outside, to show that walls then rub too much"


def run() -> Outcome:
    """Largest velocity for five substeps; the shortest is the control."""
    found = {number: _fastest(number) for number in NUMBERS}
    comparisons = [
        Comparison(
            f"largest velocity, ηΔt/(ρΔx²) = {number:g} [m/s]",
            FASTEST,
            found[number],
            TOLERANCE,
            REASON if number == TOO_SHORT else WALL,
            "u_max = ρg_x h²/8η",
            control=number == TOO_SHORT,
        )
        for number in (0.2, 0.1, 0.05, TOO_SHORT)
    ]
    curves = [
        Curve("theory", NUMBERS, np.full(len(NUMBERS), FASTEST), "expected", TOLERANCE),
        Curve("16 cells over the width", NUMBERS, list(found.values()), "measured"),
    ]
    panel = Panel("η Δt/(ρ Δx²) [-]", "largest velocity [m/s]", curves)
    return Outcome("Poiseuille flow: length of the substep", comparisons, [panel])


def _fastest(number: float) -> float:
    channel = Channel(number=number)
    _, profiles = channel.flow(fluid(channel), samples=1)
    return float(centre(profiles)[-1])
