"""Stress of every law: rest, objectivity, isotropy, symmetry, energy, small strains, muscles."""

import numpy as np
import pytest
import torch

from simenv import mpm
from tests.mpm import scenes
from tests.mpm.materials import laws
from tests.mpm.materials.laws import DENSITY, NU, E

LAME = tuple(float(m) for m in mpm.materials.lame(*torch.tensor([E, NU], dtype=torch.float64)))
"""Lamé parameters μ, λ [Pa]."""
TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
"""Relative to E; a stress takes some thirty operations, each to 1e-16 or 6e-8."""


def _stress(name: str, F: torch.Tensor, activation: float = 0.0, C: torch.Tensor | None = None):
    law = laws.law_of(name, F.shape[-1])
    return laws.answer(law, F, C, laws.values_of(law, activation))[1]


def _rotation(dim: int) -> torch.Tensor:
    torch.manual_seed(0)
    return scenes.rotation(dim)


def _close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(a.double(), b.double(), rtol=0.0, atol=E * tolerance)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", laws.NAMES)
def test_rest_is_free_of_stress(name, dim, dtype):
    """τ(I) = 0, for a slack muscle too; to the last digit, so that nothing stirs at rest."""
    tau = _stress(name, torch.eye(dim, dtype=getattr(torch, dtype))[None])
    _close(tau, torch.zeros_like(tau), np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", laws.NAMES)
def test_stress_turns_with_the_body(name, dim, dtype):
    """Objectivity: τ(Q F) = Q τ(F) Qᵀ and the projection turns too, with an active muscle too."""
    law = laws.law_of(name, dim)
    F, Q = laws.deformations(dim).to(getattr(torch, dtype)), _rotation(dim)
    values = laws.values_of(law, activation=0.5 * E)
    turned = laws.answer(law, Q.to(F) @ F, values=values)
    straight = laws.answer(law, F, values=values)
    _close(turned[1], Q @ straight[1].double() @ Q.mT, TOLERANCES[dtype])
    # A fluid keeps no rotation.
    spun = straight[0].double() if name in laws.FLUIDS else Q @ straight[0].double()
    _close(E * turned[0], E * spun, TOLERANCES[dtype])


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", laws.PASSIVE)
def test_passive_law_has_no_direction(name, dim):
    """Isotropy: τ(F Q) = τ(F)."""
    F, Q = laws.deformations(dim), _rotation(dim)
    _close(_stress(name, F @ Q), _stress(name, F), TOLERANCES["float64"])


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", laws.NAMES)
def test_stress_is_symmetric(name, dim):
    """τ = τᵀ: without it angular momentum would not be kept."""
    torch.manual_seed(0)
    F = laws.deformations(dim)
    tau = _stress(name, F, 0.5 * E, torch.randn_like(F))
    _close(tau, tau.mT, TOLERANCES["float64"])


def _energy(name: str, F: torch.Tensor) -> torch.Tensor:
    """Stored energy [J/m³], from the sources of the laws."""
    mu, lam = LAME
    J, s = torch.linalg.det(F), laws.stretches(F)
    if name == "neo-Hookean":
        trace = F.square().sum((-2, -1)) - F.shape[-1]
        return mu / 2 * trace - mu * J.log() + lam / 2 * J.log() ** 2
    if name == "Hencky":
        return mu * s.log().square().sum(-1) + lam / 2 * s.log().sum(-1) ** 2
    if name == "corotated":
        return mu * (s - 1).square().sum(-1) + lam / 2 * (J - 1) ** 2
    return E / 2 * (J - 1) ** 2


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", [*laws.ELASTIC, "fluid"])
def test_stress_is_the_slope_of_the_energy(name, dim):
    """τ = ∂ψ/∂F Fᵀ, the slope by central differences.

    A step of 1e-5 leaves ε/1e-5 = 1e-11 of rounding and 1e-10 of truncation, times the few units
    of the third derivative: 1e-8 of E is safely above.
    """
    F = laws.deformations(dim)
    P = torch.zeros_like(F)
    for i, j in np.ndindex(dim, dim):
        step = torch.zeros(dim, dim, dtype=F.dtype)
        step[i, j] = 1e-5
        P[:, i, j] = (_energy(name, F + step) - _energy(name, F - step)) / 2e-5
    _close(_stress(name, F), P @ F.mT, 1e-8)


@pytest.mark.parametrize("name", [*laws.ELASTIC, "von Mises", "cohesive sand", "snow"])
def test_uniaxial_tension_recovers_young_and_poisson(name):
    """Strain (e, −νe, −νe) is carried by a single stress E e, to first order in e = 1e-6."""
    e = 1e-6
    F = torch.diag(torch.tensor([1 + e, 1 - NU * e, 1 - NU * e], dtype=torch.float64))
    expected = torch.zeros_like(F)
    expected[0, 0] = E * e
    # The terms of second order are e times a few.
    _close(_stress(name, F[None])[0], expected, 10 * e * e)


@pytest.mark.parametrize("name", laws.ELASTIC)
@pytest.mark.parametrize("dim", [2, 3])
def test_muscle_adds_tension_along_its_fibre(name, dim):
    """An activation a adds a (F m)(F m)ᵀ to the passive stress, m of unit length."""
    F, a = laws.deformations(dim), 0.7 * E
    m = torch.tensor([1.0, 2.0, -1.0][:dim], dtype=F.dtype)
    fibre = F @ (m / m.norm())
    active = a * fibre[:, :, None] * fibre[:, None, :]
    tau = _stress(f"{name} muscle", F, a)
    _close(tau, _stress(name, F) + active, TOLERANCES["float64"])


SHEAR = {
    "fluid": lambda rate: 0.1 * E * rate,
    "Bingham": lambda rate: 0.1 * E * rate + 0.2 * E * -np.expm1(-0.1 * rate),
    "Herschel-Bulkley": lambda rate: (
        0.1 * E * (rate**2 + 100.0) ** -0.2 * rate + 0.2 * E * -np.expm1(-0.1 * rate)
    ),
}
"""Shear stress [Pa] at a shear rate [1/s], from the laws' sources."""


@pytest.mark.parametrize("rate", [1e-6, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", laws.FLUIDS)
def test_shear_stress_of_a_flow(name, dim, rate):
    """Simple shear at a rate γ̇ is borne by η(γ̇) γ̇ alone; a plug creeps with η + m τ_y.

    The plug's viscosity is rounded off over a shear of 1e-6, hence relative 1e-6.
    """
    C = torch.zeros(1, dim, dim, dtype=torch.float64)
    C[0, 0, 1] = rate
    tau = _stress(name, torch.eye(dim, dtype=torch.float64)[None], C=C)[0]
    expected = torch.zeros_like(tau)
    expected[0, 1] = expected[1, 0] = SHEAR[name](rate)
    torch.testing.assert_close(tau, expected, rtol=1e-6, atol=1e-12 * E)


@pytest.mark.parametrize("dim", [2, 3])
def test_fluid_bears_no_shear_at_rest(dim):
    """A fluid without motion has the pressure −λ J (J − 1) alone, and F ← J^{1/d} I."""
    F = laws.deformations(dim)
    J = torch.linalg.det(F)[:, None, None]
    identity = torch.eye(dim, dtype=F.dtype)
    kept, tau, _memory = laws.answer(laws.PASSIVE["fluid"], F)
    _close(tau, E * J * (J - 1) * identity, TOLERANCES["float64"])
    torch.testing.assert_close(kept, J ** (1 / dim) * identity, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 3])
def test_inverted_corotated_solid_resists(dim):
    """Of an inverted gradient the smallest σ is negative: τ_i = 2μ(σ_i − 1)σ_i + λJ(J − 1)."""
    sizes = torch.tensor([1.5, 1.1, -0.6][3 - dim :], dtype=torch.float64)
    Q = _rotation(dim)
    mu, lam = LAME
    J = sizes.prod()
    expected = Q @ torch.diag(2 * mu * sizes * (sizes - 1) + lam * J * (J - 1)) @ Q.mT
    tau = _stress("corotated", (Q @ torch.diag(sizes))[None])[0]
    _close(tau, expected, TOLERANCES["float64"])


def test_wave_speed_of_a_muscle():
    """A muscle adds its largest activation as a stiffness to λ + 2μ."""
    passive = laws.ELASTIC["Hencky"]
    muscle = scenes.muscle(passive, 2)
    c, active = (float(law.wave_speed(law.values())) for law in (passive, muscle))
    assert active == pytest.approx((c * c + E / DENSITY) ** 0.5, rel=1e-12)


def test_a_class_defined_again_has_kernels_of_its_own():
    """Two classes of one name, as from a notebook cell run twice, do not share stresses."""

    def law(factor: float) -> mpm.Material:
        class Scaled(mpm.NeoHookean):
            def pack(self, values, dim):
                return tuple(factor * p for p in super().pack(values, dim))

        return Scaled(E=1e4, nu=0.2, density=1e3)

    first, second = law(1.0), law(2.0)
    assert first.key != second.key
    assert type(first).__qualname__ == type(second).__qualname__
    assert law(1.0).key not in (first.key, second.key)
