"""One particle alone is a bar of half a cell: its oscillation has a closed form.

A free particle's affine velocity passes through the grid unchanged but for the stress,
C' = C − 4Δt/(ρΔx²) τ(F') with F' = (1 + Δt C) F. For a small uniaxial strain and ν = 0, τ = E ε:
an oscillator with ω = (2/Δx) √(E/ρ), which is (1/L) √(E/ρ) with L = Δx/2.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from simenv import mpm
from tests.validation import measure

E, DENSITY, CELL = 100.0, 1.0, 2.0
OMEGA = 2 / CELL * math.sqrt(E / DENSITY)
SAMPLES = 100
"""Substeps per period."""
AMPLITUDE = 1e-4


def _strain(dim: int, law: type[mpm.Material], periods: int) -> tuple[measure.Series, float]:
    """Strain of a lone particle from a first rate of strain on, and the substep [s]."""
    dt = 2 * math.pi / OMEGA / SAMPLES
    scene = mpm.Scene((8 * CELL,) * dim, (8,) * dim, step=dt, substeps=1, gravity=(0.0,) * dim)
    # Off the lattice, where no symmetry of the weights helps.
    box = mpm.Box((8.6, 8.2, 8.3)[:dim], (0.1,) * dim)
    scene.add_body(box, law(E=E, nu=0.0, density=DENSITY), particles_per_cell=1e-3)
    assert scene.num_particles == 1
    sim = scene.build(dtype="float64")
    state = sim.initial_state()
    C = state.C.clone()
    C[0, 0, 0, 0] = AMPLITUDE * OMEGA
    state, strain = state.replace(C=C), [0.0]
    for _ in range(periods * SAMPLES):
        state = sim.step(state)
        strain.append(float(state.F[0, 0, 0, 0]) - 1.0)
    return np.array(strain[1:]), dt


@pytest.mark.parametrize("law", [mpm.NeoHookean, mpm.FixedCorotated])
@pytest.mark.parametrize("dim", [2, 3])
def test_single_cell_bar(compare, dim, law):
    """Period 2π/ω of the exact oscillator, and that of symplectic Euler to the strain's size.

    Symplectic Euler shortens the period to πΔt / asin(ωΔt/2), by (ωΔt)²/24 = 1.6e-4 at 100 samples;
    a strain of 1e-4 changes the stiffness, and with it the period, by some 1e-4 of itself.
    """
    strain, dt = _strain(dim, law, periods=10)
    measured = measure.period(strain, dt)
    discrete = math.pi * dt / math.asin(OMEGA * dt / 2)
    compare("single-cell bar, period [s]", measured, 2 * math.pi / OMEGA, 5e-4)
    compare("single-cell bar, period of its time steps [s]", measured, discrete, 1e-5)


def test_single_cell_bar_keeps_swinging(compare):
    """Nothing damps a lone particle: after ten periods the amplitude is the first one.

    Sampling misses a peak by up to 1 − cos(π/100) = 5e-4, and the samples are (1 + ωΔt/2) ahead.
    """
    strain, _ = _strain(2, mpm.NeoHookean, periods=10)
    first, last = (float(np.abs(part).max()) for part in (strain[:SAMPLES], strain[-SAMPLES:]))
    compare("single-cell bar, amplitude after 10 periods", last / first, 1.0, 1e-3)
