"""One particle alone is a bar of half a cell: its oscillation has a closed form.

A free particle's affine velocity passes through the grid unchanged but for the stress,
C' = C − 4Δt/(ρΔx²) τ(F') with F' = (1 + Δt C) F. For a small uniaxial strain and ν = 0, τ = E ε:
an oscillator with ω = (2/Δx) √(E/ρ), which is (1/L) √(E/ρ) with L = Δx/2.
"""

from __future__ import annotations

import math

import numpy as np

from simenv import mpm
from simenv.validation.measure import Law, follow, period
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

E, DENSITY, CELL = 100.0, 1.0, 2.0
OMEGA = 2 / CELL * math.sqrt(E / DENSITY)
SAMPLES, PERIODS = 100, 10
"""Substeps per period, and periods."""
AMPLITUDE = 1e-4
DT = 2 * math.pi / OMEGA / SAMPLES

EXACT = (
    "symplectic Euler shortens the period by (ωΔt)²/24 = 1.6e-4; a strain of 1e-4 changes the "
    "stiffness by some 1e-4 of itself"
)
DISCRETE = "a strain of 1e-4 changes the period in second order, apart from 1e-5 of the crossings"
PEAKS = "sampling misses a peak by up to 1 − cos(π/100) = 5e-4"


def run() -> Outcome:
    """Both laws in both dimensions; of each comparison the farthest off."""
    laws = mpm.NeoHookean, mpm.FixedCorotated
    strains = [strain(dim, law) for dim in (2, 3) for law in laws]
    periods = [period(s, DT) for s in strains]
    discrete = math.pi * DT / math.asin(OMEGA * DT / 2)
    peaks = [float(np.abs(part).max()) for part in (strains[0][:SAMPLES], strains[0][-SAMPLES:])]
    comparisons = [
        _farthest("period [s]", 2 * math.pi / OMEGA, periods, 5e-4, EXACT, "ω = (1/L)√(E/ρ)"),
        _farthest(
            "period of its time steps [s]", discrete, periods, 1e-5, DISCRETE,
            "πΔt / asin(ωΔt/2), symplectic Euler",
        ),
        _farthest(
            "amplitude after ten periods [-]", 1.0, [peaks[1] / peaks[0]], 1e-3, PEAKS, "no damping"
        ),
    ]  # fmt: skip
    time = np.arange(1, PERIODS * SAMPLES + 1) * DT
    shown = slice(0, 3 * SAMPLES)
    exact = np.sin(OMEGA * time)
    curves = [
        Curve("ω = (1/L)√(E/ρ)", time[shown], exact[shown], "expected"),
        Curve("one particle", time[shown], strains[0][shown] / AMPLITUDE, "measured"),
    ]
    panel = Panel("time [s]", "strain / 1e-4 [-]", curves)
    return Outcome("Single-cell bar, L = Δx/2", comparisons, [panel])


def _farthest(
    what: str, expected: float, values: list[float], tolerance: float, reason: str, source: str
) -> Comparison:
    worst = max(values, key=lambda value: abs(value - expected))
    return Comparison(what, expected, worst, tolerance, reason, source)


def strain(dim: int, law: Law) -> Array:
    """Strain of a lone particle at every substep after it was given a rate of strain."""
    scene = mpm.Scene((8 * CELL,) * dim, (8,) * dim, step=DT, substeps=1, gravity=(0.0,) * dim)
    # Off the lattice, where no symmetry of the weights helps.
    box = mpm.Box((8.6, 8.2, 8.3)[:dim], (0.1,) * dim)
    scene.add_body(box, law(E=E, nu=0.0, density=DENSITY), particles_per_cell=1e-3)
    sim = scene.build(dtype="float64")
    state = sim.initial_state()
    C = state.C.clone()
    C[0, 0, 0, 0] = AMPLITUDE * OMEGA
    _, strains = follow(
        sim, state.replace(C=C), PERIODS * SAMPLES, lambda s: s.F[0, 0, 0, 0].item() - 1.0
    )
    return strains[1:]
