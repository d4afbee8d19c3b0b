"""Laws far from rest: finite answers and gradients; parameters out of bounds are refused."""

import math

import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError
from tests.mpm import scenes
from tests.mpm.materials import laws
from tests.mpm.materials.laws import DENSITY, NU, E


def _extremes(dim: int, dtype: torch.dtype) -> torch.Tensor:
    """Stretches from 0.05 to 3 in every combination, vanishing and negative volumes, turned."""
    torch.manual_seed(0)
    grid = torch.cartesian_prod(*[torch.tensor([0.05, 0.3, 1.0, 3.0])] * dim)
    flat = torch.ones(6, dim)
    flat[:, 0] = torch.tensor([1e-2, 1e-4, 1e-8, 0.0, -1e-3, -1.0])
    sizes = torch.cat([grid, flat, torch.full((1, dim), 1e-6), torch.zeros(1, dim)])
    Q, R = (torch.linalg.qr(torch.randn(len(sizes), dim, dim))[0] for _ in range(2))
    aligned = torch.diag_embed(sizes)
    turned = Q @ aligned @ R * torch.sign(torch.linalg.det(Q @ R))[:, None, None] ** (dim % 2)
    return torch.cat([aligned, turned]).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", laws.NAMES)
def test_answers_and_gradients_are_finite(name, dim, dtype):
    """Σ from 0.05 to 3, det F → 0⁺ and below: no NaN and no infinity, forward and backward."""
    law = laws.law_of(name, dim)
    F = _extremes(dim, dtype).requires_grad_()
    C = (10 * torch.randn(F.shape)).to(dtype).requires_grad_()
    values = {k: v.requires_grad_() for k, v in laws.values_of(law, 0.5 * E).items()}
    outputs = laws.answer(law, F, C, values)
    assert all(bool(torch.isfinite(t).all()) for t in outputs)
    sum(t.sum() for t in outputs).backward()
    assert all(bool(torch.isfinite(t.grad).all()) for t in (F, C))
    assert all(v.grad is None or math.isfinite(v.grad) for v in values.values())


ELASTIC_BOUNDS = [
    ("E", (0.0, -1.0, math.nan, math.inf)),
    ("nu", (0.5, -1.0, math.nan)),
    ("density", (0.0, math.nan)),
]
BOUNDS = {
    "neo-Hookean": ELASTIC_BOUNDS,
    "corotated": ELASTIC_BOUNDS,
    "Hencky": ELASTIC_BOUNDS,
    "von Mises": [*ELASTIC_BOUNDS, ("yield_stress", (0.0, math.nan))],
    "sand": [*ELASTIC_BOUNDS, ("friction_angle", (0.0, 90.0)), ("cohesion", (-1.0, math.inf))],
    "snow": [
        *ELASTIC_BOUNDS,
        ("compression", (0.0, 1.0)),
        ("tension", (0.0,)),
        ("hardening", (-1.0,)),
        ("densest", (0.0, 1.0)),
    ],
    "fluid": [("bulk_modulus", (0.0,)), ("density", (0.0,)), ("dynamic_viscosity", (-1.0,))],
    "Bingham": [
        ("plastic_viscosity", (-1.0,)),
        ("yield_stress", (-1.0,)),
        ("regularisation", (0,)),
    ],
    "Herschel-Bulkley": [
        ("consistency", (-1.0,)),
        ("exponent", (0.0, math.nan)),
        ("yield_stress", (-1.0,)),
        ("regularisation", (0.0,)),
        ("max_rate", (0.0,)),
    ],
}


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [(name, field, x) for name, rows in BOUNDS.items() for field, xs in rows for x in xs],
)
def test_bad_constant_is_named(name, field, value):
    """A constant out of bounds is refused with law, field, value, unit and bound."""
    law = laws.PASSIVE[name]
    constants = {**vars(law), field: value}
    message = rf"{type(law).__name__}: {field} = {float(value)} \[.+\] must"
    with pytest.raises(ConfigurationError, match=message):
        type(law)(**constants)


def test_every_parameter_has_a_bound_that_is_tested():
    """The table above leaves out no parameter of any law, but for what fluids share."""
    for name, rows in BOUNDS.items():
        missing = set(laws.PASSIVE[name].bounds) - {field for field, _ in rows}
        assert missing <= {"bulk_modulus", "density"}, (name, missing)


def test_bad_override_is_named():
    """An override out of bounds is refused as the law's own value is, for one entry of many."""
    law = mpm.VonMises(E, NU, DENSITY, yield_stress=1e3)
    sim = scenes.block(2, law).build(3)
    bad = {"block": {"yield_stress": torch.tensor([1e3, -2.0, 1e3])}}
    with pytest.raises(ConfigurationError, match=r"VonMises: yield_stress = -2\.0 \[Pa\] must"):
        sim.step(sim.initial_state(), None, bad)


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


@pytest.mark.parametrize("name", ["von Mises", "snow", "fluid"])
def test_muscle_of_a_law_that_yields_is_refused(name):
    """The passive law of a muscle is elastic."""
    with pytest.raises(ConfigurationError, match="must be elastic"):
        scenes.block(2, scenes.muscle(laws.PASSIVE[name], 2))
