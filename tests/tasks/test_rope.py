"""RopePush: its scene, target, reward, success and cost, recomputed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import simenv
from agents.schemes import Schemes
from agents.trajopt.objective import check_schemes, distance
from simenv.envs import Functional, Start
from tasks.rope import RopePush

ROPE = "simenv/RopePush-v0"
N = 2
SIDE, EDGE, LENGTH, THICKNESS = 0.8, 0.08, 0.5, 0.05
"""Of the domain, from it to the table's edge, of the rope [m]."""
ARC, STEP = 0.35, 0.05
"""Radius of the target [m], duration of a step [s]."""


@pytest.fixture(scope="module")
def func() -> Functional:
    """Two ropes in float64."""
    return simenv.functional(ROPE, num_envs=N, dtype="float64")


@pytest.fixture(scope="module")
def done(func):
    """Ropes that lie where they belong."""
    state = func.simulator.initial_state()
    return state.replace(x=torch.stack([func.task.bowed(x) for x in state.x]))


def test_row_of_the_table():
    """The table of tasks says what the class says."""
    spec = simenv.TASKS[ROPE]
    assert (spec.action, spec.observation, spec.horizon) == (2, 124, 60)
    assert f"{RopePush.near} m" in spec.summary
    assert "simenv/RopePush-Safe-v0" in simenv.TASKS


@pytest.mark.parametrize(
    ("size", "particles", "cells"), [("small", 300, (40, 5, 40)), ("full", 9000, (160, 20, 160))]
)
def test_sizes(size, particles, cells):
    """Both sizes are built as documented, compare 300 particles, and lie on the table."""
    task = RopePush(size=size)
    scene = task.scene
    assert (scene.num_particles, scene.cells, scene.step) == (particles, cells, STEP)
    assert len(range(particles)[task.target_particles()]) == 300
    x = scene.bodies[0].x
    assert x[:, 1].min() > 0.0
    assert np.ptp(x, axis=0) == pytest.approx([LENGTH, THICKNESS, THICKNESS], abs=0.4 * THICKNESS)


def test_target(func):
    """The target is an arc of the rope's length and thickness whose ends lie 0.05 m beyond."""
    x = func.simulator.initial_state().x[0].numpy()
    to = func.task.target_points().numpy()
    half = LENGTH / 2 / ARC
    centre = np.array([SIDE / 2, 0.3 + 0.05 - ARC * math.cos(half)])
    polar = to[:, [0, 2]] - centre
    # A particle keeps its distance from the centre line, and its place along it.
    radii = np.linalg.norm(polar, axis=1)
    np.testing.assert_allclose(radii - ARC, x[:, 2] - 0.3, atol=1e-12)
    angles = np.arctan2(polar[:, 0], polar[:, 1])
    np.testing.assert_allclose(ARC * angles, x[:, 0] - SIDE / 2, atol=1e-12)
    np.testing.assert_array_equal(to[:, 1], x[:, 1])


def chamfer_by_hand(x: np.ndarray, y: np.ndarray) -> float:
    """Mean distances to the nearest, both ways, averaged [m]."""
    between = np.linalg.norm(x[:, None] - y[None], axis=2)
    return (between.min(axis=0).mean() + between.min(axis=1).mean()) / 2


def test_reward_and_success(func, done):
    """On the way to the target the reward is minus the distance over 0.1 m, done below 0.02 m."""
    start, places = func.initial(3), func.task.target_points().numpy()
    outcomes = set()
    for share in (0.0, 0.1, 0.2, 0.3, 0.5, 1.0):
        state = start.replace(x=torch.lerp(done.x, start.x, share))
        expected = np.array([chamfer_by_hand(x, places) for x in state.x.numpy()])
        # cdist expands the square, which cancels: sqrt(eps * 1 m²) = 1.5e-8, over 0.1 m.
        got = func.reward(state, torch.zeros(N, 2), state).numpy()
        np.testing.assert_allclose(got, -expected / 0.1, atol=1e-6)
        assert func.success(state).tolist() == (expected < 0.02).tolist()
        outcomes |= set(func.success(state).tolist())
    assert outcomes == {True, False}


def test_losses_of_the_optimiser(func, done):
    """Chamfer and pointwise losses take the target; both vanish where the rope belongs."""
    state = func.initial(0)
    for kind in ("chamfer", "pointwise"):
        check_schemes(Schemes(loss=kind), func.task)
        assert float(distance(kind, func.task, done).max()) < 1e-6
        assert float(distance(kind, func.task, state).min()) > 0.05
    torch.testing.assert_close(distance("chamfer", func.task, state), func.task.distance(state))


def test_pin_moves_and_stays_over_the_table(func):
    """An action of one is 0.5 m/s; the pin stops at the table's edge and never turns."""
    state = func.initial(0)
    twist = func.task.control(state, torch.tensor([[0.4, -1.0]] * N)).tools[0, 0]
    np.testing.assert_allclose(twist, [0.2, 0, -0.5, 0, 0, 0], atol=1e-7)
    pose = state.pose.clone()
    pose[:, 0, :3] = pose.new_tensor([SIDE - EDGE - 0.01, 0.0, EDGE])
    twist = func.task.control(
        state.replace(pose=pose), torch.tensor([[1.0, -1.0]] * N, dtype=pose.dtype)
    ).tools[0, 0]
    np.testing.assert_allclose(twist * STEP, [0.01, 0, 0, 0, 0, 0], atol=1e-12)


def test_observation_layout(func):
    """Sixty particles from above, then the pin's place and velocity."""
    state = func.initial(0)
    twist = torch.arange(6, dtype=state.x.dtype).expand(N, 1, 6)
    seen = func.observation(state.replace(twist=twist))[1].numpy()
    x = state.x[1].numpy()
    np.testing.assert_allclose(seen[:2], (x[0, [0, 2]] - SIDE / 2) / 0.1, atol=1e-12)
    np.testing.assert_allclose(seen[118:120], (x[-1, [0, 2]] - SIDE / 2) / 0.1, atol=1e-12)
    np.testing.assert_allclose(seen[120:], [0.0, -2.0, 0.0, 2.0], atol=1e-12)


@pytest.mark.parametrize("place", [(EDGE, 0.4), (SIDE - EDGE, 0.4), (0.4, EDGE), (0.4, 0.72)])
def test_leaving_the_table_costs(func, place):
    """One particle beyond any edge costs one, and just within it nothing."""
    state = func.initial(0)
    out = np.sign(np.array(place) - SIDE / 2) * (np.abs(np.array(place) - SIDE / 2) > 0.1)
    for sign, cost in ((1, 1.0), (-1, 0.0)):
        x = state.x.clone()
        spot = np.array(place) + sign * 1e-6 * out
        x[:, 7] = x.new_tensor([spot[0], 0.02, spot[1]])
        costs = func.costs(state, torch.zeros(N, 2), state.replace(x=x))
        assert costs["leaves"].tolist() == [cost] * N


def test_friction_holds_the_rope(func):
    """Given a push of 0.3 m/s the rope slides v²/2μg and stops; left alone it stays.

    Sliding takes 0.1 s; rolling over instead, and the elastic wobble of a body of sqrt(E/ρ) =
    6 m/s, let the mean stop within a half of v²/2μg = 15.3 mm around it.
    """
    rest = func.initial(0)
    moving = rest.replace(v=rest.v + rest.v.new_tensor([0.3, 0.0, 0.0]))
    way = []
    for state in (rest, moving):
        for _ in range(8):
            state = func.transition(state, torch.zeros(N, 2))
        way.append(float((state.x - rest.x)[0, :, 0].mean()))
        assert float(state.v.mean(dim=1).norm(dim=1).max()) < 0.02
    assert abs(way[0]) < 1e-3
    assert way[1] == pytest.approx(0.3**2 / (2 * 0.3 * 9.81), rel=0.5)


def test_options_of_the_start(func):
    """`pose` moves the rope along x and z, `material` scales E."""
    same, moved = func.initial(5), func.initial(5, Start(pose=True))
    offset = (moved.x - same.x).mean(dim=1).abs()
    assert (offset[:, 1] == 0).all()
    assert 1e-4 < float(offset[:, 0].max()) <= 0.03
    assert 1e-4 < float(offset[:, 2].max()) <= 0.02
    drawn = func.task.parameters(func.initial(5, Start(material={"E": 1.2})))
    assert drawn["rope"]["E"].tolist() == [2.4e4] * N


def test_picture_shows_what_is_in_place(func, done):
    """Where the rope belongs it is drawn in one colour, far away in another."""
    near, far = (
        func.task.picture(state[:1], None)["colors"] for state in (done, func.initial(0)[:1])
    )
    assert np.ptp(near, axis=0).max() < 1e-6
    # Teal has 0.09 of red, rose 0.8; three quarters of the rope lie farther off than 0.06 m.
    assert far[:, 0].mean() - near[:, 0].mean() > 0.5
