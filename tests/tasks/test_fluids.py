"""FluidTransport and Pour: scene, reward, success, costs and goals, recomputed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import simenv
from simenv.envs import Functional

TRANSPORT, POUR = "simenv/FluidTransport-v0", "simenv/Pour-v0"
HALF, TALL, BLUR = 0.19, 0.4, 0.01
"""Half width and height of the cup, and blur of the rewards [m]."""


@pytest.fixture(scope="module")
def transport() -> Functional:
    """Two cups to be carried in float64."""
    return simenv.functional(TRANSPORT, num_envs=2, dtype="float64")


@pytest.fixture(scope="module")
def pour() -> Functional:
    """A cup and a glass in float64."""
    return simenv.functional(POUR, dtype="float64")


def posed(state, pose):
    """The state with the cup in a pose (x, y, angle)."""
    changed = state.pose.clone()
    changed[:, 0] = torch.tensor(pose, dtype=changed.dtype)
    return state.replace(pose=changed)


def placed(state, counts):
    """The state with its particles at given places: a mapping of places to how many."""
    x = torch.cat([state.x.new_tensor(place).expand(n, 2) for place, n in counts.items()])
    return state.replace(x=x.expand(state.num_envs, -1, -1))


def sigmoid(depth):
    """Of a depth [m] over the blur."""
    return 1 / (1 + math.exp(-depth / BLUR))


def test_cup_follows_and_stops(transport):
    """The cup goes at 0.8 m/s for an action of one, and stops 0.05 m from the walls."""
    state = posed(transport.initial(seed=0), (0.5, 0.5, 0.0))
    after = transport.transition(state, torch.tensor([[1.0, -0.5]] * 2))
    assert after.pose[0, 0].tolist() == pytest.approx([0.516, 0.492, 0.0])
    near = posed(state, (HALF + 0.051, 0.5, 0.0))
    after = transport.transition(near, torch.tensor([[-1.0, 0.0]] * 2))
    assert float(after.pose[0, 0, 0]) == pytest.approx(HALF + 0.05)


def test_transport_reward_success_and_cost(transport):
    """Nearness to the goal minus what is spilled; the cost counts without blur."""
    state = posed(transport.initial(seed=0), (0.7, 0.5, 0.0))
    total, goal = state.x.shape[1], torch.tensor([[0.715, 0.52], [0.75, 0.5]]).double()
    state = state.replace(context=torch.cat([goal, state.context[:, 2:]], dim=1))
    below, aside = 5, 6
    counts = {
        (0.7, 0.5): total - below - aside,
        (0.7, 0.5 - TALL / 2 - 0.005): below,
        (0.7 + HALF + 0.005, 0.6): aside,
    }
    after, action = placed(state, counts), torch.zeros(2, 2)
    spilled = (below + aside) / total
    assert transport.cost(state, action, after).tolist() == pytest.approx([spilled] * 2)
    blurred = 1 - (total - below - aside + (below + aside) * sigmoid(-0.005)) / total
    # 0.2 m inside of the cup is 20 blurs: e^-19 of a particle is not in it.
    expected = [(1 / (1 + d2 / 0.25**2)) ** 2 - blurred for d2 in (0.025**2, 0.05**2)]
    found = transport.reward(state, action, after).tolist()
    assert found == pytest.approx(expected, abs=1e-7)
    # 11 of 513 are more than 2 %; within 0.03 m is the first environment alone.
    assert transport.success(after).tolist() == [False, False]
    dry = placed(state, {(0.7, 0.5): total})
    assert transport.success(dry).tolist() == [True, False]


def test_transport_goals(transport):
    """Goals fill their box, the middle one is the box's, and they are what the variant gets."""
    task, rng = transport.task, np.random.default_rng(0)
    drawn = np.array([task.draw_goal(rng) for _ in range(200)])
    low, high = np.array([0.7, 0.3]), np.array([1.2, 0.7])
    assert ((drawn >= low) & (drawn <= high)).all()
    # 200 uniform draws: none in the outer 5 % with probability 0.95^200 = 4e-5.
    assert (drawn.min(axis=0) < low + 0.05 * (high - low)).all()
    assert (drawn.max(axis=0) > high - 0.05 * (high - low)).all()
    assert task.middle_goal().tolist() == pytest.approx([0.95, 0.5])
    goal = simenv.functional("simenv/FluidTransport-Goal-v0")
    state = goal.initial(seed=0)
    seen = goal.observation(state)
    assert seen["achieved_goal"][0].tolist() == pytest.approx([0.3, 0.35])
    assert seen["desired_goal"][0].tolist() == pytest.approx(
        np.random.default_rng(0).uniform(low, high).tolist()
    )


def test_water_stays_in_the_cup(transport):
    """In ten steps at rest no water is spilled, and the surface stays where it was."""
    state = transport.initial(seed=0)
    top = state.x[..., 1].amax(dim=1)
    for _ in range(10):
        state = transport.transition(state, torch.zeros(2, 2))
    assert float(transport.task.spilled(state).max()) == 0.0
    # It settles by its compression, ρ g h²/(2 λ) = 0.9 mm, and by at most half a cell on the floor.
    assert float((state.x[..., 1].amax(dim=1) - top).abs().max()) < 0.5 * 1.5 / 72


def test_pour_control(pour):
    """Tilt is clockwise at 1.5 rad/s, x goes at 0.5 m/s, both stop; the glass stands still."""
    state = posed(pour.initial(seed=0), (0.5, 0.8, -1.0))
    after = pour.transition(state, torch.tensor([[1.0, 0.5]]))
    assert after.pose[0, 0].tolist() == pytest.approx([0.505, 0.8, -1.03])
    assert torch.equal(after.pose[0, 1], state.pose[0, 1])
    ends = posed(state, (0.899, 0.8, -2.399))
    after = pour.transition(ends, torch.ones(1, 2))
    assert after.pose[0, 0].tolist() == pytest.approx([0.9, 0.8, -2.4])
    back = pour.transition(posed(state, (0.301, 0.8, -0.001)), -torch.ones(1, 2))
    assert back.pose[0, 0].tolist() == pytest.approx([0.3, 0.8, 0.0])


def test_pour_reward_success_and_cost(pour):
    """The fraction in the glass minus that beside it, below its rim; the rest is in neither."""
    state = pour.initial(seed=0)
    total, action = state.x.shape[1], torch.zeros(1, 2)
    spilled, high = 10, 30
    counts = {
        (0.85, 0.2): total - spilled - high,
        (0.59, 0.1): spilled,
        (0.85, 0.45): high,
    }
    after = placed(state, counts)
    filled = total - spilled - high
    assert float(pour.cost(state, action, after)) == pytest.approx(spilled / total)
    # 0.01 m beside the glass and 0.05 m above the rim; 0.2 m inside is 20 blurs.
    edge, above = sigmoid(0.01), sigmoid(-0.05)
    expected = (filled - spilled * (2 * edge - 1) + high * above) / total
    assert float(pour.reward(state, action, after)) == pytest.approx(expected, abs=1e-7)
    # 400 of 440 are 91 %, 390 are 89 %.
    assert (total, bool(pour.success(after))) == (440, True)
    less = placed(state, {(0.85, 0.2): 390, (0.85, 0.45): 50})
    assert not pour.success(less).any()


def test_pour_observes_the_cup(pour):
    """Place and velocity, sine and cosine of the tilt, and its rate."""
    state = posed(pour.initial(seed=0), (0.75, 0.8, -0.5))
    twist = state.twist.clone()
    twist[:, 0] = torch.tensor([0.25, 0.0, -0.3])
    seen = pour.observation(state.replace(twist=twist))[0, 200:].tolist()
    assert seen == pytest.approx([0.25, 0.5, math.sin(0.5), math.cos(0.5), 0.2])


@pytest.mark.parametrize("name", ["transport", "pour"])
def test_start_lies_within_its_bounds(name, request):
    """Particles start within 2 % of a cell of their lattice, use that range, and are at rest."""
    functional = request.getfixturevalue(name)
    rest, start = functional.simulator.initial_state(), functional.initial(seed=3)
    jitter = (start.x - rest.x).abs() / functional.task.scene.dx
    # 880 uniform draws and more: all below 0.95 of the bound with probability 0.95^880 = 3e-20.
    assert 0.95 * 0.02 < float(jitter.max()) <= 0.02 + 1e-12
    for field in ("v", "C", "F", "pose", "twist"):
        assert torch.equal(getattr(start, field), getattr(rest, field))
