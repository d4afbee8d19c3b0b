"""A fluid with a yield stress between two plates: a plug moves in the middle."""

from __future__ import annotations

import numpy as np

from simenv import mpm
from simenv.validation.channel import DENSITY, PULL, VISCOSITY, WIDTH, Channel, centre
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

DRIVE = DENSITY * PULL
"""Weight along the channel [N/m³]."""
YIELD = 0.2 * DRIVE * WIDTH / 2
"""Yield stress [Pa]: a fifth of the stress at the walls, so the plug takes a fifth of the width."""
CREEP = 4.0
"""m τ_y/η [-]: creep below the yield stress is this much stiffer than the flow beyond."""
TOLERANCE = 0.05
REASON = (
    "creep of the regularised law adds 3 % to the plug's velocity, and walls are uncertain by dx/4 "
    "of 24 cells, 2 % of h²"
)
CREEPING = "walls uncertain by dx/4 of 24 cells: 2 % of h²; ends of the slug 1 %"
SOURCE = "(ρg/2η)(h/2 − y_p)², y_p = τ_y/ρg; Bingham 1922"


def run() -> Outcome:
    """Velocity of the plug against the ideal and against the regularised law."""
    channel = Channel(cells=24, number=0.245, largest=1 + CREEP, times=4.0)
    law = mpm.Bingham(channel.bulk_modulus, DENSITY, VISCOSITY, YIELD, CREEP * VISCOSITY / YIELD)
    _, profiles = channel.flow(law, samples=8)
    plug = float(centre(profiles)[-1])
    smooth = np.linspace(0.0, WIDTH, 201)
    exact, creeping = ideal(smooth), regularised(smooth)
    comparisons = [
        Comparison("velocity of the plug [m/s]", exact.max(), plug, TOLERANCE, REASON, SOURCE),
        Comparison(
            "the same, creep included [m/s]",
            creeping.max(),
            plug,
            TOLERANCE,
            CREEPING,
            "ηγ̇ + τ_y(1 − e^{−mγ̇}) = ρgy, integrated; Papanastasiou 1987",
        ),
    ]
    curves = [
        Curve("Bingham", smooth, exact, "expected", TOLERANCE),
        Curve("Papanastasiou, with creep", smooth, creeping, "expected"),
        Curve("24 cells over the width", channel.heights, profiles[-1], "measured"),
    ]
    panel = Panel("height [m]", "velocity [m/s]", curves)
    return Outcome("Bingham flow between sticky walls", comparisons, [panel])


def ideal(y: Array) -> Array:
    """Velocity [m/s] at heights [m] of Bingham's law."""
    plug = YIELD / DRIVE
    beyond = np.maximum(np.abs(y - WIDTH / 2) - plug, 0.0)
    return np.asarray(DRIVE / (2 * VISCOSITY) * ((WIDTH / 2 - plug) ** 2 - beyond**2))


def regularised(y: Array) -> Array:
    """Velocity [m/s] at heights [m] with Papanastasiou's creep, integrated from the wall."""
    across = np.linspace(0.0, WIDTH / 2, 2001)
    rate = _rate(DRIVE * across)
    steps = (rate[1:] + rate[:-1]) / 2 * np.diff(across)
    fallen = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(np.interp(np.abs(y - WIDTH / 2), across, fallen[-1] - fallen))


def _rate(stress: Array) -> Array:
    """Shear rate [1/s] at which η γ̇ + τ_y (1 − e^{−mγ̇}) is the stress [Pa], by bisection."""
    low, high, m = np.zeros_like(stress), stress / VISCOSITY + 1e-9, CREEP * VISCOSITY / YIELD
    for _ in range(60):
        rate = (low + high) / 2
        short = VISCOSITY * rate + YIELD * (1 - np.exp(-m * rate)) < stress
        low, high = np.where(short, rate, low), np.where(short, high, rate)
    return np.asarray(rate)
