"""Built-in laws as torch modules."""

from __future__ import annotations

import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError, ShapeError
from tests.mpm import scenes
from tests.mpm.materials import laws
from tests.mpm.materials.laws import DENSITY, NU, E

PLASTICINE = mpm.VonMises(E, NU, DENSITY, yield_stress=0.05 * E)


@pytest.mark.parametrize("dim", [2, 3])
def test_halves_make_the_whole(dim):
    """A neural law of both halves does what the law does, state and gradient, to rounding."""
    halves = mpm.TorchLaw(PLASTICINE, "stress"), mpm.TorchLaw(PLASTICINE, "projection")
    speed = float(PLASTICINE.wave_speed(PLASTICINE.values()))
    joined = mpm.NeuralLaw(halves[0], projection=halves[1], density=DENSITY, wave_speed=speed)
    found = []
    for law in (PLASTICINE, joined):
        sim = scenes.block(dim, law).build(2, dtype="float64")
        torch.manual_seed(0)
        start = scenes.stirred(sim.initial_state()).requires_grad_()
        end = sim.step(start)
        (end.v.square().sum() + end.F.square().sum()).backward()
        found.append((end.x, end.v, end.F, start.v.grad, start.F.grad))
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(other, own, rtol=1e-10, atol=1e-12)


def test_stress_half_does_not_yield():
    """The stress of an F beyond the yield surface is that of the elastic law."""
    F = laws.deformations(3)
    tau = mpm.TorchLaw(PLASTICINE, "stress")(F)
    torch.testing.assert_close(tau, laws.answer(laws.ELASTIC["Hencky"], F)[1], rtol=0, atol=1e-12)
    beyond = laws.deviator(tau).norm(dim=(1, 2)) > PLASTICINE.yield_stress
    assert bool(beyond.all())


@pytest.mark.parametrize("part", ["stress", "projection"])
@pytest.mark.parametrize("law", [PLASTICINE, laws.PASSIVE["cohesive sand"], laws.PASSIVE["snow"]])
def test_gradient_by_deformation_and_parameters(law, part):
    """torch.autograd.gradcheck, in float64, of F and all parameters that the part depends on.

    Strains of 0.1 are beyond yield and far from where singular values meet or yielding starts.
    """
    module, F = mpm.TorchLaw(law, part), laws.deformations(3, 2, size=0.2).requires_grad_()
    names = [name for name in law.bounds if name not in ("E", "density")]
    own = law.values()
    values = [own[name].clone().requires_grad_() for name in names]

    def scaled(F, *values):
        return module(F, **dict(zip(names, values, strict=True))) / (E if part == "stress" else 1)

    assert torch.autograd.gradcheck(scaled, (F, *values), eps=1e-6, atol=1e-7, rtol=1e-5)


def test_parameters_may_vary_over_the_batch():
    """A parameter of the batch's shape acts entry by entry; any leading shape will do."""
    F = laws.deformations(2, 6).reshape(2, 3, 2, 2)
    moduli = E * torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    module = mpm.TorchLaw(laws.ELASTIC["Hencky"], "stress")
    expected = (moduli / E)[..., None, None] * module(F)
    torch.testing.assert_close(module(F, E=moduli), expected, rtol=1e-12, atol=0)


def test_what_is_no_half_of_a_law_is_refused():
    """Another part, the projection of an elastic law, a muscle, unknown parameters, bad shapes."""
    elastic = laws.ELASTIC["Hencky"]
    with pytest.raises(ConfigurationError, match="part = 'energy'"):
        mpm.TorchLaw(elastic, "energy")
    with pytest.raises(ConfigurationError, match="Hencky is elastic"):
        mpm.TorchLaw(elastic, "projection")
    with pytest.raises(ConfigurationError, match="Muscle must be"):
        mpm.TorchLaw(scenes.muscle(elastic, 2), "stress")
    module, F = mpm.TorchLaw(elastic, "stress"), laws.deformations(2)
    with pytest.raises(ConfigurationError, match=r"no parameter \['eta'\]"):
        module(F, eta=torch.tensor(1.0))
    with pytest.raises(ConfigurationError, match="Hencky: nu"):
        module(F, nu=torch.tensor(0.7))
    with pytest.raises(ShapeError, match="expected"):
        module(F[..., 0])
