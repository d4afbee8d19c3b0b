"""Simulator: initial state, shapes and dtypes, batches, devices, memory."""

from __future__ import annotations

import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError, DeviceError, ShapeError
from simenv.mpm.device import resolve_device
from tests.mpm import scenes
from tests.mpm.problem import STATE, Problem, simulator


@pytest.fixture(scope="module")
def sim() -> mpm.Simulator:
    """Three copies of a block with a muscle."""
    return scenes.block(2, scenes.muscle(scenes.soft(), 2)).build(3)


@pytest.mark.parametrize("dim", [2, 3])
def test_initial_state(dim):
    """At the start every environment holds the bodies at rest shape, moving as told."""
    scene = mpm.Scene((1.0,) * dim, (8,) * dim)
    spin = (2.0,) if dim == 2 else (0.5, 1.0, 2.0)
    shape = mpm.Box((0.4,) * dim, (0.25,) * dim)
    scene.add_body(shape, scenes.soft(), velocity=(0.1,) * dim, spin=spin)
    state = scene.build(2, dtype="float64").initial_state()
    body = scene.bodies[0]
    for env in range(2):
        assert torch.equal(state.x[env], torch.as_tensor(body.x))
        assert torch.equal(state.v[env], torch.as_tensor(body.initial_velocity))
    assert torch.equal(state.F, torch.eye(dim, dtype=torch.float64).expand_as(state.F))
    # The affine velocity is the spin's: C r equals the velocity about the centroid.
    r = state.x - state.x.mean(dim=1, keepdim=True)
    turning = (state.C @ r[..., None])[..., 0]
    torch.testing.assert_close(state.v - 0.1, turning, rtol=0.0, atol=1e-12)
    assert state.time.tolist() == [0, 0]
    assert not state.failed.any()


def test_particles_of_each_body():
    """The slices of the bodies cover the particle axis once, in the order of their laws."""
    scene = scenes.menagerie(2, 10, mpm.Wall())
    scene.add_body(mpm.Box((0.8, 0.8), (0.1, 0.1)), scenes.soft(), name="late")
    sim = scene.build()
    x = sim.initial_state().x[0]
    covered = torch.zeros(sim.num_particles, dtype=torch.int32)
    for body in scene.bodies:
        own = sim.particles(body.name)
        covered[own] += 1
        assert torch.equal(x[own], torch.as_tensor(body.x, dtype=torch.float32))
    assert torch.equal(covered, torch.ones_like(covered))
    with pytest.raises(ConfigurationError, match=r"no body 'nobody'.*late"):
        sim.particles("nobody")


@pytest.mark.parametrize("name", STATE)
def test_wrong_shape_is_named(sim, name):
    """A state of the wrong shape is refused before anything is launched."""
    state = sim.initial_state()
    tensor = getattr(state, name)
    with pytest.raises(ShapeError, match=rf"state.{name} has shape \(3, 15"):
        sim.step(state.replace(**{name: tensor[:, :-1]}))
    with pytest.raises(ShapeError, match=rf"state.{name} has shape \(2, 16"):
        sim.step(state.replace(**{name: tensor[:2]}))


def test_wrong_activation_is_named(sim):
    """An activation of the wrong shape is refused with both shapes."""
    with pytest.raises(ShapeError, match=r"activation has shape \(3, 2\), expected \(3, 1\)"):
        sim.step(sim.initial_state(), mpm.Control(torch.zeros(3, 2)))


@pytest.mark.parametrize("name", STATE)
def test_wrong_dtype_is_named(sim, name):
    """A state in another precision is refused, whichever tensor it is, rather than cast."""
    state = sim.initial_state()
    double = getattr(state, name).double()
    with pytest.raises(ShapeError, match="float64"):
        sim.step(state.replace(**{name: double}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs = 0"),
        ({"threads": 0}, "threads = 0"),
        ({"dtype": "float16"}, "'float16' is not one of"),
    ],
)
def test_bad_option_is_named(options, message):
    """A bad count or precision is refused at construction."""
    with pytest.raises(ConfigurationError, match=message):
        scenes.block().build(**options)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cuda:-1", ""])
def test_unknown_device_is_refused(device):
    """A device that is not there is an error that lists those that are; nothing falls back."""
    with pytest.raises(DeviceError, match=r"available: cpu.*device='auto'"):
        scenes.block().build(device=device)


def test_auto_without_gpu(monkeypatch):
    """Where there is no GPU "auto" is the CPU and "cuda" an error."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(DeviceError):
        resolve_device("cuda")


def test_auto_with_gpu(monkeypatch):
    """Where there are GPUs "auto" and "cuda" are the first of them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("cuda") == "cuda:0"
    assert resolve_device("cuda:1") == "cuda:1"


@pytest.mark.parametrize("dim", [2, 3])
def test_batch_equals_single(dim):
    """Every environment of a batch is bitwise what it is on its own, forward and backward."""
    batch = scenes.block(dim).build(3)
    single = scenes.block(dim).build(1)
    torch.manual_seed(0)
    start = scenes.stirred(batch.initial_state())
    whole = start.detach().clone().requires_grad_()
    end = batch.step(whole)
    (end.x.sum() + end.F.square().sum()).backward()
    for env in range(3):
        alone = start[env : env + 1].clone().requires_grad_()
        one = single.step(alone)
        (one.x.sum() + one.F.square().sum()).backward()
        assert scenes.same(one, end[env : env + 1])
        for name in STATE:
            assert torch.equal(getattr(alone, name).grad[0], getattr(whole, name).grad[env])


def test_step_leaves_its_input_alone(sim):
    """A step writes neither into the state it is given nor into one it gave out before."""
    start = scenes.stirred(sim.initial_state())
    kept = start.clone()
    first = sim.step(start)
    first_kept = first.clone()
    sim.step(first)
    assert scenes.same(start, kept)
    assert scenes.same(first, first_kept)


def test_time_counts_steps(sim):
    """`time` goes up by one a step."""
    state = sim.step(sim.step(sim.initial_state()))
    assert state.time.tolist() == [2, 2, 2]


def test_substeps_split_a_step():
    """One step of ten substeps is bitwise ten steps of one."""
    whole, split = simulator(2, "friction", 10), simulator(2, "friction", 1)
    problem = Problem(whole, moving=True)
    ten = Problem(split, moving=True, steps=10)
    assert scenes.same(problem.end(problem.inputs), ten.end(problem.inputs))


def test_slack_control_is_no_control(sim):
    """No control, an empty one and a zero activation are the same."""
    state = scenes.stirred(sim.initial_state())
    controls = None, mpm.Control(), mpm.Control(torch.zeros(3, 1))
    ends = [sim.step(state, control) for control in controls]
    assert scenes.same(ends[0], ends[1])
    assert scenes.same(ends[0], ends[2])


def test_positive_activation_contracts():
    """A muscle under positive activation gets shorter along its fibre."""
    law = mpm.Muscle(scenes.soft(), fibre=(1.0, 0.0), index=0, max_activation=scenes.E)
    sim = scenes.block(2, law, gravity=(0.0, 0.0)).build()
    x = sim.step(sim.initial_state(), mpm.Control(torch.full((1, 1), 0.5 * scenes.E))).x[0]
    rest = sim.initial_state().x[0]
    length, rest_length = (float(p[:, 0].max() - p[:, 0].min()) for p in (x, rest))
    assert length < rest_length


def test_scene_is_fixed_by_build():
    """A body added after `build` does not disturb the simulator built before."""
    scene = scenes.block()
    sim = scene.build()
    state = sim.initial_state()
    end = sim.step(state)
    scene.add_body(mpm.Sphere((0.2, 0.2), 0.1), scenes.soft())
    assert sim.num_particles == state.x.shape[1]
    assert scenes.same(sim.step(state), end)


@pytest.mark.parametrize(("dim", "floats"), [(2, 12), (3, 24)])
def test_kept_bytes(dim, floats):
    """Backward keeps x, v, C and F of a substep and no more: 96 bytes per particle in 3-D."""
    sim = scenes.block(dim).build()
    assert sim.kept_bytes == 4 * floats <= 100
    state = sim.initial_state()
    kept = sum(getattr(state, n).element_size() * getattr(state, n)[0, 0].numel() for n in STATE)
    assert sim.kept_bytes == kept


def test_rollout_keeps_one_state_per_step():
    """The torch graph of a rollout holds states of environment steps, not of substeps."""
    sim = simulator(2, "slip", 100, "float32")
    saved = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.numel() * tensor.element_size())
        return tensor

    start = sim.initial_state().detach().clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        sim.step(start)
    state = sim.kept_bytes * sim.num_particles * sim.num_envs
    # Start, end, and per particle its mass and at most 2 + 1 + 2 parameters.
    assert sum(saved) <= 2 * state + 6 * 4 * sim.num_particles * sim.num_envs + 64
