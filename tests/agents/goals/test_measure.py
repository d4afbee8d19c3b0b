"""Success rates on a fixed set of goals."""

import numpy as np
import pytest

from agents.goals.measure import success_rates
from simenv.envs.sb3 import SB3VecEnv
from tests.envs.reach import REACH


class Chaser:
    """Moves the tool straight to the goal; `overshoot` moves on once it is there."""

    def __init__(self, overshoot=False):
        self.overshoot, self.goals = overshoot, []

    def predict(self, observation, deterministic):
        assert deterministic
        self.goals.append(observation["desired_goal"])
        away = observation["desired_goal"] - observation["achieved_goal"]
        near = np.linalg.norm(away, axis=1, keepdims=True) < 0.05
        action = np.clip(away / 0.05, -1, 1)
        return np.where(near & self.overshoot, [[0.0, 1.0]], action).astype(np.float32), None


@pytest.fixture(scope="module")
def env():
    """Sixteen environments whose goals lie at most ten steps away."""
    return SB3VecEnv(REACH, 16, variant="goal", threads=1)


def test_rates(env):
    """A controller that holds its goals, and one that leaves them upwards after a while."""
    assert success_rates(Chaser(), env) == (1.0, 1.0, 1.0)
    any_step, last_step, near = success_rates(Chaser(overshoot=True), env)
    assert any_step == 1.0
    assert last_step == near < 1.0


def test_the_same_goals_every_time(env):
    """Goals depend on the seed alone."""
    one, again, other = Chaser(), Chaser(), Chaser()
    success_rates(one, env)
    success_rates(again, env)
    success_rates(other, env, seed=5)
    np.testing.assert_array_equal(one.goals[0], again.goals[0])
    assert (one.goals[0] != other.goals[0]).any()
