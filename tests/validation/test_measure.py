"""Reading simulations: periods, momenta, faults; and the closed forms that cases compare with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simenv import mpm
from simenv.errors import SimenvError
from simenv.validation import channel, measure
from simenv.validation.cases import archimedes, bingham, poiseuille, sand_column, stokes


def _scene(dim: int) -> mpm.Scene:
    scene = mpm.Scene((1.0,) * dim, (8,) * dim, step=1e-3, substeps=1, gravity=(0.0,) * dim)
    scene.add_body(mpm.Box((0.3,) * dim, (0.25,) * dim), mpm.NeoHookean(1e4, 0.3, 1e3))
    return scene


# ---------------------------------------------------------------------- measure


def test_period_of_a_sine():
    """Interpolation between samples errs by (ωΔt)²: 1e-4 of a period with 100 samples."""
    time = np.arange(500) * 0.01
    assert measure.period(np.sin(2 * math.pi * time + 0.3), 0.01) == pytest.approx(1.0, rel=1e-4)


def test_no_period_without_oscillation():
    """A signal that turns less than three times has none: NaN, which passes no comparison."""
    assert math.isnan(measure.period(np.linspace(-1.0, 1.0, 10), 0.1))


def test_faults_are_raised():
    """A step that breaks ends the case with the fault in words."""
    sim = _scene(2).build(dtype="float64")
    state = sim.initial_state()
    broken = state.replace(v=state.v * float("nan"))
    with pytest.raises(SimenvError, match="step 0: non-finite state"):
        measure.follow(sim, broken, 1, lambda state: 0.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_momenta_of_a_rotation(dim):
    """A cube of side s and mass m that spins about its middle has m s²/6 ω; a rigid one as well.

    The particles' own share, m dx²/4 of each, is more than the m h²/6 of the cube of side h = dx/2
    that each stands for: by dx² (1/4 − 1/24) = dx² · 5/24 of the sum.
    """
    spin, side, density = 2.0, 0.25, 1e3
    scene = mpm.Scene((1.0,) * dim, (8,) * dim, gravity=(0.0,) * dim)
    turn = (spin,) if dim == 2 else (0.0, 0.0, spin)
    law = mpm.NeoHookean(1e4, 0.3, density)
    scene.add_body(mpm.Box((0.3,) * dim, (side,) * dim), law, spin=turn)
    scene.add_rigid(mpm.Box((0.7,) * dim, (side,) * dim), density=density, spin=turn)
    sim = scene.build(dtype="float64")
    state = sim.initial_state()
    mass = density * side**dim
    own = scene.dx**2 * (1 / 2 - 1 / 24)
    expected = mass * spin * (2 * side**2 / 6 + own)
    assert float(measure.angular_momentum(sim, state)[-1]) == pytest.approx(expected, rel=1e-12)
    assert float(measure.linear_momentum(sim, state).norm()) < 1e-12 * mass * spin * side
    # Moved on as a whole, about the origin: m x × v on top.
    v = torch.zeros(dim, dtype=torch.float64)
    v[1] = 3.0
    twist = state.twist.clone()
    twist[..., 1] += 3.0
    moved = state.replace(v=state.v + v, twist=twist)
    expected += mass * 3.0 * (0.3 + 0.7)
    assert float(measure.angular_momentum(sim, moved)[-1]) == pytest.approx(expected, rel=1e-12)
    assert float(measure.linear_momentum(sim, moved)[1]) == pytest.approx(6 * mass, rel=1e-12)


# ---------------------------------------------------------------------- closed forms


def test_start_up_goes_from_rest_to_the_parabola():
    """The series starts at zero (its terms fall off as n⁻³: 20 leave 1e-4) and ends at u_max."""
    times = np.array([0.0, 1.0, 20.0]) * channel.TIME
    start, one, end = poiseuille.start_up(times) / poiseuille.FASTEST
    assert abs(start) < 1e-4
    assert one == pytest.approx(1 - 32 / math.pi**3 * (math.exp(-1) - math.exp(-9) / 27), abs=1e-5)
    assert end == pytest.approx(1.0, abs=1e-8)


def test_creep_adds_to_the_plug():
    """The regularised profile is above the ideal one, by 3 % of it at most, and equal at rest."""
    y = np.linspace(0.0, channel.WIDTH, 101)
    ideal, creeping = bingham.ideal(y), bingham.regularised(y)
    assert np.all(creeping >= ideal - 1e-9)
    assert creeping.max() / ideal.max() == pytest.approx(1.031, abs=1e-3)
    assert creeping[0] == ideal[0] == 0.0


def test_bingham_without_yield_stress_is_poiseuille(monkeypatch):
    """A yield stress of nearly nothing leaves Newton's parabola."""
    monkeypatch.setattr(bingham, "YIELD", 1e-6)
    y = np.linspace(0.0, channel.WIDTH, 11)
    for profile in (bingham.ideal(y), bingham.regularised(y)):
        np.testing.assert_allclose(profile, poiseuille.parabola(y), atol=1e-6)


@pytest.mark.parametrize("plane", [20.0, 31.0, 40.0])
def test_friction_in_the_plane(plane):
    """sin φ₂ = √2 α with the law's α = √(2/3)·2 sin φ/(3 − sin φ)."""
    s = math.sin(math.radians(sand_column.law_angle(plane)))
    alpha = math.sqrt(2 / 3) * 2 * s / (3 - s)
    assert math.degrees(math.asin(math.sqrt(2) * alpha)) == pytest.approx(plane, rel=1e-12)


@pytest.mark.parametrize("share", [1e-6, 0.1, 0.25])
def test_correction_for_the_tube(monkeypatch, share):
    """Faxén's series for small spheres, K = 1/(1 − 2.104 λ + 2.089 λ³ − 0.948 λ⁵), to 1e-3."""
    monkeypatch.setattr(stokes, "TUBE", stokes.RADIUS / share)
    free = 2 / 9 * (stokes.SPHERE - stokes.FLUID) * 9.81 * stokes.RADIUS**2 / stokes.VISCOSITY
    faxen = 1 / (1 - 2.104 * share + 2.089 * share**3 - 0.948 * share**5)
    assert free / stokes.settling_speed() == pytest.approx(faxen, rel=1e-3)


def test_fluid_at_rest_bears_its_weight():
    """The initial state's Kirchhoff pressure −λ J (J − 1) is ρ g times the depth."""
    scene = mpm.Scene((1.0, 1.0), (8, 8))
    scene.add_body(mpm.Box((0.5, 0.25), (1.0, 0.5)), mpm.Fluid(2e5, 1e3))
    state = archimedes.at_rest(scene.build(dtype="float64"), 2e5, 1e3, 0.5)
    J = torch.linalg.det(state.F)
    torch.testing.assert_close(-2e5 * J * (J - 1), 1e3 * 9.81 * (0.5 - state.x[..., 1]))
