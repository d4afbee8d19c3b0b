"""SoftCrawler3D: its body, observation, reward, success and costs, recomputed by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import simenv
from simenv.envs import Functional, Start
from simenv.mpm import State
from tasks.crawling import SoftCrawler3D

CRAWLER = "simenv/SoftCrawler3D-v0"
N = 2


@pytest.fixture(scope="module")
def func() -> Functional:
    """Two crawlers in float64."""
    return Functional(CRAWLER, num_envs=N, dtype="float64")


@pytest.fixture(scope="module")
def start(func) -> State:
    """Start states by seed."""
    return func.initial(seed=0)


@pytest.fixture(scope="module")
def groups(func) -> list[np.ndarray]:
    """Particles of the six groups, found from where they are in the drawing."""
    x, y, z = func.simulator.initial_state().x[0].numpy().T
    legs = y < 0.12
    sides = itertools.product((x < 0.44, x > 0.44), (z < 0.4, z > 0.4))
    return [*(legs & a & b for a, b in sides), ~legs & (x < 0.44), ~legs & (x > 0.44)]


def moved(state: State, offset: tuple[float, float, float]) -> State:
    """The state shifted as a whole [m]."""
    return state.replace(x=state.x + torch.tensor(offset, dtype=state.x.dtype))


def test_row_of_the_table():
    """The table of tasks says what the class says."""
    spec = simenv.TASKS[CRAWLER]
    assert (spec.action, spec.observation) == (16, SoftCrawler3D.num_observations)
    assert f"{SoftCrawler3D.goal} m in {SoftCrawler3D.horizon * 0.05:g} s" in spec.summary


@pytest.mark.parametrize(("size", "particles"), [("small", 762), ("full", 48768)])
def test_body(size, particles):
    """Torso and legs fill their documented volume evenly; every muscle has its own channel."""
    scene = SoftCrawler3D(size=size).scene
    assert scene.num_particles == particles
    assert scene.num_channels == 16
    volume = sum(len(body.x) * body.volume for body in scene.bodies)
    assert volume == pytest.approx(0.28 * 0.06 * 0.18 + 4 * 0.08 * 0.08 * 0.12, rel=1e-12)
    volumes = [body.volume for body in scene.bodies]
    assert volumes == pytest.approx([volumes[0]] * 17, rel=1e-12)
    points = np.concatenate([body.x for body in scene.bodies])
    assert len(np.unique(points.round(6), axis=0)) == particles
    half = volumes[0] ** (1 / 3) / 2
    low, high = points.min(axis=0) - half, points.max(axis=0) + half
    np.testing.assert_allclose(low, [0.3, 0.0, 0.31], rtol=0, atol=1e-9)
    np.testing.assert_allclose(high, [0.58, 0.18, 0.49], rtol=0, atol=1e-9)


def test_muscles_are_where_their_names_say(func):
    """Within every leg the muscles lie rear and front along x, far and near along z."""
    rest, task = func.simulator.initial_state().x[0], func.task
    middles = {m: rest[func.simulator.particles(m)].mean(dim=0) for m in task.muscles}
    for leg in range(4):
        names = task.muscles[4 * leg : 4 * leg + 4]
        centre = torch.stack([middles[name] for name in names]).mean(dim=0)
        for name in names:
            *_, along, across = name.split("-")
            aside = middles[name] - centre
            assert (aside[0] > 0) == (along == "front")
            assert (aside[2] > 0) == (across == "near")


def test_observation_layout(func, start, groups):
    """Six x, six heights, six z, three times six velocities, sine and cosine."""
    x, v = torch.zeros_like(start.x), torch.zeros_like(start.v)
    for k, members in enumerate(groups):
        x[:, members] = torch.tensor([1.0 + 0.1 * k, 0.1 + 0.02 * k, 0.4 - 0.03 * k]).to(x)
        v[:, members] = torch.tensor([0.1 * k, -0.2 * k, 0.3 * k]).to(v)
    seen = func.observation(start.replace(x=x, v=v, time=torch.tensor([0, 1])))
    k = np.arange(6)
    # The torso's halves are equal, so that its mean is that of groups 4 and 5.
    places = [0.1 * (k - 4.5), 0.1 + 0.02 * k, -0.03 * (k - 4.5)]
    angle = 2 * np.pi * np.array([0, 1]) / 5
    row = np.concatenate([*(p / 0.25 for p in places), 0.1 * k, -0.2 * k, 0.3 * k])
    # Float32 constants above, rounded by 6e-8, over 0.25 m.
    np.testing.assert_allclose(seen[:, :36], np.stack([row] * N), rtol=0, atol=1e-6)
    np.testing.assert_allclose(seen[:, 36], np.sin(angle), rtol=0, atol=1e-12)
    np.testing.assert_allclose(seen[:, 37], np.cos(angle), rtol=0, atol=1e-12)


def test_reward(func, start, groups):
    """The reward is 100 times the head's advance less 0.01 |a|^2."""
    after = start.replace(x=start.x.clone())
    after.x[:, groups[-1], 0] += 0.03
    after.x[:, groups[0], 0] -= 0.5
    action = torch.full((N, 16), 0.5, dtype=torch.float64)
    expected = torch.full((N,), 100 * 0.03 - 0.01 * 16 * 0.25, dtype=torch.float64)
    torch.testing.assert_close(func.reward(start, action, after), expected, rtol=0, atol=1e-11)


def test_success_at_0_5_metres(func, start):
    """Success is an advance of 0.5 m along x."""
    assert not func.success(moved(start, (0.5 - 1e-9, 0.0, 0.3))).any()
    assert func.success(moved(start, (0.5 + 1e-9, 0.0, 0.0))).all()


@pytest.mark.parametrize(
    ("aside", "speed", "expected"),
    [(0.049, 0.24, (0, 0)), (-0.051, 0.24, (1, 0)), (0.051, 0.26, (1, 1)), (0.0, -0.3, (0, 0))],
)
def test_costs(func, start, aside, speed, expected):
    """More than 0.05 m beside the track, and more than 0.25 m/s forward, cost one each."""
    after = moved(start, (0.0, 0.0, aside))
    v = torch.zeros_like(after.v)
    v[..., 0] = speed
    costs = func.costs(start, torch.zeros(N, 16), after.replace(v=v))
    assert tuple(costs[name].tolist() for name in ("drift", "speed")) == tuple(
        [float(e)] * N for e in expected
    )


def test_pose_option_moves_the_track(func):
    """Set down elsewhere, the crawler has neither advanced nor drifted."""
    state = func.initial(seed=3, start=Start(pose=True))
    shift = (state.x - func.initial(seed=3).x).mean(dim=1)
    assert (shift[:, [0, 2]].abs() > 1e-3).all()
    assert (shift.abs() <= 0.1).all()
    assert (shift[:, 1] == 0).all()
    torch.testing.assert_close(func.task.advance(state), torch.zeros(N, dtype=torch.float64))
    assert func.costs(state, torch.zeros(N, 16), state)["drift"].tolist() == [0.0] * N


def test_script_repeats_and_is_symmetric(func, start):
    """The gait has the period of the phase, and far and near muscles of a leg act alike."""
    first, later = func.task.script(start, 2), func.task.script(start, 7)
    torch.testing.assert_close(first, later)
    assert first.shape == (N, 16)
    assert torch.equal(first[:, 0::2], first[:, 1::2])
    assert not torch.equal(first, func.task.script(start, 3))
