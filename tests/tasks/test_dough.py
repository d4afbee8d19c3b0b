"""Dough under the rolling pin: scene, control, reward, success and costs, recomputed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import simenv
from agents.baselines import play_out
from simenv.envs import Functional, Start
from simenv.errors import ConfigurationError
from simenv.mpm import State
from tasks.dough import DoughRoll, DoughShape

ROLL, SHAPE = "simenv/DoughRoll-v0", "simenv/DoughShape-v0"
N = 2
VOLUME = 0.1 * 0.08 * 0.1
"""Of the dough [m³]."""
COLUMN, UNIT = 0.04, 0.05
"""Width of a column, and unit of the goal [m]."""
RADIUS = 0.05
"""Of the pin [m]."""
STEP = 0.025
"""[s]"""


@pytest.fixture(scope="module")
def roll() -> Functional:
    """Two pieces of dough to be rolled flat, in float64."""
    return simenv.functional(ROLL, num_envs=N, dtype="float64")


@pytest.fixture(scope="module")
def shape() -> Functional:
    """Two pieces of dough to be made into slabs, in float64."""
    return simenv.functional(SHAPE, num_envs=N, dtype="float64")


def pin_at(
    state: State, place: tuple[float, float, float], angle: float = 0.0, tilt: float = 0.0
) -> State:
    """The pin's lowest point at `place` [m], turned about the vertical and then rolled [rad]."""
    turn = np.array([0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2)])
    own = np.array([0.0, 0.0, math.sin(tilt / 2), math.cos(tilt / 2)])
    # Quaternion product turn ⊗ own, both (x, y, z, w): rolled about the pin's own axis first.
    v = turn[3] * own[:3] + own[3] * turn[:3] + np.cross(turn[:3], own[:3])
    q = [*v, turn[3] * own[3] - turn[:3] @ own[:3]]
    pose = state.pose.clone()
    pose[:, 0] = pose.new_tensor([place[0], place[1] + RADIUS, place[2], *q])
    return state.replace(pose=pose)


def flattened(state: State, factor: float) -> State:
    """Every particle's height times a factor."""
    return state.replace(x=state.x * state.x.new_tensor([1.0, factor, 1.0]))


@pytest.mark.parametrize(
    ("size", "particles", "cells"), [("small", 256, (20, 12, 20)), ("full", 2592, (50, 30, 50))]
)
def test_sizes(size, particles, cells):
    """Both sizes are built as documented, with the block's mass."""
    scene = DoughRoll(size=size).scene
    assert (scene.num_particles, scene.cells, scene.step) == (particles, cells, STEP)
    mass = particles * scene.bodies[0].volume * scene.bodies[0].material.density
    assert mass == pytest.approx(0.1 * 0.08 * 0.1 * 1e3, rel=1e-12)


def test_row_of_the_table():
    """The table of tasks says what the class says, and has a safe variant."""
    spec = simenv.TASKS[ROLL]
    assert (spec.action, spec.observation, spec.horizon) == (3, 201, 100)
    assert "simenv/DoughRoll-Safe-v0" in simenv.TASKS


@pytest.mark.parametrize("angle", [0.0, 0.5, -2.0])
def test_pin_rolls_without_sliding(roll, angle):
    """Its lowest point is at rest on the table however it is turned and has rolled."""
    state = pin_at(roll.initial(0), (0.2, 0.06, 0.2), angle, tilt=1.3)
    twist = roll.task.control(state, torch.tensor([[0.5, 0.0, 0.0]] * N)).tools[0, 0].numpy()
    way = np.array([math.cos(angle), 0.0, -math.sin(angle)])
    np.testing.assert_allclose(twist[:3], 0.2 * way, atol=1e-12)
    touching = twist[:3] + np.cross(twist[3:], [0.0, -RADIUS, 0.0])
    np.testing.assert_allclose(touching, 0.0, atol=1e-12)


def test_pin_rises_and_turns(roll):
    """Actions 1 and 2 are 0.2 m/s upwards and 3 rad/s about the vertical."""
    state = pin_at(roll.initial(0), (0.2, 0.06, 0.2))
    twist = roll.task.control(state, torch.tensor([[0.0, 0.5, -1.0]] * N)).tools[0, 0].numpy()
    np.testing.assert_allclose(twist, [0.0, 0.1, 0.0, 0.0, -3.0, 0.0], atol=1e-12)


def test_pin_stays_over_the_table(roll):
    """It stops where its lowest point leaves its box, and does not roll on there."""
    state = pin_at(roll.initial(0), (0.345, 0.012, 0.2))
    twist = roll.task.control(state, torch.tensor([[1.0, -1.0, 0.0]] * N)).tools[0, 0].numpy()
    np.testing.assert_allclose(twist[:3] * STEP, [0.005, -0.002, 0.0], atol=1e-12)
    np.testing.assert_allclose(twist[5] * RADIUS, -twist[0], atol=1e-12)


def test_pin_stays_level(roll):
    """Rolling and turning at once for twenty steps tilt its axis by less than 2e-3.

    To second order in the angles r = 0.2 of roll and t = 0.075 of turn per step a roll about the
    direction halfway leaves the axis level; the third order is missing by symmetry, and what is
    left, at most r t (r² + t²)/12 = 6e-5 per step, adds to 1.2e-3.
    """
    state = pin_at(roll.initial(0), (0.2, 0.13, 0.2))
    for k in range(20):
        way = 1.0 if k % 16 < 8 else -1.0
        state = roll.transition(state, torch.tensor([[way, 0.0, 1.0]] * N))
    x, y, z, w = state.pose[0, 0, 3:].tolist()
    assert abs(2 * (y * z - w * x)) < 2e-3


def test_observation_layout(roll):
    """Particles, lowest point of the pin, its forward direction and its speeds, in that order."""
    state = pin_at(roll.initial(0), (0.25, 0.03, 0.1), angle=0.4)
    twist = torch.arange(6, dtype=state.x.dtype).expand(N, 1, 6)
    seen = roll.observation(state.replace(twist=twist)).numpy()
    x = state.x[0].numpy()
    np.testing.assert_allclose(seen[0, :3], (x[0] - [0.2, 0, 0.2]) / 0.1, atol=1e-12)
    np.testing.assert_allclose(seen[0, 189:192], (x[-1] - [0.2, 0, 0.2]) / 0.1, atol=1e-12)
    np.testing.assert_allclose(seen[0, 192:195], [0.5, 0.3, -1.0], atol=1e-12)
    np.testing.assert_allclose(seen[0, 195:197], [math.cos(0.4), -math.sin(0.4)], atol=1e-12)
    np.testing.assert_array_equal(seen[0, 197:], [0, 1, 2, 4])


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.2])
def test_rolling_reward(roll, factor):
    """The reward is that of the docstring, of heights over the mean height at the start."""
    start = roll.initial(0)
    y = start.x[0, :, 1].numpy()
    h = factor * y / y.mean()
    doubling = 1 + 1 / (1 + math.exp(-(1 / 3 - h.mean()) / 0.02))
    expected = doubling / (1 + h.mean()) ** 2 - h.var()
    got = roll.reward(start, torch.zeros(N, 3), flattened(start, factor))
    assert float(got[0]) == pytest.approx(expected, rel=1e-12)


def test_rolled_flat_at_a_third(roll):
    """The task is done at a third of the mean height at the start."""
    start = roll.initial(0)
    assert not roll.success(flattened(start, 1 / 3 + 1e-9)).any()
    assert roll.success(flattened(start, 1 / 3 - 1e-9)).all()


def test_force(roll):
    """A mean force of more than 30 N on the pin costs one."""
    state = roll.initial(0)
    impulse = torch.zeros_like(state.impulse)
    impulse[0, 0, :3] = STEP * 30.1 * impulse.new_tensor([0.6, 0.0, 0.8])
    impulse[1, 0, :3] = STEP * 29.9 * impulse.new_tensor([0.6, 0.8, 0.0])
    costs = roll.costs(state, torch.zeros(N, 3), state.replace(impulse=impulse))
    assert costs["force"].tolist() == [1.0, 0.0]


def test_force_is_the_weight_that_it_bears(roll):
    """Pressed into the dough and held, the pin feels an upward force; above it none.

    The force is what keeps the dough's shape: less than the yield stress of a tension test,
    √1.5 · 1.5 kPa, times four (plane strain and friction under a flat stamp raise it at most so
    far) over the pin's own cross-section within the block, 0.1 m by 0.1 m: 73 N.
    """
    state = roll.initial(0)
    assert float(roll.task.force(roll.transition(state, torch.zeros(N, 3))).max()) == 0.0
    for _ in range(10):
        state = roll.transition(state, torch.tensor([[0.0, -1.0, 0.0]] * N))
    assert (state.impulse[:, 0, 1] > 0).all()
    assert 1.0 < float(roll.task.force(state).max()) < 73.0


def test_options_of_the_start(roll):
    """`pose` moves the dough by up to 0.02 m, not the pin; `material` scales the yield."""
    same, moved = roll.initial(5), roll.initial(5, Start(pose=True))
    offset = (moved.x - same.x).mean(dim=1)
    assert (offset[:, 1] == 0).all()
    assert 1e-4 < float(offset.abs().max()) <= 0.02
    assert torch.equal(moved.pose, same.pose)
    drawn = roll.task.parameters(roll.initial(5, Start(material={"yield_stress": 0.8})))
    assert drawn["dough"]["yield_stress"].tolist() == [1.2e3] * N


def test_pin_starts_within_its_box(roll):
    """The pin starts where it is kept."""
    low = roll.task.bottom(roll.initial(0))[0].numpy()
    assert (low > roll.task.lowest).all()
    assert (low < roll.task.highest).all()


# ------------------------------------------------------------------------------ DoughShape


def cut(state: State, share: float) -> State:
    """A goal of which the dough as it is covers `share`: its own map, scaled up."""
    goal = state.context.clone()
    goal[:, :100] = DoughShape().achieved_goal(state) / share
    return state.replace(context=goal)


def test_row_of_shapes():
    """The table says what the class says, and has safe and goal variants."""
    spec = simenv.TASKS[SHAPE]
    assert (spec.action, spec.observation, spec.goal) == (3, 301, DoughShape.num_goals)
    assert {"simenv/DoughShape-Safe-v0", "simenv/DoughShape-Goal-v0"} < set(simenv.TASKS)
    assert all(name in spec.summary for name in DoughShape.outlines)


def test_heights_of_one_part():
    """A part a quarter of a column off a middle along x gives that neighbour a quarter of it."""
    places = torch.tensor([[[2.75 * COLUMN, 7.5 * COLUMN]]], dtype=torch.float64)
    map_ = DoughShape().heights(places, torch.tensor([1e-6], dtype=torch.float64))
    expected = np.zeros((10, 10))
    expected[2:4, 7] = np.array([0.75, 0.25]) * 1e-6 / COLUMN**2 / UNIT
    np.testing.assert_allclose(map_[0].reshape(10, 10).numpy(), expected, atol=1e-15)


def test_nothing_is_lost_at_the_edge(shape):
    """Wherever the dough lies on the table, its map holds all of its volume."""
    state = shape.initial(0)
    for offset in ((0.0, 0.0, 0.0), (-0.17, 0.0, 0.19), (0.15, 0.0, -0.16)):
        moved = state.replace(x=(state.x + state.x.new_tensor(offset)).clamp(0.0, 0.4))
        volume = shape.task.achieved_goal(moved).sum(dim=1) * UNIT * COLUMN**2
        torch.testing.assert_close(volume, torch.full_like(volume, VOLUME), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "length", "width"), [("slab", 0.18, 0.18), ("bar", 0.24, 0.12), ("ramp", 0.2, 0.12)]
)
def test_targets(name, length, width):
    """A target has the dough's volume, its own extent, and the documented heights."""
    task = DoughShape(target_shape=name)
    heights = task.middle_goal().reshape(10, 10) * UNIT
    assert heights.sum() * COLUMN**2 == pytest.approx(VOLUME, rel=1e-12)
    mean = VOLUME / (length * width)
    if name == "ramp":
        # Columns 4 and 5 have their middles half a column beside that of the table; linear
        # weights keep a linear height as it is.
        rise = 0.6 * mean * COLUMN / length
        np.testing.assert_allclose(heights[4:6, 4], [mean - rise, mean + rise], rtol=1e-3)
    else:
        # A hundred parts along an edge meet the weights of a column within a per cent.
        np.testing.assert_allclose(heights[4:6, 4:6], mean, rtol=1e-2)
    assert (heights[:, [0, 9]] == 0).all()
    assert (heights[[0, 1], :] == 0).all() or name == "bar"


def test_goals_drawn():
    """They keep the volume, differ, and lie at most 0.005 m off the middle along each axis."""
    task, rng = DoughShape(), np.random.default_rng(0)
    goals = np.stack([task.draw_goal(rng) for _ in range(20)]).reshape(20, 10, 10)
    np.testing.assert_allclose(goals.sum(axis=(1, 2)) * UNIT * COLUMN**2, VOLUME, rtol=1e-12)
    middles = (np.arange(10) + 0.5) * COLUMN
    off = np.stack([goals.sum(axis=2) @ middles, goals.sum(axis=1) @ middles])
    off = np.abs(off * UNIT * COLUMN**2 / VOLUME - 0.2)
    # 40 uniform draws: all below half of the bound with probability 2^-40.
    assert 0.0025 < off.max() <= 0.005
    assert goals.max(axis=(1, 2)).std() > 0.01


def test_overlap(shape):
    """Heaps one within the other overlap by the ratio of their volumes, equal ones wholly."""
    state = shape.initial(0)
    ones = torch.ones(N, dtype=state.x.dtype)
    torch.testing.assert_close(shape.task.overlap(cut(state, 1.0)), ones)
    torch.testing.assert_close(shape.task.overlap(cut(state, 0.4)), 0.4 * ones)
    torch.testing.assert_close(shape.task.overlap(cut(state, 1.6)), ones / 1.6)
    away = torch.zeros(N, 100, dtype=state.x.dtype)
    away[:, 0] = 1.0
    assert (shape.task.goal_distance(shape.task.achieved_goal(state), away) == 1.0).all()


def test_success_at_70_per_cent(shape):
    """It is done when 70 % overlap."""
    state = shape.initial(0)
    assert shape.success(cut(state, 0.7 + 1e-9)).all()
    assert not shape.success(cut(state, 0.7 - 1e-9)).any()


def test_shaping_reward(shape):
    """Rewards are growths of the overlap in per cent, and add to that of the episode."""
    first = state = shape.initial(0)
    action, total = torch.tensor([[0.3, -1.0, 0.1]] * N), torch.zeros(N, dtype=state.x.dtype)
    for _ in range(15):
        after = shape.transition(state, action)
        total += shape.reward(state, action, after)
        state = after
    grown = shape.task.overlap(state) - shape.task.overlap(first)
    torch.testing.assert_close(total, 100 * grown, rtol=0, atol=1e-10)
    assert (grown.abs() > 1e-3).all()


def test_goal_variant(shape):
    """Its sparse reward is 0 from an overlap of 70 % on, its dense one less the share missing."""
    sparse = simenv.functional("simenv/DoughShape-Goal-v0", dtype="float64")
    goal = torch.as_tensor(DoughShape().middle_goal())[None]
    assert float(sparse.goal_reward(0.71 * goal, goal)) == 0.0
    assert float(sparse.goal_reward(0.69 * goal, goal)) == -1.0
    sparse.reward_type = "dense"
    assert float(sparse.goal_reward(0.69 * goal, goal)) == pytest.approx(-0.31)


@pytest.mark.parametrize("name", ["bar", "ramp"])
def test_script_makes_the_other_shapes(name):
    """Of the shapes that the saved baseline does not make, the script makes a bar and a ramp."""
    played = Functional(SHAPE, target_shape=name)
    assert not bool(played.success(played.initial(0)))
    assert play_out(played, played.task.script).success.all()


def test_unknown_shape_is_named():
    """A target shape that does not exist is refused with those that do."""
    with pytest.raises(ConfigurationError, match=r"'ball' is not one of .*slab"):
        DoughShape(target_shape="ball")
