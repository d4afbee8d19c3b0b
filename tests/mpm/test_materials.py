"""Constitutive laws: rest, objectivity, isotropy, energy, small strains, muscles."""

import math

import numpy as np
import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm.torch_law import respond
from tests.mpm import scenes

ELASTIC = ("soft", "corotated")
TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
"""Relative to E; a stress takes some thirty operations, each to 1e-16 or 6e-8."""


def _stress(body: str, F: np.ndarray, dtype: str = "float64", activation: float = 0.0):
    """Kirchhoff stress [Pa] of a batch of deformation gradients, by the law's own kernel."""
    n, dim = len(F), F.shape[-1]
    law = dict(zip(scenes.BODIES, scenes.laws(dim), strict=True))[body]
    values = law.values()
    values["activation"] = torch.tensor(activation, dtype=torch.float64)
    like = {"dtype": getattr(torch, dtype)}
    p = torch.stack(list(law.pack(values, dim))).to(**like).expand(n, -1)
    F = torch.as_tensor(F).to(**like)
    return respond(law, F, 0 * F, p, torch.ones(n, **like))[1].double().numpy()


def _lame() -> tuple[float, float]:
    E, nu = scenes.E, scenes.NU
    return E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))


def _energy(body: str, F: np.ndarray) -> np.ndarray:
    """Stored energy [J/m³] of the passive laws, from their sources."""
    (mu, lam), J = _lame(), np.linalg.det(F)
    if body == "soft":
        trace = (F**2).sum(axis=(-2, -1)) - F.shape[-1]
        return mu / 2 * trace - mu * np.log(J) + lam / 2 * np.log(J) ** 2
    stretches = np.linalg.svd(F, compute_uv=False)
    return mu * ((stretches - 1) ** 2).sum(axis=-1) + lam / 2 * (J - 1) ** 2


def _deformations(dim: int, n: int = 20) -> np.ndarray:
    F = np.eye(dim) + 0.3 * np.random.default_rng(0).uniform(-1, 1, (n, dim, dim))
    assert np.all(np.linalg.det(F) > 0.1)
    return F


def _rotation(dim: int) -> np.ndarray:
    torch.manual_seed(0)
    return scenes.rotation(dim).numpy()


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("body", scenes.BODIES)
def test_rest_is_free_of_stress(body, dim, dtype):
    """τ(I) = 0, for a slack muscle too; exactly, so that nothing stirs at rest."""
    tau = _stress(body, np.eye(dim)[None], dtype)
    np.testing.assert_allclose(tau, 0.0, atol=scenes.E * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("body", scenes.BODIES)
def test_stress_turns_with_the_body(body, dim, dtype):
    """Objectivity: τ(Q F) = Q τ(F) Qᵀ, with an active muscle too."""
    F, Q = _deformations(dim), _rotation(dim)
    turned = _stress(body, Q @ F, dtype, activation=0.5 * scenes.E)
    tau = Q @ _stress(body, F, dtype, activation=0.5 * scenes.E) @ Q.T
    np.testing.assert_allclose(turned, tau, rtol=0.0, atol=scenes.E * TOLERANCES[dtype])


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("body", ELASTIC)
def test_passive_law_has_no_direction(body, dim):
    """Isotropy: τ(F Q) = τ(F)."""
    F, Q = _deformations(dim), _rotation(dim)
    tolerance = scenes.E * TOLERANCES["float64"]
    np.testing.assert_allclose(_stress(body, F @ Q), _stress(body, F), rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("body", scenes.BODIES)
def test_stress_is_symmetric(body, dim):
    """τ = τᵀ: without it angular momentum would not be kept."""
    tau = _stress(body, _deformations(dim), activation=0.5 * scenes.E)
    tolerance = scenes.E * TOLERANCES["float64"]
    np.testing.assert_allclose(tau, np.swapaxes(tau, 1, 2), rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("body", ELASTIC)
def test_stress_is_the_slope_of_the_energy(body, dim):
    """τ = ∂ψ/∂F Fᵀ, the slope by central differences.

    A step of 1e-5 leaves ε/1e-5 = 1e-11 of rounding and 1e-10 of truncation, times the few units
    of the third derivative: 1e-8 of E is safely above.
    """
    F = _deformations(dim)
    P = np.zeros_like(F)
    for i, j in np.ndindex(dim, dim):
        step = np.zeros((dim, dim))
        step[i, j] = 1e-5
        P[:, i, j] = (_energy(body, F + step) - _energy(body, F - step)) / 2e-5
    tau = P @ np.swapaxes(F, 1, 2)
    np.testing.assert_allclose(_stress(body, F), tau, rtol=0.0, atol=1e-8 * scenes.E)


@pytest.mark.parametrize("body", ELASTIC)
def test_uniaxial_tension_recovers_young_and_poisson(body):
    """Strain (e, −νe, −νe) is carried by a single stress E e, to first order in e = 1e-6."""
    e, nu = 1e-6, scenes.NU
    tau = _stress(body, np.diag([1 + e, 1 - nu * e, 1 - nu * e])[None])[0]
    expected = np.diag([scenes.E * e, 0.0, 0.0])
    # The terms of second order are e times a few.
    np.testing.assert_allclose(tau, expected, rtol=0.0, atol=10 * scenes.E * e * e)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("body", "passive"), [("soft muscle", "soft"), ("corotated muscle", "corotated")]
)
def test_muscle_adds_tension_along_its_fibre(body, passive, dim):
    """An activation a adds a (F m)(F m)ᵀ to the passive stress, m of unit length."""
    F, a = _deformations(dim), 0.7 * scenes.E
    m = np.array([1.0, 2.0, -1.0][:dim])
    fibre = F @ (m / np.linalg.norm(m))
    active = a * fibre[:, :, None] * fibre[:, None, :]
    tau = _stress(body, F, activation=a)
    tolerance = scenes.E * TOLERANCES["float64"]
    np.testing.assert_allclose(tau, _stress(passive, F) + active, rtol=0.0, atol=tolerance)


def _speed(law) -> float:
    """Wave speed [m/s] at the law's own parameters."""
    return float(law.wave_speed(law.values()))


def test_wave_speed():
    """P-wave speed √((λ + 2μ)/ρ); a muscle adds its largest activation as a stiffness."""
    mu, lam = _lame()
    c = math.sqrt((lam + 2 * mu) / scenes.DENSITY)
    assert math.isclose(_speed(scenes.soft()), c, rel_tol=1e-6)
    active = math.sqrt(c * c + scenes.E / scenes.DENSITY)
    assert math.isclose(_speed(scenes.muscle(scenes.soft(), 2)), active, rel_tol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("E", 0.0),
        ("E", -1.0),
        ("E", math.nan),
        ("E", math.inf),
        ("nu", 0.5),
        ("nu", -1.0),
        ("nu", math.nan),
        ("density", 0.0),
        ("density", math.nan),
    ],
)
@pytest.mark.parametrize("law", [mpm.NeoHookean, mpm.FixedCorotated])
def test_bad_constant_is_named(law, field, value):
    """A constant out of bounds is refused with law, field and value."""
    constants = {"E": scenes.E, "nu": scenes.NU, "density": scenes.DENSITY, field: value}
    with pytest.raises(ConfigurationError, match=f"{law.__name__}: {field} = {value}"):
        law(**constants)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fibre": (0.0, 0.0)}, "fibre"),
        ({"fibre": (math.nan, 1.0)}, "fibre"),
        ({"index": -1}, "index = -1"),
        ({"max_activation": 0.0}, "max_activation = 0.0"),
    ],
)
def test_bad_muscle_is_named(change, message):
    """A muscle without direction, channel or strength is refused."""
    options = {"fibre": (1.0, 0.0), "index": 0, "max_activation": 1.0, **change}
    with pytest.raises(ConfigurationError, match=f"Muscle: {message}"):
        mpm.Muscle(scenes.soft(), **options)


def test_muscle_fibre_must_fit_the_scene():
    """A fibre of three components in a plane scene is refused when the body is added."""
    law = mpm.Muscle(scenes.soft(), fibre=(1.0, 0.0, 0.0), index=0, max_activation=1.0)
    with pytest.raises(ConfigurationError, match="fibre"):
        scenes.block(2, law)
