"""SoftJumper: its body, reward, success and cost, recomputed by hand."""

from __future__ import annotations

import pytest
import torch

import simenv
from simenv.envs import Functional
from simenv.mpm import State
from tasks.jumping import SoftJumper

JUMPER = "simenv/SoftJumper-v0"
N = 2


@pytest.fixture(scope="module")
def func() -> Functional:
    """Two jumpers in float64."""
    return Functional(JUMPER, num_envs=N, dtype="float64")


@pytest.fixture(scope="module")
def start(func) -> State:
    """Start states by seed."""
    return func.initial(seed=0)


def thrown(state: State, height: float = 0.0, v: tuple[float, float] = (0.0, 0.0)) -> State:
    """The state lifted by a height [m], with every particle at a velocity [m/s]."""
    x = state.x + torch.tensor([0.0, height], dtype=state.x.dtype)
    return state.replace(x=x, v=torch.tensor(v, dtype=x.dtype).expand_as(x))


def test_row_of_the_table():
    """The table of tasks says what the class says."""
    spec = simenv.TASKS[JUMPER]
    assert (spec.action, spec.observation, spec.horizon) == (4, 30, SoftJumper.horizon)
    assert f"{SoftJumper.goal} m" in spec.summary


@pytest.mark.parametrize(("size", "particles"), [("small", 384), ("full", 6144)])
def test_body(size, particles):
    """Torso and legs have the documented size, and stand on the ground."""
    scene = SoftJumper(size=size).scene
    assert scene.num_particles == particles
    area = sum(len(body.x) * body.volume for body in scene.bodies)
    assert area == pytest.approx(0.3 * 0.1 + 2 * 0.1 * 0.15, rel=1e-12)
    heights = [body.x[:, 1].min() for body in scene.bodies]
    half = 0.5 * scene.bodies[0].volume ** 0.5
    assert heights == pytest.approx([half] * 4 + [0.15 + half], rel=1e-9)
    lefts = [body.x[:, 0].min() - 0.3 - half for body in scene.bodies]
    assert lefts == pytest.approx([0.0, 0.05, 0.2, 0.25, 0.0], abs=1e-9)


def test_reward(func, start):
    """The reward is 10 v + 30 times the rise, less 0.001 |a|^2."""
    action = torch.full((N, 4), 0.5, dtype=torch.float64)
    after = thrown(start, height=0.07, v=(0.4, -3.0))
    expected = torch.full((N,), 10 * 0.4 + 30 * 0.07 - 0.001, dtype=torch.float64)
    # Means of 384 numbers in float64, times 30.
    torch.testing.assert_close(func.reward(start, action, after), expected, rtol=0, atol=1e-12)


def test_success_at_0_1_metres(func, start):
    """Success is a centre of mass 0.1 m above that of the start, wherever along the ground."""
    assert not func.success(thrown(start, height=0.1 - 1e-9)).any()
    high = thrown(start, height=0.1 + 1e-9)
    assert func.success(high).all()
    aside = high.x + torch.tensor([0.5, 0.0], dtype=torch.float64)
    assert func.success(high.replace(x=aside)).all()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (-1.0, 0.2, 1.2 + 9.81 * 0.05 - 0.5),  # lands
        (-1.0, -1.0 - 9.81 * 0.05, 0.0),  # falls freely
        (-0.1, -0.1, 0.0),  # sinks under its own weight
        (0.1, 1.5, 0.0),  # takes off
    ],
)
def test_landing_cost(func, start, before, after, expected):
    """The ground's impulse per mass counts above 0.5 m/s, and on the way down alone."""
    states = (thrown(start, v=(0.0, speed)) for speed in (before, after))
    cost = func.costs(next(states), torch.zeros(N, 4), next(states))["landing"]
    assert cost.tolist() == [pytest.approx(expected, abs=1e-12)] * N


def test_free_flight_costs_nothing(func, start):
    """In the air, where only gravity acts, the impulse of the ground is zero."""
    high = thrown(start, height=0.3, v=(0.0, -0.5))
    action = torch.zeros(N, 4, dtype=torch.float64)
    after = func.transition(high, action)
    fall = (after.v - high.v)[:, :, 1].mean(dim=1)
    # Momentum is conserved to float64 rounding over 75 substeps.
    torch.testing.assert_close(fall, torch.full_like(fall, -9.81 * 0.05), rtol=0, atol=1e-11)
    assert func.costs(high, action, after)["landing"].tolist() == [0.0] * N


def test_script_hops_once_per_phase(func, start):
    """Four steps of crouch and six of stretch, for every environment alike."""
    rows = [func.task.script(start, t) for t in range(20)]
    assert all(row.shape == (N, 4) for row in rows)
    signs = [float(row[0, 0]) for row in rows]
    assert signs == ([1.0] * 4 + [-1.0] * 6) * 2
