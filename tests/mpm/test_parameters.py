"""Material parameters given per step: shapes, meaning, and what is refused."""

from __future__ import annotations

import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError, ShapeError
from tests.mpm import scenes

NUM_ENVS = 3


@pytest.fixture(scope="module")
def sim() -> mpm.Simulator:
    """Two soft blocks that share kernels, in double precision."""
    scene = scenes.block(2)
    scene.add_body(mpm.Box((0.25, 0.25), (0.25, 0.25)), scenes.soft(), name="other")
    return scene.build(NUM_ENVS, dtype="float64")


@pytest.fixture
def start(sim) -> mpm.State:
    """A state in which every parameter counts."""
    torch.manual_seed(0)
    return scenes.stirred(sim.initial_state())


def _full(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value, dtype=torch.float64)


def test_own_values_change_nothing(sim, start):
    """Overriding every parameter by the scene's own value is bitwise no override."""
    own = {"E": scenes.E, "nu": scenes.NU, "density": scenes.DENSITY}
    values = {name: _full(value) for name, value in own.items()}
    assert scenes.same(sim.step(start), sim.step(start, None, {"block": values}))


@pytest.mark.parametrize("name", ["E", "nu", "density"])
def test_shapes_mean_the_same(sim, start, name):
    """One number as (), (N,), (N, 1) and (N, P_body) gives one result, and one gradient."""
    particles = sim.particles("block")
    count = particles.stop - particles.start
    value = 0.9 * {"E": scenes.E, "nu": scenes.NU, "density": scenes.DENSITY}[name]
    ends, sums = [], []
    for shape in ((), (NUM_ENVS,), (NUM_ENVS, 1), (NUM_ENVS, count)):
        leaf = _full(value, *shape).requires_grad_()
        end = sim.step(start, None, {"block": {name: leaf}})
        end.v.square().sum().backward()
        ends.append(end.detach())
        sums.append(float(leaf.grad.sum()))
    assert not scenes.same(ends[0], sim.step(start))
    assert all(scenes.same(ends[0], end) for end in ends[1:])
    # The same terms, added up in another order.
    assert sums == pytest.approx([sums[0]] * 4, rel=1e-12)


def test_override_equals_another_scene(start):
    """An override does what a scene with that material would do."""
    stiff = {"E": 2e4, "nu": 0.2, "density": 800.0}
    overridden = scenes.block(2).build(dtype="float64")
    built = scenes.block(2, mpm.NeoHookean(**stiff)).build(dtype="float64")
    state = scenes.stirred(built.initial_state())
    values = {name: _full(value) for name, value in stiff.items()}
    end, expected = overridden.step(state, None, {"block": values}), built.step(state)
    assert scenes.same(end, expected)


def test_override_is_per_environment_and_body(sim, start):
    """A parameter of one environment and body leaves the other environments bitwise alone."""
    E = _full(scenes.E, NUM_ENVS)
    E[1] *= 1.5
    plain, changed = sim.step(start), sim.step(start, None, {"other": {"E": E}})
    for env in (0, 2):
        assert scenes.same(plain[env : env + 1], changed[env : env + 1])
    # One step of five substeps reaches the other body's particles through shared nodes at most.
    own = sim.particles("other")
    assert not torch.equal(plain.v[1, own], changed.v[1, own])


def test_override_lasts_one_step(sim, start):
    """The step after an override is again the scene's own."""
    plain = sim.step(start)
    sim.step(start, None, {"block": {"E": _full(2 * scenes.E)}})
    assert scenes.same(sim.step(start), plain)


@pytest.mark.parametrize("shape", [(2,), (NUM_ENVS, 2), (1, NUM_ENVS), (1, 1, 1)])
def test_wrong_shape_is_named(sim, start, shape):
    """A parameter of another shape is refused with the shapes that would do."""
    with pytest.raises(ShapeError, match="parameter 'E' of body 'block' has shape"):
        sim.step(start, None, {"block": {"E": _full(scenes.E, *shape)}})


def test_unknown_body_is_named(sim, start):
    """An override for a body that is not there lists those that are."""
    with pytest.raises(ConfigurationError, match=r"no body 'jelly'.*block.*other"):
        sim.step(start, None, {"jelly": {"E": _full(1.0)}})


def test_unknown_parameter_is_named(sim, start):
    """An override of a parameter that the law lacks lists those that it has."""
    with pytest.raises(ConfigurationError, match=r"no parameter.*yield.*E.*density.*nu"):
        sim.step(start, None, {"block": {"yield": _full(1.0)}})
