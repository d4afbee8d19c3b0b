"""GatherFloat: floating, the paddle, reward, success and cost, recomputed by hand."""

from __future__ import annotations

import math

import pytest
import torch

import simenv
from simenv.envs import Functional

GATHER = "simenv/GatherFloat-v0"
DX, DEPTH, RADIUS = 0.025, 0.1, 0.04


@pytest.fixture(scope="module")
def gather() -> Functional:
    """Two basins in float64."""
    return simenv.functional(GATHER, num_envs=2, dtype="float64")


def posed(state, rigid, place):
    """The state with a rigid body, by its index, at a place (x, y)."""
    pose = state.pose.clone()
    pose[:, rigid, :2] = torch.tensor(place, dtype=pose.dtype)
    return state.replace(pose=pose)


def test_floats_float(gather):
    """Left alone, both floats come to rest with the part of them under water that they weigh."""
    state, heights = gather.initial(seed=0), []
    for t in range(120):
        state = gather.transition(state, torch.zeros(2, 2))
        if t >= 80:
            heights.append(state.pose[:, 1:, 1])
    mean = torch.stack(heights).mean(dim=0)
    # A disc of 0.3 of water's density sinks in until the segment under water is 0.3 of its area:
    # h = 0.68 r by (φ − sin φ)/(2π) = 0.3. The grid blurs both surfaces by up to half a cell.
    phi = next(p / 1e3 for p in range(6283) if p / 1e3 - math.sin(p / 1e3) > 0.6 * math.pi)
    expected = DEPTH + RADIUS * math.cos(phi / 2)
    torch.testing.assert_close(mean, torch.full_like(mean, expected), rtol=0, atol=DX / 2)
    # They stay afloat, and neither drifts by more than a cell.
    start = gather.initial(seed=0).pose[:, 1:, 0]
    assert float((state.pose[:, 1:, 0] - start).abs().max()) < DX


def test_starts(gather):
    """Floats are drawn in their ranges, each environment its own, on the water."""
    starts = torch.cat([gather.initial(seed=2 * k).pose[:, 1:, :2] for k in range(32)])
    for k, (low, high) in enumerate([(0.45, 0.65), (0.7, 0.9)]):
        x = starts[:, k, 0]
        assert ((x >= low) & (x <= high)).all()
        # 64 uniform draws: none in the outer tenth with probability 0.9^64 = 1e-3.
        assert float(x.min()) < low + 0.02
        assert float(x.max()) > high - 0.02
    assert (starts[:, :, 1] == DEPTH + RADIUS).all()


def test_paddle_stops(gather):
    """The paddle goes at 0.6 m/s and stops at x = 1 m and half a cell above the floor."""
    state = posed(gather.initial(seed=0), 0, (0.5, 0.4))
    after = gather.transition(state, torch.tensor([[1.0, -0.5]] * 2))
    assert after.pose[0, 0].tolist() == pytest.approx([0.512, 0.394, 0.0])
    near = posed(state, 0, (0.995, 0.19))
    after = gather.transition(near, torch.tensor([[1.0, -1.0]] * 2))
    assert after.pose[0, 0].tolist() == pytest.approx([1.0, 0.175 + DX / 2, 0.0])


def test_reward_success_and_cost(gather):
    """Distances to x = 1.3 m; success beyond 1.1 m; a cost above 0.4 m/s."""
    state, action = gather.initial(seed=0), torch.zeros(2, 2)
    one = posed(posed(state, 1, (1.101, 0.15)), 2, (1.35, 0.15))
    expected = -math.hypot(0.199, 0.01) - math.hypot(0.05, 0.01)
    assert gather.reward(state, action, one).tolist() == pytest.approx([expected] * 2)
    assert gather.success(one).all()
    for rigid in (1, 2):
        assert not gather.success(posed(one, rigid, (1.099, 0.15))).any()
    twist = state.twist.clone()
    twist[:, 0, :2] = torch.tensor([[0.3, 0.27], [0.3, 0.26]])
    assert gather.cost(state, action, state.replace(twist=twist)).tolist() == [1.0, 0.0]
