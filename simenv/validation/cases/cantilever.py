"""Cantilever under its weight: the mean of its oscillation is the static deflection."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from simenv import mpm
from simenv.validation.measure import Law, crossings, follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

E, DENSITY, LENGTH, HEIGHT = 1e6, 1e3, 1.0, 0.1
DEFLECTION = 0.02 * LENGTH
"""Small enough for linear theory: second-order terms are of the order (δ/L)² = 4e-4."""
GRAVITY = DEFLECTION * E * HEIGHT**2 / (1.5 * DENSITY * LENGTH**4)
"""[m/s²], from δ = 1.5 ρ g L⁴ / (E h²)."""
PERIOD = 2 * math.pi / (1.875**2 * HEIGHT / math.sqrt(12) / LENGTH**2 * math.sqrt(E / DENSITY))
"""First bending period [s] of Euler and Bernoulli's beam."""
FRAMES = 200
"""Samples per PERIOD."""
STEP = PERIOD / FRAMES

CLAMP = (
    "shear adds 0.8(h/L)² = 0.8 %; the clamp is uncertain by a quarter of a cell, 0.6 % of L, to "
    "the fourth power 2.5 %"
)
HALF = "the period goes with the root of the deflection: half of its 10 %"
BEAM = "1.5ρgL⁴/(Eh²), Euler and Bernoulli"


def run() -> Outcome:
    """Four cells over the height, both laws, and a beam of square section in space."""
    laws = {"neo-Hookean": mpm.NeoHookean, "corotated": mpm.FixedCorotated}
    comparisons = [
        Comparison(f"tip, {name} [m]", DEFLECTION, mean(tip(4, law)), 0.10, CLAMP, BEAM)
        for name, law in laws.items()
    ]
    in_space = mean(tip(4, mpm.NeoHookean, "float32", 3))
    comparisons += [
        Comparison("tip, 3-D, ν = 0.3 [m]", DEFLECTION, in_space, 0.10, CLAMP, BEAM),
        Comparison(
            "first bending period [s]", PERIOD, bending_period(), 0.05, HALF,
            "(1.875²/L²)√(EI/ρA)",
        ),
    ]  # fmt: skip
    return Outcome("Cantilever released under its weight, L/h = 10", comparisons, [_panel()])


def _panel() -> Panel:
    sunk = tip(4)
    time = np.arange(len(sunk)) * STEP
    period = time[: FRAMES + 1]
    curves = [
        Curve("mean: 1.5ρgL⁴/(Eh²)", period, np.full(len(period), DEFLECTION), "expected", 0.10),
        Curve("tip, four cells over the height", time, sunk, "measured"),
    ]
    return Panel("time [s]", "tip deflection [m]", curves)


def bending_period() -> float:
    """First period [s]: from the release, half a sample early, to the turn at the top."""
    turns = crossings(np.diff(tip(4)), STEP)
    return float(turns[1] + STEP / 2)


def mean(sunk: Array) -> float:
    """Mean [m] from the release to the next turning point at the top."""
    velocity = np.diff(sunk)
    top = int(np.flatnonzero((velocity[:-1] < 0) & (velocity[1:] >= 0))[0]) + 1
    return float(np.trapezoid(sunk[: top + 1]) / top)


@cache
def tip(
    cells: int,
    law: Law = mpm.NeoHookean,
    dtype: str = "float64",
    dim: int = 2,
) -> Array:
    """Downward displacement [m] of the tip after release from rest, `FRAMES` per period."""
    beam = scene(dim, cells, law)
    sim = beam.build(dtype=dtype)
    state = sim.initial_state()
    end = state.x[0, :, 0] > LENGTH - beam.dx / 2
    rest = state.x[0, end, 1].mean()
    _, sunk = follow(
        sim, state, round(1.2 * FRAMES), lambda s: (rest - s.x[0, end, 1].mean()).item()
    )
    return sunk


def scene(dim: int, cells: int, law: Law) -> mpm.Scene:
    """The beam along x, `cells` over its height, clamped by the sticky wall at x = 0.

    In the plane ν = 0, so that plane strain is as stiff as the beam; in space ν = 0.3.
    """
    dx = HEIGHT / cells
    across = (cells + 8, cells + 4)[: dim - 1]
    counts = (round(LENGTH / dx) + 4, *across)
    scene = mpm.Scene(
        tuple(n * dx for n in counts),
        counts,
        step=STEP,
        gravity=(0.0, -GRAVITY, 0.0)[:dim],
        walls={"x-": mpm.Wall("sticky")},
    )
    centre = (LENGTH / 2, *(n * dx / 2 for n in across))
    beam = mpm.Box(centre, (LENGTH, *[HEIGHT] * (dim - 1)))
    scene.add_body(beam, law(E=E, nu=0.0 if dim == 2 else 0.3, density=DENSITY))
    return scene
