"""The sand tasks: heights, what remains, costs, goals, reach and start, recomputed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import simenv
from simenv.envs import Functional, Start
from simenv.mpm import State

NAMES = ("SandDig", "SandSmooth", "SandPaint")
N = 2
WIDTH, DEPTH, COLUMN = 1.28, 0.1, 0.02
STEP = 0.04
like = {"dtype": torch.float64}


@pytest.fixture(scope="module")
def funcs() -> dict[str, Functional]:
    """Two environments of each task in float64."""
    return {
        name: simenv.functional(f"simenv/{name}-v0", num_envs=N, dtype="float64") for name in NAMES
    }


@pytest.fixture(params=NAMES)
def func(request, funcs) -> Functional:
    """Each task."""
    return funcs[request.param]


def level(func: Functional) -> State:
    """The bed as built, with nothing to remember."""
    state = func.simulator.initial_state()
    goal = torch.full((N, func.task.num_goals), DEPTH, **like)
    return state.replace(context=torch.cat([goal, torch.ones(N, 3, **like)], dim=1))


def squeezed(state: State, slope: float) -> State:
    """The sand left of 0.64 m spread evenly over 1/slope of its width, without change of area."""
    x = state.x.clone()
    left = x[..., 0] < WIDTH / 2
    x[..., 0] = torch.where(left, x[..., 0] / slope, x[..., 0])
    x[..., 1] = torch.where(left, x[..., 1] * slope, x[..., 1])
    return state.replace(x=x)


def test_success_figure_in_the_table():
    """The rows say the quarter that counts as done."""
    assert all("quarter" in simenv.TASKS[f"simenv/{name}-v0"].summary for name in NAMES)


@pytest.mark.parametrize(
    ("size", "particles", "cells"), [("small", 1280, (64, 32)), ("full", 20480, (256, 128))]
)
def test_sizes(func, size, particles, cells):
    """Both sizes are built as documented, of the same area of sand."""
    scene = type(func.task)(size=size).scene
    assert (scene.num_particles, scene.cells, scene.step) == (particles, cells, STEP)
    (bed,) = scene.bodies
    assert bed.volume * particles == pytest.approx(WIDTH * DEPTH, rel=1e-12)


def test_heights_of_a_level_bed(func):
    """All 64 columns of a level bed are 0.1 m high, those at the ends too."""
    # Two particles to a column, halfway between its middle and its ends: the B-spline's shares
    # of an even row add up to the same in every column.
    heights = func.task.heights(level(func))
    torch.testing.assert_close(heights, torch.full((N, 64), DEPTH, **like), rtol=0, atol=1e-12)


def test_heights_hold_all_the_sand(func):
    """Whatever the shape of the bed, the columns hold its area."""
    state = func.initial(seed=0)
    for _ in range(3):
        area = COLUMN * func.task.heights(state).sum(dim=1)
        torch.testing.assert_close(area, torch.full((N,), WIDTH * DEPTH, **like))
        state = squeezed(state, 1.3)


def test_heights_of_one_particle(func):
    """A particle in the middle of a column gives it 3/4 of its area, its neighbours 1/8 each."""
    state = level(func)
    x = state.x.clone()
    x[..., 0] = 20.5 * COLUMN
    heights = func.task.heights(state.replace(x=x))[0] / (WIDTH * DEPTH / COLUMN)
    expected = torch.zeros(64, **like)
    expected[19:22] = torch.tensor([0.125, 0.75, 0.125], **like)
    torch.testing.assert_close(heights, expected, rtol=0, atol=1e-12)


def test_profile_and_outside(func):
    """Sand piled at the left: the worked columns' means, and the share beyond them."""
    state = squeezed(level(func), 2.0)
    heights = func.task.heights(state)
    profile = func.task.profile(state)
    for k in range(16):
        columns = heights[:, 8 + 3 * k : 11 + 3 * k]
        torch.testing.assert_close(profile[:, k], columns.mean(dim=1))
    # Twice as high over the left quarter, nothing over the next: 0.16 m of double height at the
    # left end, 0.16 m of single height at the right end.
    expected = (0.16 * 2 + 0.16) / WIDTH
    torch.testing.assert_close(func.task.outside(state), torch.full((N,), expected, **like))


def test_observation_layout(func):
    """64 heights, pose and twist in their units."""
    state = level(func)
    pose = torch.tensor([0.32, 0.3, -0.5], **like).expand(N, 1, 3)
    twist = torch.tensor([0.25, -0.5, 1.5], **like).expand(N, 1, 3)
    seen = func.task.observe(squeezed(state, 2.0).replace(pose=pose, twist=twist))
    heights = func.task.heights(squeezed(state, 2.0))
    torch.testing.assert_close(seen[:, :64], (heights - DEPTH) / 0.025)
    expected = torch.tensor([-0.5, 2.0, -0.5, 0.5, -1.0, 0.5], **like).expand(N, 6)
    torch.testing.assert_close(seen[:, 64:], expected)


def test_control(func):
    """Within its reach the tool goes as told; at the ends of it no farther."""
    state = level(func)
    task = func.task
    middle = torch.tensor([0.64, 0.4, 0.0], **like).expand(N, 1, 3)
    action = torch.tensor([[0.5, -0.5, 1.0], [-1.0, 1.0, -1.0]], **like)
    command = task.control(state.replace(pose=middle), action).tools
    torch.testing.assert_close(command[:, 0], action * torch.tensor([0.5, 0.5, 3.0], **like))
    near = torch.tensor(task.highest, **like) - torch.tensor([0.004, 0.004, 0.012], **like)
    command = task.control(state.replace(pose=near.expand(N, 1, 3)), torch.ones(N, 3, **like)).tools
    # 4 mm in a step of 0.04 s is 0.1 m/s.
    torch.testing.assert_close(command[:, 0], torch.tensor([[0.1, 0.1, 0.3]] * N, **like))
    low = torch.tensor(task.lowest, **like).expand(N, 1, 3)
    assert (task.control(state.replace(pose=low), -torch.ones(N, 3, **like)).tools == 0).all()


def test_what_is_left_to_dig(funcs):
    """The area above the hole's bottom between its sides, and nothing of what lies elsewhere."""
    task, state = funcs["SandDig"].task, level(funcs["SandDig"])
    # Blurred edges take as much as they give where sand lies on either side of them; above the
    # surface there is none, and what the blur of 5 mm lets in from below the bottom is even.
    full = 0.16 * 0.05
    torch.testing.assert_close(
        task.remaining(state), torch.full((N,), full, **like), rtol=1e-2, atol=0
    )
    x, y = state.x[..., 0], state.x[..., 1]
    inside = (x > 0.56) & (x < 0.72) & (y > 0.05)
    far = state.x.clone()
    far[..., 0] = torch.where(inside, 0.3, x)
    # The blur counts at most ln 2 · 5 mm of what lies beyond each of the three edges.
    blurred = math.log(2) * 0.005 * (0.16 + 2 * 0.05)
    assert (task.remaining(state.replace(x=far)) < blurred).all()
    raised = state.x + torch.tensor([0.0, 0.2], **like) * inside[..., None]
    assert (task.remaining(state.replace(x=raised)) > 0.9 * full).all()


def test_unevenness(funcs):
    """The mean distance of the 16 heights from their mean; a lifted level is as even."""
    task, state = funcs["SandSmooth"].task, level(funcs["SandSmooth"])
    assert float(task.remaining(state).max()) < 1e-12
    hill = squeezed(state, 2.0)
    profile = task.profile(hill).numpy()
    expected = np.abs(profile - profile.mean(axis=1, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(task.remaining(hill).numpy(), expected, rtol=1e-12)
    assert (expected > 0.01).all()


def test_distance_from_the_drawing(funcs):
    """The mean distance of the 16 heights from the goal; the goal's own features."""
    func = funcs["SandPaint"]
    task, state = func.task, func.initial(seed=3)
    goal, profile = task.desired_goal(state), task.achieved_goal(state)
    torch.testing.assert_close(profile, task.profile(state))
    torch.testing.assert_close(task.remaining(state), (profile - goal).abs().mean(dim=1))
    torch.testing.assert_close(func.observation(state)[:, 70:], (goal - DEPTH) / 0.025)


def test_goals(funcs):
    """Furrows take as much sand away as they heap up, lie where drawn, and can be read back."""
    task = funcs["SandPaint"].task
    goals = np.stack([task.draw_goal(np.random.default_rng(k)) for k in range(50)])
    # The tails that reach beyond the worked columns hold less than a millimetre of their height.
    assert np.abs(goals.mean(axis=1) - DEPTH).max() < 1e-3
    assert (goals.min(axis=1) < DEPTH - 0.02).all()
    places, widths = task._read(torch.as_tensor(goals))
    for k in range(50):
        rng = np.random.default_rng(k)
        drawn = [rng.uniform(0.42, 0.5), rng.uniform(0.78, 0.86)]
        # The heights are means over 0.06 m: a fifth of it in place, a tenth in size.
        np.testing.assert_allclose(places[k], drawn, rtol=0, atol=0.012)
        np.testing.assert_allclose(widths[k], rng.uniform(0.07, 0.085, 2), rtol=0.1)
    middle = task.middle_goal()
    # The middle ones lie at 0.46 and 0.82 m, even about 0.64 m.
    np.testing.assert_allclose(middle, middle[::-1], rtol=0, atol=1e-12)


def test_reward_and_success(func):
    """Minus the share that is left and the effort; done at a quarter."""
    task = func.task
    state = func.initial(seed=0)
    action = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]], **like)
    after = func.transition(state, action)
    share = task.remaining(after) / task.remaining(state)
    effort = action.clamp(-1, 1).square().sum(dim=1)
    torch.testing.assert_close(func.reward(state, action, after), -share - 0.01 * effort)
    assert not func.success(state).any()
    # As if there had been 3.9 and 4.1 times as much to do.
    memory = task.remaining(state) * torch.tensor([3.9, 4.1], **like)
    context = torch.cat([state.context[:, :-2], memory[:, None], state.context[:, -1:]], dim=1)
    assert func.success(state.replace(context=context)).tolist() == [False, True]


def test_costs(func):
    """A mean torque beyond the limit, and 2 % of the bed driven out, cost one each."""
    task, state = func.task, func.initial(seed=0)
    impulse = torch.zeros_like(state.impulse)
    impulse[:, 0, 2] = torch.tensor([-1.01, 0.99], **like) * task.torque_limit * STEP
    context = state.context.clone()
    context[:, -1] = task.outside(state) - torch.tensor([0.019, 0.021], **like)
    costs = func.costs(state, torch.zeros(N, 3), state.replace(impulse=impulse, context=context))
    assert costs["torque"].tolist() == [1.0, 0.0]
    assert costs["spill"].tolist() == [0.0, 1.0]


def test_limits_in_the_documentation(func):
    """The limits that the docstring gives are those of the class."""
    text = type(func.task).__doc__ or ""
    assert f"mean torque of more than {func.task.torque_limit:g} N m/m" in text
    assert f"{func.task.scene.cells[0]} × {func.task.scene.cells[1]}" in text


def test_start(func):
    """Starts differ by seed; sand stays in the domain; waves are as high as documented."""
    task = func.task
    state = func.initial(seed=0)
    assert not torch.equal(state.x[0], state.x[1])
    assert torch.equal(func.initial(seed=1).x[0], state.x[1])
    size = torch.tensor([WIDTH, 0.64], **like)
    assert ((state.x >= 0) & (state.x <= size)).all()
    # h = d/(1 + u'): two waves of slopes up to `roughness` each.
    bound = DEPTH / (1 - 2 * task.roughness) - DEPTH + 1e-3
    waves = (task.heights(state) - DEPTH).abs().amax(dim=1)
    assert ((waves > 0.3 * task.roughness * DEPTH) & (waves < bound)).all()
    assert torch.equal(task.remembered(state)[:, 0], task.remaining(state))
    torch.testing.assert_close(task.left(state), torch.ones(N, **like))


def test_material_option_scales_the_friction(func):
    """The material option multiplies the friction angle of the bed."""
    start = func.initial(seed=0, start=Start(material={"friction_angle": 0.9}))
    overrides = func.task.parameters(start)
    assert overrides["bed"]["friction_angle"].tolist() == pytest.approx([31.5] * N)


def test_script_follows_the_way(func):
    """The script drives the tool to the points of the way, between knots along the line."""
    task, state = func.task, func.initial(seed=0)
    knots = task.way(state)[0]
    (t0, *first), (t1, *second) = knots[1].tolist(), knots[2].tolist()
    t = math.floor((t0 + t1) / 2)
    share = (t - t0) / (t1 - t0)
    wanted = np.array(first) + share * (np.array(second) - np.array(first))
    action = task.script(state, t - 1)[0].numpy()
    pose = state.pose[0, 0].numpy()
    np.testing.assert_allclose(action * np.array([0.5, 0.5, 3.0]) * STEP, wanted - pose, atol=1e-12)
