"""Finger and arm: response, goals, reward, success and cost, recomputed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import simenv
from simenv.envs import Functional, Start
from simenv.envs.task import load_task
from simenv.mpm import State

IDS = ("simenv/FingerReach2D-v0", "simenv/ArmReach3D-v0")
POSTURES = 6
"""Postures that are tried, one per environment."""


@pytest.fixture(scope="module", params=IDS)
def func(request) -> Functional:
    """Six fingers or arms in float32."""
    return Functional(request.param, num_envs=POSTURES)


@pytest.fixture(scope="module")
def start(func) -> State:
    """Start states with goals drawn by seed."""
    return func.initial(seed=0)


def carried(func: Functional, state: State, tip: torch.Tensor, v: float = 0.0) -> State:
    """The state shifted so that its tip is at `tip` (N, d), moving along x."""
    moved = state.x + (tip - func.task.achieved_goal(state))[:, None]
    speed = torch.zeros_like(state.v)
    speed[..., 0] = v
    return state.replace(x=moved, v=speed)


def test_rows_of_the_table():
    """The table of tasks says what the classes say, and what has to be reached."""
    for task_id in IDS:
        spec, task = simenv.TASKS[task_id], load_task(simenv.TASKS[task_id].task)
        assert (spec.action, spec.goal, spec.horizon) == (
            task.num_actions,
            task.num_goals,
            task.horizon,
        )
        assert spec.observation == task.num_features
        assert f"{task.goal_tolerance} m" in spec.summary
        assert [row.variant for row in spec.variants()] == [None, "safe", "goal"]


@pytest.mark.parametrize(
    ("task_id", "size", "particles"),
    [
        (IDS[0], "small", 300),
        (IDS[0], "full", 4800),
        (IDS[1], "small", 756),
        (IDS[1], "full", 48384),
    ],
)
def test_sizes(task_id, size, particles):
    """Particles as documented; they fill the beam evenly, and every action has its muscle."""
    task = load_task(simenv.TASKS[task_id].task, size=size)
    assert task.scene.num_particles == particles
    assert task.scene.num_channels == task.num_actions == len(task.pattern)
    volumes = [body.volume for body in task.scene.bodies]
    assert volumes == pytest.approx([volumes[0]] * len(volumes), rel=1e-12)
    top = max(body.x[:, 1].max() for body in task.scene.bodies)
    half = volumes[0] ** (1 / task.scene.dim) / 2
    assert top + half == pytest.approx(task.length, rel=1e-9)


def test_pattern_names_where_the_muscles_are(func):
    """A muscle contracts to bend towards a side exactly if it lies on that side of the axis."""
    rest, task = func.simulator.initial_state().x[0], func.task
    for name, row in zip(task.muscles, task.pattern, strict=True):
        middle = rest[func.simulator.particles(name)].mean(dim=0) - rest.new_tensor(task.base)
        sides = middle[[0, *range(2, task.scene.dim)]]
        assert torch.sign(sides).tolist() == list(row)


def test_arcs(func):
    """A point at the end of an arc of 1.2 rad and 0.28 m gives bend and length back."""
    task, bend, length = func.task, 1.2, 0.28
    aside, up = length * (1 - math.cos(bend)) / bend, length * math.sin(bend) / bend
    point = torch.tensor([task.base], dtype=torch.float64)
    point[0, 1] = up
    way = torch.tensor([1.0, 0.0, 1.0][: task.scene.dim], dtype=torch.float64)
    point[0] -= aside * way / way.norm()
    found, long = task.bow(point)
    assert float(long) == pytest.approx(length, rel=1e-12)
    assert float(found.norm()) == pytest.approx(bend, rel=1e-12)
    assert (found < 0).all()


@torch.no_grad()
def settled(func: Functional, action: torch.Tensor) -> torch.Tensor:
    """Where the tips come to rest, (N, d), when most of the velocity is taken away every step."""
    state = func.initial(seed=0)
    for t in range(30):
        state = func.transition(state, action * min(1.0, (t + 1) / 15))
        state = state.replace(v=0.3 * state.v, C=0.3 * state.C)
    return func.task.achieved_goal(state)


def test_response(func):
    """Held still by the activations of its posture, the tip is at the goal.

    The largest errors of the fit are 0.034 rad at 0.3 m and 0.003 m of length: together 0.006 m at
    half the length from the base, so that half the tolerance is more than enough.
    """
    task, rng = func.task, np.random.default_rng(3)
    goals = torch.as_tensor(np.stack([task.draw_goal(rng) for _ in range(POSTURES)])).float()
    bending, common = task.posture(goals)
    action = bending @ torch.tensor(task.pattern).T + common[:, None]
    assert action.abs().max() <= 1.0
    missed = func.task.goal_distance(settled(func, action), goals)
    assert missed.max() < task.goal_tolerance / 2


def test_what_cannot_be_held(func):
    """The box has goals on either side of the border, and full activations end near the border."""
    task, rng = func.task, np.random.default_rng(4)
    box = torch.as_tensor(np.stack([task.draw_goal(rng, reachable=False) for _ in range(400)]))
    low, high = torch.tensor(task.goal_low), torch.tensor(task.goal_high)
    assert ((box >= low) & (box <= high)).all()
    share = float(task.holdable(box).double().mean())
    # 16 and 11 % of the boxes; three standard deviations of 400 draws are 5 %.
    assert 0.05 < share < 0.22
    side = torch.tensor(task.pattern)[:, 0]
    mean = torch.tensor([1.0, 0.5, 0.0, 0.0, -0.5, -1.0])[:, None]
    tips = settled(func, (1 - mean.abs()) * side + mean)
    bending, common = task.posture(tips)
    # Where the beam yields least, fully contracted, one more activation bends the finger by 0.7 rad
    # and shortens it by 0.015 m (the arm by more): the fit's errors, 0.034 rad and 0.0021 m, are 5
    # and 14 % of an activation.
    reach = bending.abs().sum(dim=1) + common.abs()
    assert ((reach > 0.81) & (reach < 1.19)).all()


def test_drawn_goals(func):
    """Goals that are drawn can be held and keep away from the resting tip; so does the middle."""
    task, rng = func.task, np.random.default_rng(5)
    middle = task.middle_goal()
    goals = torch.as_tensor(np.stack([middle, *(task.draw_goal(rng) for _ in range(30))]))
    assert task.holdable(goals).all()
    rest = func.simulator.initial_state().x
    away = task.goal_distance(goals, task.tip(rest)[:1].double())
    assert away.min() >= task.clearance


def test_reward_and_success(func, start):
    """The reward is minus the distance in lengths; success is near and slow."""
    task = func.task
    goal = task.desired_goal(start)
    step = torch.zeros_like(goal)
    step[:, -1] = torch.linspace(0.0, 0.06, POSTURES)
    near = carried(func, start, goal + step)
    expected = -torch.linspace(0.0, 0.06, POSTURES) / task.length
    # Float32 places near 0.3 m, averaged over a hundred particles, over a length of 0.3 m.
    action = torch.zeros(POSTURES, task.num_actions)
    torch.testing.assert_close(func.reward(start, action, near), expected, rtol=0, atol=2e-6)
    assert func.success(near).tolist() == [True, True, False, False, False, False]
    assert not func.success(carried(func, start, goal, v=0.21)).any()
    assert func.success(carried(func, start, goal, v=0.19)).all()


def test_cost(func, start):
    """The cost falls from one at the obstacle's centre to zero at its radius."""
    task = func.task
    centre = torch.tensor(task.obstacle).expand(POSTURES, -1)
    step = torch.zeros_like(centre)
    step[:, 1] = torch.linspace(0.0, 2.0, POSTURES) * task.obstacle_radius
    after = carried(func, start, centre + step)
    cost = func.costs(start, torch.zeros(POSTURES, task.num_actions), after)["obstacle"]
    expected = torch.tensor([1.0, 0.6, 0.2, 0.0, 0.0, 0.0])
    # Rounding of places as above, over a radius of 0.025 m.
    torch.testing.assert_close(cost, expected, rtol=0, atol=2e-5)


def test_observation(func):
    """At rest displacements and velocities are zero, and the goal is told from the tip."""
    task, rest = func.task, func.simulator.initial_state()
    state = task.start(rest, [np.random.default_rng(0)] * POSTURES, Start(target=False))
    still = state.replace(x=rest.x, v=torch.zeros_like(rest.v))
    seen = func.observation(still)
    own, goal = seen[:, : task.num_observations], seen[:, task.num_observations :]
    # Two float32 means of the same places, over 0.1 m.
    assert own.abs().max() < 1e-5
    wanted = (torch.tensor(task.middle_goal()).float() - task.achieved_goal(still)) / 0.1
    torch.testing.assert_close(goal, wanted, rtol=0, atol=1e-5)
    moved = func.observation(carried(func, still, task.achieved_goal(still) + 0.05, v=0.3))
    half = task.num_observations // 2
    expected = torch.full((POSTURES, half), 0.5)
    torch.testing.assert_close(moved[:, :half], expected, rtol=0, atol=1e-5)
    velocity = moved[:, half : 2 * half].reshape(POSTURES, -1, task.scene.dim)
    torch.testing.assert_close(velocity[..., 0], torch.full_like(velocity[..., 0], 0.3))


def test_target_option_reaches_the_goal_variant():
    """A goal that cannot be held may be asked for, and is carried as it was given."""
    goals = Functional("simenv/FingerReach2D-Goal-v0")
    seen = goals.observation(goals.initial(seed=0, start=Start(target=(0.4, 0.16))))
    assert seen["desired_goal"].tolist() == [pytest.approx([0.4, 0.16])]
    assert not goals.task.holdable(seen["desired_goal"]).any()
    assert seen["observation"].shape == (1, 12)
