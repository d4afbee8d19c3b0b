"""Return mappings: the yield surface is never exceeded, volume is accounted for."""

import math

import pytest
import torch

from simenv import mpm
from tests.mpm.materials import laws
from tests.mpm.materials.laws import DENSITY, NU, E

ROUNDING = 1e-12
"""Relative to E: some thirty operations in float64, each to 1e-16, times up to a hundred."""


def _trials(dim: int) -> torch.Tensor:
    """Small, moderate and large deformations, expanding and contracting."""
    sizes = [laws.deformations(dim, 40, size) for size in (1e-3, 0.05, 0.3)]
    return torch.cat([F * scale for F in sizes for scale in (0.8, 1.0, 1.2)])


def _cone(law: mpm.DruckerPrager, tau: torch.Tensor) -> torch.Tensor:
    """Largest ‖dev τ‖ [Pa] at the pressure of τ."""
    phi, dim = math.radians(law.friction_angle), tau.shape[-1]
    alpha = math.sqrt(2 / 3) * 2 * math.sin(phi) / (3 - math.sin(phi))
    return alpha * (dim * law.cohesion / math.tan(phi) - laws.trace(tau))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", ["sand", "cohesive sand"])
def test_sand_stays_within_its_cone(name, dim):
    """‖dev τ‖ ≤ α (d c cot φ − tr τ); met with equality where the trial lay outside."""
    law = laws.PASSIVE[name]
    trials = _trials(dim)
    F, tau, _v = laws.answer(law, trials)
    sheared, bound = laws.deviator(tau).norm(dim=(1, 2)), _cone(law, tau)
    assert bool((sheared <= bound + ROUNDING * E).all())
    moved = (F - trials).norm(dim=(1, 2)) > 1e-6
    assert 0.3 < float(moved.double().mean()) < 1.0
    torch.testing.assert_close(sheared[moved], bound[moved], rtol=0, atol=10 * ROUNDING * E)


@pytest.mark.parametrize("dim", [2, 3])
def test_plasticine_stays_within_its_cylinder(dim):
    """‖dev τ‖ ≤ σ_y, and the return mapping keeps the volume."""
    law, trials = laws.PASSIVE["von Mises"], _trials(dim)
    F, tau, _m = laws.answer(law, trials)
    sheared = laws.deviator(tau).norm(dim=(1, 2))
    assert bool((sheared <= law.yield_stress + ROUNDING * E).all())
    assert bool((sheared >= law.yield_stress - ROUNDING * E).any())
    torch.testing.assert_close(torch.linalg.det(F), torch.linalg.det(trials), rtol=1e-13, atol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_snow_keeps_its_stretches(dim):
    """σ in [1 − θ_c, 1 + θ_s]; J Jp is kept while Jp is within its bounds."""
    law, trials = laws.PASSIVE["snow"], _trials(dim)
    F, _tau, Jp = laws.answer(law, trials)
    s = laws.stretches(F)
    assert bool((s >= 1 - law.compression - 1e-12).all() and (s <= 1 + law.tension + 1e-12).all())
    inside = (Jp > law.densest) & (Jp < 2 - law.densest)
    assert 0.2 < float(inside.double().mean()) < 1.0
    total = (torch.linalg.det(F) * Jp)[inside]
    torch.testing.assert_close(total, torch.linalg.det(trials)[inside], rtol=1e-13, atol=0)


def test_snow_hardens():
    """Compacted to Jp, snow is e^{ξ(1 − Jp)} times as stiff."""
    law = laws.PASSIVE["snow"]
    F = torch.diag(torch.tensor([1.01, 0.99, 1.0], dtype=torch.float64)).expand(2, 3, 3)
    tau = laws.answer(law, F, memory=torch.tensor([1.0, 0.9]).double())[1]
    torch.testing.assert_close(tau[1], math.exp(law.hardening * 0.1) * tau[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", ["sand", "cohesive sand"])
def test_sand_accounts_for_its_volume(name, dim):
    """ln J + v is kept by the return mapping: what opens at the tip is remembered."""
    trials = _trials(dim)
    before = 0.01 * torch.rand(len(trials), generator=torch.Generator().manual_seed(0)).double()
    F, _tau, v = laws.answer(laws.PASSIVE[name], trials, memory=before)
    total = torch.linalg.det(F).log() + v
    expected = torch.linalg.det(trials).log() + before
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-13)
    assert bool((v >= 0).all() and (v > 0).any())


def test_opened_sand_bears_pressure_once_closed():
    """Expanded by 3 %, sand bears nothing until compressed by as much; then it does at once."""
    law = laws.PASSIVE["sand"]

    def squeeze(F, v, strain):
        return laws.answer(law, F * math.exp(strain / 3), memory=v)

    F, v = torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, dtype=torch.float64)
    F, tau, v = squeeze(F, v, 0.03)
    assert float(tau.abs().max()) == 0.0
    assert float(v[0]) == pytest.approx(0.03, rel=1e-12)
    F, tau, v = squeeze(F, v, -0.029)
    assert float(tau.abs().max()) == 0.0
    F, tau, v = squeeze(F, v, -0.002)
    bulk = E / (3 * (1 - 2 * NU))
    assert float(laws.trace(tau)[0]) == pytest.approx(3 * bulk * -0.001, rel=1e-9)
    assert float(v[0]) == 0.0


@pytest.mark.parametrize("name", ["von Mises", "sand", "cohesive sand", "snow"])
def test_mapping_twice_is_mapping_once(name):
    """What is on the yield surface stays there."""
    law = laws.PASSIVE[name]
    F, tau, m = laws.answer(law, _trials(3))
    again, tau_again, _m = laws.answer(law, F, memory=m if name == "snow" else 0 * m)
    torch.testing.assert_close(again, F, rtol=0, atol=1e-13)
    torch.testing.assert_close(tau_again, tau, rtol=0, atol=1e-11 * E)


def test_tip_of_the_cone_has_the_slope_of_open_sand():
    """At F = I sand without cohesion answers as if it were about to open: no stress, no slope."""
    F = torch.eye(3, dtype=torch.float64)[None].requires_grad_()
    _F, tau, v = laws.answer(laws.PASSIVE["sand"], F)
    (slope,) = torch.autograd.grad(tau.sum() + v.sum(), F)
    assert torch.isfinite(slope).all()
    (of_stress,) = torch.autograd.grad(laws.answer(laws.PASSIVE["sand"], F)[1].sum(), F)
    assert float(of_stress.abs().max()) == 0.0


def test_friction_of_sand_is_that_of_mohr_and_coulomb():
    """In triaxial compression σ₁/σ₃ = (1 + sin φ)/(1 − sin φ), and c shifts it by 2c cos φ."""
    phi = math.radians(30.0)
    law = mpm.DruckerPrager(E, NU, DENSITY, friction_angle=30.0, cohesion=5.0)
    F = torch.diag(torch.tensor([0.85, 1.05, 1.05], dtype=torch.float64))[None]
    axial, side = (-float(x) for x in laws.answer(law, F)[1][0].diagonal()[:2])
    expected = side * (1 + math.sin(phi)) + 2 * law.cohesion * math.cos(phi)
    assert axial * (1 - math.sin(phi)) == pytest.approx(expected, rel=1e-12)
