"""Laws given by torch modules: equal to the built-in law they imitate, gradients to weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from simenv import mpm
from simenv.errors import ConfigurationError, ShapeError
from tests.mpm import scenes


class NeoHookean(nn.Module):
    """The built-in law in torch, its moduli as weights."""

    def __init__(self) -> None:
        super().__init__()
        constants = torch.tensor([scenes.E, scenes.NU], dtype=torch.float64)
        mu, lam = mpm.materials.lame(*constants)
        self.mu, self.lam = nn.Parameter(mu), nn.Parameter(lam)

    def forward(self, F: Tensor) -> Tensor:
        identity = torch.eye(F.shape[-1], dtype=F.dtype)
        log_j = torch.log(torch.linalg.det(F))[..., None, None]
        return self.mu * (F @ F.mT - identity) + self.lam * log_j * identity


class Relaxed(nn.Module):
    """A projection that gives way by a learnable share of the stretch."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.02).double())

    def forward(self, F: Tensor) -> Tensor:
        return F - self.share * (F - torch.eye(F.shape[-1], dtype=F.dtype))


def _law(projection: nn.Module | None = None, **changes: float) -> mpm.NeuralLaw:
    speed = float(scenes.soft().wave_speed(scenes.soft().values()))
    options = {"density": scenes.DENSITY, "wave_speed": speed, **changes}
    return mpm.NeuralLaw(NeoHookean(), projection=projection, **options)


def _start(sim: mpm.Simulator) -> mpm.State:
    torch.manual_seed(0)
    return scenes.stirred(sim.initial_state())


@pytest.mark.parametrize("dim", [2, 3])
def test_module_in_place_of_the_built_in_law(dim):
    """State and gradient equal those of the kernel to rounding of float64 over five substeps."""
    ends, gradients = [], []
    for law in (scenes.soft(), _law()):
        sim = scenes.block(dim, law).build(2, dtype="float64")
        state = _start(sim).requires_grad_()
        end = sim.step(state)
        (end.x.sum() + end.v.square().sum() + end.F.square().sum()).backward()
        ends.append(end)
        gradients.append([getattr(state, name).grad for name in "xvCF"])
    for name, tensor in ends[0].items():
        torch.testing.assert_close(getattr(ends[1], name), tensor, rtol=1e-10, atol=1e-12)
    for expected, measured in zip(*gradients, strict=True):
        assert float((measured - expected).norm() / expected.norm()) <= 1e-10


def test_gradient_of_every_weight():
    """Weights of stress and projection: the derivative equals the central difference.

    Relative 1e-5: halving the interval to h = 1e-5 of the weight leaves 1e-10 of third-order terms
    and 1e-11 of cancellation, on a loss of order one.
    """
    law = _law(Relaxed())
    sim = scenes.block(2, law).build(2, dtype="float64")
    state = _start(sim)

    def loss() -> Tensor:
        end = sim.step(sim.step(state))
        return end.v.square().sum() + end.F.square().sum()

    loss().backward()
    for weight in law.weights:
        h = 1e-5 * abs(weight.item())
        values = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                weight += sign * h
                values.append(loss().item())
                weight -= sign * h
        expected = (values[0] - values[1]) / (2 * h)
        assert float(weight.grad) == pytest.approx(expected, rel=1e-5)
        assert expected != 0.0


def test_neural_and_built_in_bodies_touch():
    """A neural block beside a built-in one in a scene: threads do not change a bit."""
    scene = scenes.block(2, _law())
    scene.add_body(mpm.Box((0.5, 0.2), (0.25, 0.25)), scenes.soft(), name="built in")
    ends = []
    for threads in (1, 2):
        sim = scene.build(3, dtype="float64", threads=threads)
        state = _start(sim).requires_grad_()
        end = sim.step(state)
        end.F.square().sum().backward()
        ends.append((end.x, end.F, state.x.grad, state.F.grad))
    for one, two in zip(*ends, strict=True):
        assert torch.equal(one, two)
    assert torch.isfinite(ends[0][2]).all()


def test_training_recovers_a_modulus():
    """Adam on the weights of a wrong law finds the right one from positions alone."""
    target_sim = scenes.block(2).build(1, dtype="float64")
    start = _start(target_sim)
    target = target_sim.step(target_sim.step(start)).F
    law = _law()
    truth = [w.item() for w in law.weights]
    with torch.no_grad():
        for w in law.weights:
            w *= 0.7
    sim = scenes.block(2, law).build(1, dtype="float64")
    logs = [w.detach().log().requires_grad_() for w in law.weights]
    optimiser = torch.optim.Adam(logs, lr=0.03)
    for _ in range(150):
        with torch.no_grad():
            for w, log in zip(law.weights, logs, strict=True):
                w.copy_(log.exp())
                w.grad = None
        (sim.step(sim.step(start)).F - target).square().sum().backward()
        for w, log in zip(law.weights, logs, strict=True):
            log.grad = w.grad * w.detach()
        optimiser.step()
    # Adam at a constant rate of 3 % comes to within a fraction of a step.
    assert [w.item() for w in law.weights] == pytest.approx(truth, rel=0.02)


def test_modules_of_another_precision_are_refused():
    """Weights in float64 do not fit a simulator in float32; the message names the remedy."""
    with pytest.raises(ShapeError, match=r"module\.to\(torch\.float32\)"):
        scenes.block(2, _law()).build(1, dtype="float32")


@pytest.mark.parametrize("name", ["density", "wave_speed"])
def test_bad_constants_are_refused(name):
    """Density and wave speed must be positive."""
    with pytest.raises(ConfigurationError, match=name):
        _law(**{name: 0.0})


def test_stress_of_another_shape_is_refused():
    """A module that answers with a trace instead of a matrix is named."""

    class Trace(nn.Module):
        def forward(self, F: Tensor) -> Tensor:
            return F.diagonal(dim1=-2, dim2=-1).sum(-1)

    law = mpm.NeuralLaw(Trace(), density=scenes.DENSITY, wave_speed=4.0)
    sim = scenes.block(2, law).build(1)
    with pytest.raises(ShapeError, match="NeuralLaw: stress"):
        sim.step(sim.initial_state())


def test_an_environment_that_breaks_leaves_the_weights_gradient_alone():
    """Of three environments one is NaN: the weights' gradient is that of the other two."""
    one = _start(scenes.block(2, _law()).build(1, dtype="float64"))
    gradients = []
    for broken in ([False, True, False], [False, False]):
        law = _law(Relaxed())
        sim = scenes.block(2, law).build(len(broken), dtype="float64")
        state = one[torch.zeros(len(broken), dtype=torch.int64)]
        state.x[torch.tensor(broken)] = float("nan")
        end = sim.step(state.requires_grad_())
        assert end.failed.tolist() == broken
        end.v[~end.failed].square().sum().backward()
        assert torch.isfinite(state.v.grad).all()
        gradients.append([w.grad for w in law.weights])
    for with_broken, without in zip(*gradients, strict=True):
        # Sums over environments in another order, of terms that nearly cancel.
        torch.testing.assert_close(with_broken, without, rtol=1e-9, atol=0)
