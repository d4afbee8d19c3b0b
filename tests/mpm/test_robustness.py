"""A simulator survives interrupts, forks, threads and inference mode, and checks its overrides."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError, UnstableTimeStepError
from tests.mpm import scenes


def build(num_envs: int = 2, substeps: int = 20, **options) -> mpm.Simulator:
    """A soft square falling in two dimensions."""
    scene = mpm.Scene(size=(1.0, 1.0), cells=(16, 16), step=substeps * 1e-3, substeps=substeps)
    scene.add_body(mpm.Box((0.5, 0.5), (0.3, 0.3)), scenes.soft(), name="square", spin=(3.0,))
    return scene.build(num_envs, **options)


def _step_for_ever(sim: mpm.Simulator, state: mpm.State) -> None:
    while True:
        sim.step(state)


@pytest.fixture
def interruptible():
    """SIGINT raises, also in a process that was started to ignore it, as background jobs are."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_waits_for_the_workers():
    """Ctrl-C in the middle of a step leaves no worker behind: the next step is right."""
    slow, state = build(substeps=4000), build(substeps=4000).initial_state()
    wanted = slow.step(state).x
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        _step_for_ever(slow, state)
    assert torch.equal(slow.step(state).x, wanted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_step_after_fork():
    """A child process steps a simulator that its parent has stepped."""
    sim = build()
    state = sim.initial_state()
    wanted = sim.step(state).x
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(sim.step(state).x, wanted) else 1)
    deadline = time.monotonic() + 30.0
    while (found := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if found == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert found == (child, 0)


def test_one_simulator_from_many_threads():
    """Steps and gradients from several threads do not mix."""
    sim = build()
    states = [sim.initial_state() for _ in range(6)]
    for i, state in enumerate(states):
        state.v.add_(0.1 * i)

    def work(state: mpm.State) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = state.clone().requires_grad_()
        after = sim.step(leaf)
        after.x.square().sum().backward()
        return after.x.detach(), leaf.v.grad

    alone = [work(state) for state in states]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(work, states * 3))
    for (x, grad), (x2, grad2) in zip(alone * 3, together, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(grad, grad2)


def test_building_from_many_threads():
    """Graphs recorded at the same time do not get into each other's way."""
    with ThreadPoolExecutor(3) as pool:
        simulators = list(pool.map(lambda _: build(), range(6)))
    ends = [sim.step(sim.initial_state()).x for sim in simulators]
    assert all(torch.equal(ends[0], end) for end in ends)


def test_inference_mode_leaves_no_trace():
    """A simulator built and first stepped in inference mode still differentiates."""
    with torch.inference_mode():
        sim = build()
        sim.step(sim.initial_state())
    state = sim.initial_state().requires_grad_()
    sim.step(state).x.sum().backward()
    assert torch.isfinite(state.v.grad).all()


@pytest.mark.parametrize(
    ("name", "value"), [("E", -1.0), ("nu", 0.5), ("density", 0.0), ("E", math.nan)]
)
def test_override_outside_its_bounds(name, value):
    """Parameters handed to a step obey the bounds of the law."""
    sim = build()
    wrong = {"square": {name: torch.tensor(value)}}
    with pytest.raises(ConfigurationError, match=rf"{name} = {value}"):
        sim.step(sim.initial_state(), parameters=wrong)


def test_override_too_stiff_for_the_substep():
    """An override that makes the substep unstable is refused with the substep that would do."""
    sim = build()
    stiff = {"square": {"E": torch.full((2,), 1e3 * scenes.E)}}
    with pytest.raises(UnstableTimeStepError, match="substeps >= ") as caught:
        sim.step(sim.initial_state(), parameters=stiff)
    speed = float(scenes.soft(E=1e3 * scenes.E).wave_speed(scenes.soft(E=1e3 * scenes.E).values()))
    # The speed is computed in float32 from the override.
    assert math.isclose(caught.value.largest, 0.7 * sim.scene.dx / speed, rel_tol=1e-5)


@pytest.mark.parametrize("name", ["num_envs", "threads"])
def test_counts_are_whole_numbers(name):
    """A fraction of an environment or a thread is refused by name."""
    with pytest.raises(ConfigurationError, match=rf"{name} = 1\.5"):
        build(**{name: 1.5})


def test_gradients_by_a_particle_at_the_edge_of_its_stencil():
    """A node that gets 1e-20 of a particle's mass leaves the float32 gradient finite and right."""
    x = (0.7812658548, 0.4059842527, 0.4061799645)
    gradients = []
    for dtype in ("float32", "float64"):
        scene = mpm.Scene((1.0, 1.0, 1.0), (16, 16, 16), step=5e-4, substeps=1)
        jelly = mpm.FixedCorotated(E=2.32e4, nu=0.2, density=1e3)
        scene.add_body(mpm.Box((0.5, 0.5, 0.5), (0.0625,) * 3), jelly, count=1)
        sim = scene.build(dtype=dtype)
        state = sim.initial_state()
        place = torch.tensor([[x]], dtype=state.x.dtype, requires_grad=True)
        speed = torch.tensor([[(-1.21, 0.465, 1.106)]], dtype=state.x.dtype)
        out = sim.step(state.replace(x=place, v=speed))
        (gradient,) = torch.autograd.grad(out.x.sum() + out.v.sum(), place)
        gradients.append(gradient.double())
    assert torch.isfinite(gradients[0]).all()
    # A lone particle moves as a whole: the slopes by its place are 1, up to rounding of weights.
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-3)
