"""Tools that a task commands a velocity which is not finite: named, or a fault of their own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from simenv import mpm
from simenv.envs import Env, Task, VectorEnv
from simenv.errors import InvalidActionError
from tests.envs.support import assert_same_state, state_of

PATH = f"{__name__}:Poke"


class Poke(Task):
    """A tool above a block moves at 1/(1 − a) m/s: an action of one is out of what it can do."""

    num_actions, num_observations, horizon = 1, 2, 5

    def __init__(self) -> None:
        super().__init__()
        self.scene = mpm.Scene((1.0, 1.0), (8, 8), step=5e-3)
        law = mpm.NeoHookean(E=1e4, nu=0.3, density=1e3)
        self.scene.add_body(mpm.Box((0.5, 0.15), (0.3, 0.3)), law)
        self.scene.add_tool(mpm.Sphere((0.5, 0.7), 0.1), name="poker")

    def perturb(self, rest: mpm.State, rngs: Any) -> mpm.State:
        return rest

    def control(self, state: mpm.State, action: torch.Tensor) -> mpm.Control:
        tools = torch.zeros(len(action), 1, 3, dtype=action.dtype)
        tools[:, 0, 1] = -1 / (1 - action[:, 0])
        return mpm.Control(tools=tools)

    def observe(self, state: mpm.State) -> torch.Tensor:
        return state.pose[:, 0, :2]

    def reward(self, state: mpm.State, action: torch.Tensor, after: mpm.State) -> torch.Tensor:
        return after.pose[:, 0, 1]

    def success(self, state: mpm.State) -> torch.Tensor:
        return state.pose[:, 0, 1] < 0.0

    def picture(self, state: mpm.State, action: torch.Tensor | None) -> dict[str, Any]:
        return {}


def test_single_environment_names_the_tool():
    """The error says which tool; the episode is as it was and goes on."""
    env = Env(PATH)
    env.reset(seed=0)
    env.step(np.array([0.5]))
    before = state_of(env)
    with pytest.raises(InvalidActionError, match=r"tool 'poker' of environment 0 .*-inf"):
        env.step(np.array([1.0]))
    assert isinstance(InvalidActionError(), ValueError)
    assert_same_state(state_of(env), before)
    observation, *_ = env.step(np.array([0.5]))
    assert math.isclose(float(observation[1]), 0.7 - 2 * 2 * 5e-3, rel_tol=1e-5)


def test_vector_environment_faults_alone():
    """That environment is truncated with its fault and keeps its state; others notice nothing."""
    env, clean = VectorEnv(PATH, 3), VectorEnv(PATH, 3)
    for one in (env, clean):
        one.reset(seed=0)
        one.step(np.full((3, 1), 0.5))
    before = state_of(env)
    got = env.step(np.array([[0.5], [1.0], [0.2]]))
    expected = clean.step(np.array([[0.5], [0.0], [0.2]]))
    assert got[3].tolist() == [False, True, False]
    assert "tool command" in got[4]["fault"][1]
    for a, b in zip(got[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])
    assert_same_state(state_of(env), state_of(clean), rows=[0, 2])
    assert torch.equal(state_of(env).pose[1], before.pose[1])
    assert torch.equal(state_of(env).twist[1], before.twist[1])
