"""SoftWalker2D: its scene, observation, reward, success and start, recomputed by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import simenv
from simenv.envs import Functional, Start
from simenv.mpm import State
from tasks.locomotion import SoftWalker2D

WALKER = "simenv/SoftWalker2D-v0"
N = 2
LEFT = 0.3
"""Where the rear leg's rear side is at the start [m]; the feet are at height zero."""
LENGTH, TORSO, LEG, STRIP = 0.4, 0.125, 0.1, 0.05
"""Length and height of the torso, length of the legs, width of a muscle [m]."""
AREA = LENGTH * TORSO + 4 * STRIP * LEG
ACTIVATION = 8.0e3
"""Of an action of one [Pa]."""


@pytest.fixture(scope="module")
def func() -> Functional:
    """Two walkers in float64."""
    return simenv.functional(WALKER, num_envs=N, dtype="float64")


@pytest.fixture(scope="module")
def rest(func) -> State:
    """Two walkers as built, not perturbed."""
    state = func.simulator.initial_state()
    nominal = torch.ones(N, len(SoftWalker2D.material_ranges), dtype=state.x.dtype)
    return state.replace(context=torch.cat([nominal, func.task.remember(state)], dim=1))


@pytest.fixture(scope="module")
def groups(rest) -> list[np.ndarray]:
    """Particles of the seven groups, found from where they are in the drawing."""
    x, y = rest.x[0].numpy().T
    legs = y < LEG
    strips = [legs & (x > a) & (x < a + STRIP) for a in (0.3, 0.35, 0.6, 0.65)]
    edges = LEFT + np.arange(4) * LENGTH / 3
    thirds = [~legs & (x > a) & (x < b) for a, b in itertools.pairwise(edges)]
    return strips + thirds


def moved(state: State, offset: tuple[float, float]) -> State:
    """The state shifted as a whole [m]."""
    return state.replace(x=state.x + torch.tensor(offset, dtype=state.x.dtype))


def test_row_of_the_table():
    """The table of tasks says what the class says."""
    spec = simenv.TASKS[WALKER]
    assert (spec.action, spec.observation, spec.horizon) == (
        SoftWalker2D.num_actions,
        SoftWalker2D.num_observations,
        SoftWalker2D.horizon,
    )
    assert f"{SoftWalker2D.goal} m" in spec.summary


@pytest.mark.parametrize(
    ("size", "particles", "cells"), [("small", 448, (120, 24)), ("full", 7168, (480, 96))]
)
def test_sizes(size, particles, cells):
    """Both sizes are built as documented: particles, cells, step, stable substeps, bodies."""
    scene = SoftWalker2D(size=size).scene
    assert scene.num_particles == particles
    assert scene.cells == cells
    assert scene.step == 0.05
    assert scene.step / scene.substeps <= scene.largest_dt
    assert scene.num_channels == SoftWalker2D.num_actions
    area = sum(len(body.x) * body.volume for body in scene.bodies)
    assert area == pytest.approx(AREA, rel=1e-12)


def test_geometry(rest):
    """The body stands on the floor and has the length and height of the drawing."""
    x, y = rest.x[0].numpy().T
    # Particles lie at the centres of squares of side h, and so reach to h/2 from every face.
    h = math.sqrt(AREA / 448)
    assert [x.min() - LEFT, LEFT + LENGTH - x.max()] == pytest.approx([h / 2, h / 2], abs=1e-9)
    assert [y.min(), LEG + TORSO - y.max()] == pytest.approx([h / 2, h / 2], abs=1e-9)


def test_control(func, rest):
    """An action of one activates a muscle by 8 kPa."""
    action = torch.linspace(-1, 1, 4, dtype=torch.float64).repeat(N, 1)
    control = func.task.control(rest, action)
    torch.testing.assert_close(control.activation, ACTIVATION * action)


def test_groups_cover_the_body(groups):
    """The seven groups of the observation are disjoint and leave no particle out."""
    assert (np.stack(groups).sum(axis=0) == 1).all()


def test_observation_layout(func, rest, groups):
    """Entries are seven x, seven y, seven velocities each way, sine and cosine, in that order."""
    x, v = torch.zeros_like(rest.x), torch.zeros_like(rest.v)
    for k, members in enumerate(groups):
        x[:, members] = torch.tensor([0.5 + 0.03 * k, 0.1 + 0.02 * k], dtype=x.dtype)
        v[:, members] = torch.tensor([0.1 * k, -0.2 * k], dtype=v.dtype)
    time = torch.tensor([3, 12])
    observed = func.observation(rest.replace(x=x, v=v, time=time)).numpy()
    k = np.arange(7)
    torso = np.concatenate([np.full(int(groups[g].sum()), 0.5 + 0.03 * g) for g in (4, 5, 6)])
    expected = np.concatenate(
        [
            (0.5 + 0.03 * k - torso.mean()) / 0.25,
            (0.1 + 0.02 * k) / 0.25,
            0.1 * k,
            -0.2 * k,
        ]
    )
    # float64 means of a hundred numbers: a few eps, divided by 0.25.
    np.testing.assert_allclose(observed[:, :28], np.stack([expected] * N), rtol=0, atol=1e-13)
    angles = 2 * math.pi * np.array([3, 12]) / 10  # 2 Hz at 20 steps per second
    np.testing.assert_allclose(observed[:, 28], np.sin(angles), rtol=0, atol=1e-13)
    np.testing.assert_allclose(observed[:, 29], np.cos(angles), rtol=0, atol=1e-13)


def test_observation_does_not_tell_the_place(func):
    """Shifted along the ground a walker sees the same; lifted, only heights change."""
    state = func.initial(seed=0)
    here = func.observation(state)
    # Means round to eps of positions up to 1 m, divided by 0.25.
    along = func.observation(moved(state, (0.37, 0.0)))
    torch.testing.assert_close(along, here, rtol=0, atol=1e-13)
    expected = here.clone()
    expected[:, 7:14] += 0.1 / 0.25
    torch.testing.assert_close(
        func.observation(moved(state, (0.0, 0.1))), expected, rtol=0, atol=1e-13
    )


def test_phase_follows_the_steps(func):
    """After k steps the phase is 2 pi k / 10."""
    state = func.initial(seed=0)
    action = torch.zeros(N, 4, dtype=torch.float64)
    for k in range(4):
        angle = 2 * math.pi * k / 10
        phase = func.observation(state)[:, 28:].numpy()
        expected = [[math.sin(angle), math.cos(angle)]] * N
        np.testing.assert_allclose(phase, expected, rtol=0, atol=1e-14)
        state = func.transition(state, action)


def test_observation_is_bounded(func, rest):
    """However fast it goes, the observation stays in its space."""
    fast = rest.replace(v=torch.full_like(rest.v, 1e6))
    observed = func.observation(fast).numpy().astype(np.float32)
    assert all(func.task.observation_space.contains(row) for row in observed)
    assert observed[0, 14] == 10.0


def test_reward(func, groups):
    """The reward is 100 times the head's advance minus 0.01 |a|^2, of clipped actions."""
    state = func.initial(seed=0)
    rng = np.random.default_rng(1)
    head = groups[-1]
    for _ in range(3):
        action = torch.as_tensor(rng.uniform(-1.5, 1.5, (N, 4)))
        after = func.transition(state, action)
        advance = (after.x - state.x)[:, head, 0].mean(dim=1)
        effort = action.clamp(-1, 1).square().sum(dim=1)
        expected = 100 * advance - 0.01 * effort
        # 100 times the difference of two means near 0.6 m.
        torch.testing.assert_close(
            func.reward(state, action, after), expected, rtol=0, atol=100 * 1e-14
        )
        state = after


def test_success_at_0_3_metres(func, rest, groups):
    """Success is an advance of the head by 0.3 m, and of the head alone."""
    assert not func.success(moved(rest, (0.3 - 1e-9, 0.0))).any()
    assert func.success(moved(rest, (0.3 + 1e-9, 0.0))).all()
    x = rest.x.clone()
    x[0, groups[-1], 0] += 0.31
    x[1, ~groups[-1], 0] += 0.31
    assert func.success(rest.replace(x=x)).tolist() == [True, False]


def test_start_lies_within_its_bounds(func, rest):
    """Particles start within 2 % of a cell, the body with up to 0.02 m/s, and use that range."""
    dx = 2.0 / 80
    for seed in (0, 100):
        start = func.initial(seed=seed)
        jitter = (start.x - rest.x).abs()
        # 1,792 uniform draws: all below 0.95 of the bound with probability 0.95^1792 = 1e-40.
        assert 0.95 * 0.02 * dx < float(jitter.max()) <= 0.02 * dx
        assert (start.v == start.v[:, :1]).all()  # one velocity for the whole body
        assert 0 < float(start.v.abs().max()) <= 0.02
        for name in ("C", "F", "time"):
            assert torch.equal(getattr(start, name), getattr(rest, name))


def test_starts_vary_with_the_seed(func):
    """Environments of one seed start differently, and each seed is its own."""
    first, other = func.initial(seed=0), func.initial(seed=1)
    assert not torch.equal(first.x[0], first.x[1])
    assert torch.equal(first.x[1], other.x[0])


def test_pushes_fill_their_range(func):
    """Over 64 starts the velocities come near both ends of their range, on both axes."""
    pushes = torch.cat([func.initial(seed=N * k).v[:, 0] for k in range(32)])
    # 64 uniform draws: all below 0.75 of the bound with probability 0.875^64 = 2e-4.
    assert (pushes.amax(dim=0) > 0.015).all()
    assert (pushes.amin(dim=0) < -0.015).all()


def test_pose_option_moves_the_body_and_its_goal(func, rest):
    """The pose option shifts the whole body along x by up to 0.1 m; the goal goes with it."""
    start = func.initial(seed=3, start=Start(pose=True))
    same = func.initial(seed=3)
    moves = (start.x - same.x).mean(dim=1)
    assert (moves[:, 0].abs() > 1e-3).all()
    assert (moves[:, 0].abs() <= 0.1).all()
    assert (moves[:, 1] == 0).all()
    torch.testing.assert_close(func.task.advance(start), torch.zeros(N, dtype=start.x.dtype))


def test_material_option_scales_the_modulus(func):
    """The material option multiplies E of every body by the drawn factor, and the step feels it."""
    start = func.initial(seed=3, start=Start(material={"E": 0.5}))
    overrides = func.task.parameters(start)
    assert set(overrides) == {body.name for body in func.task.scene.bodies}
    assert overrides["torso"]["E"].tolist() == [2.0e4] * N
    action = torch.zeros(N, 4, dtype=torch.float64)
    soft = func.transition(start, action)
    same = func.initial(seed=3)
    wanted = func.transition(same, action, parameters=overrides)
    assert torch.equal(soft.x, wanted.x)
    assert not torch.equal(soft.x, func.transition(same, action).x)
    drawn = func.initial(seed=3, start=Start(material=True)).context[:, 0]
    assert ((drawn >= 0.7) & (drawn <= 1.4) & (drawn != 1.0)).all()


@pytest.mark.parametrize(
    ("speed", "turn", "expected"),
    [(0.24, 0.0, (0, 0)), (0.26, 0.0, (1, 0)), (-0.3, 41.0, (0, 1)), (0.3, -39.0, (1, 0))],
)
def test_costs(func, rest, speed, turn, expected):
    """Speeds above 0.25 m/s and tilts above 40° cost one each."""
    angle = math.radians(turn)
    turned = torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]],
        dtype=rest.x.dtype,
    )
    v = torch.zeros_like(rest.v)
    v[..., 0] = speed
    after = rest.replace(x=rest.x @ turned, v=v)
    costs = func.costs(rest, torch.zeros(N, 4, dtype=rest.x.dtype), after)
    assert tuple(costs[name].tolist() for name in ("speed", "tilt")) == tuple(
        [float(e)] * N for e in expected
    )


def test_picture_colours_the_muscles(func):
    """Contracting muscles are drawn redder than extending ones; the torso keeps its colour."""
    state = func.initial(seed=0)
    action = torch.tensor([[1.0, -1.0, 0.0, 0.0]], dtype=torch.float64)
    calm = func.task.picture(state[:1], None)["colors"]
    tense = func.task.picture(state[:1], action)["colors"]
    members = [func.simulator.particles(name) for name in (*func.task.muscles, "torso")]
    redness = [float((tense[m, 0] - tense[m, 2]).mean()) for m in members[:2]]
    assert redness[0] > 0 > redness[1]
    np.testing.assert_array_equal(tense[members[-1]], calm[members[-1]])
    np.testing.assert_array_equal(tense[members[2]], calm[members[2]])
