"""Newtonian flow between two plates: its start-up and its steady profile."""

from __future__ import annotations

import math

import numpy as np

from simenv import mpm
from simenv.validation.channel import DENSITY, PULL, TIME, VISCOSITY, WIDTH, Channel, centre
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

FASTEST = DENSITY * PULL * WIDTH**2 / (8 * VISCOSITY)
"""u_max = ρ g_x h² / 8η [m/s]."""
TOLERANCE = 0.05
WALL = (
    "16 cells over the width: half a particle spacing, dx/4, of uncertainty in the walls' place is "
    "3 % of h², and the slug's ends add a per cent"
)
SERIES = "u_max (1 − Σ 32/(nπ)³ sin(nπ/2) e^{−n²t/τ}), Batchelor 1967"


def run() -> Outcome:
    """Largest velocity in the steady state, and the worst moment of the start-up."""
    channel = Channel()
    time, profiles = channel.flow(fluid(channel))
    middle, expected = centre(profiles), start_up(time)
    worst = int(np.argmax(np.abs(middle - expected)))
    lag = abs(float(middle[worst] - expected[worst])) / FASTEST
    comparisons = [
        Comparison(
            "largest velocity, steady [m/s]",
            FASTEST,
            float(middle[-1]),
            TOLERANCE,
            WALL,
            "u_max = ρg_x h²/8η",
        ),
        Comparison("start-up, worst deviation over u_max", 0.0, lag, TOLERANCE, WALL, SERIES),
    ]
    y = channel.heights
    smooth = np.linspace(0.0, WIDTH, 100)
    curves = [
        Curve("4 u_max (y/h)(1 − y/h)", smooth, parabola(smooth), "expected", TOLERANCE),
        Curve(f"t = {channel.times:g} τ", y, profiles[-1], "measured"),
    ]
    starting = [
        Curve("series", time / TIME, expected, "expected", TOLERANCE),
        Curve("middle of the channel", time / TIME, middle, "measured"),
    ]
    panels = [
        Panel("height [m]", "velocity [m/s]", curves),
        Panel("time / τ, τ = ρh²/π²η [-]", "velocity [m/s]", starting),
    ]
    return Outcome("Poiseuille flow between sticky walls", comparisons, panels)


def fluid(channel: Channel) -> mpm.Fluid:
    """The fluid, with the stiffness that suits a channel's substep."""
    return mpm.Fluid(channel.bulk_modulus, DENSITY, VISCOSITY)


def parabola(y: Array) -> Array:
    """Steady velocity [m/s] at a height [m]."""
    return 4 * FASTEST * y / WIDTH * (1 - y / WIDTH)


def start_up(time: Array) -> Array:
    """Velocity [m/s] in the middle of the channel after the start from rest."""
    n = np.arange(1, 40, 2)[:, None]
    terms = 32 / (n * math.pi) ** 3 * np.sin(n * math.pi / 2) * np.exp(-(n**2) * time / TIME)
    return np.asarray(FASTEST * (1 - terms.sum(axis=0)))
