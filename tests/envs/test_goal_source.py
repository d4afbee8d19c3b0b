"""Goals chosen from outside reach the environments that restart, in every autoreset mode."""

import numpy as np
import pytest

from simenv.envs.env import GoalEnv
from simenv.envs.sb3 import SB3VecEnv
from simenv.envs.vector import VectorEnv
from simenv.errors import ConfigurationError, ShapeError
from tests.envs.reach import REACH

WALKER = "tasks.locomotion:SoftWalker2D"


class Source:
    """The goal of environment i at its k-th start is (0.3 + 0.1 i, 0.3 + 0.01 k)."""

    def __init__(self, num_envs):
        self.starts = np.zeros(num_envs, dtype=int)

    def __call__(self, environments):
        goals = np.stack([0.3 + 0.1 * environments, 0.3 + 0.01 * self.starts[environments]], axis=1)
        self.starts[environments] += 1
        return goals


def expected(starts):
    """Goals of the environments at their present starts."""
    return np.stack([0.3 + 0.1 * np.arange(len(starts)), 0.3 + 0.01 * np.asarray(starts)], axis=1)


def goals_of(seen):
    """As the environments show them."""
    return seen["desired_goal"]


def make(mode, num_envs=3):
    """Environments that end after 2 steps, their goals chosen by a source."""
    envs = VectorEnv(
        REACH, num_envs, variant="goal", max_episode_steps=2, autoreset_mode=mode, threads=1
    )
    envs.set_goal_source(Source(num_envs))
    return envs


def test_next_step():
    """The step after the last restarts all of them."""
    envs = make("NextStep")
    starts = [goals_of(envs.reset(seed=0)[0])]
    starts += [goals_of(envs.step(np.zeros((3, 2)))[0]) for _ in range(6)]
    for seen, k in zip(starts, [0, 0, 0, 1, 1, 1, 2], strict=True):
        np.testing.assert_allclose(seen, expected([k] * 3), rtol=1e-6)


def test_same_step():
    """The last step shows the new goal, and the old one in the final observation."""
    envs = make("SameStep")
    envs.reset(seed=0)
    for k in range(3):
        envs.step(np.zeros((3, 2)))
        seen, _, _, _, info = envs.step(np.zeros((3, 2)))
        np.testing.assert_allclose(goals_of(seen), expected([k + 1] * 3), rtol=1e-6)
        final = [goals_of(last) for last in info["final_obs"]]
        np.testing.assert_allclose(final, expected([k] * 3), rtol=1e-6)


def test_disabled():
    """Those that the mask names get goals of their own; the others keep theirs."""
    envs = make("Disabled")
    envs.reset(seed=0)
    mask = np.array([False, True, True])
    seen = envs.reset(options={"reset_mask": mask})[0]
    np.testing.assert_allclose(goals_of(seen), expected([0, 1, 1]), rtol=1e-6)
    seen = envs.reset(options={"reset_mask": ~mask})[0]
    np.testing.assert_allclose(goals_of(seen), expected([1, 1, 1]), rtol=1e-6)


def test_one_that_breaks_restarts_alone():
    """An environment truncated by a fault gets its next goal, the others go on with theirs."""
    envs = make("SameStep")
    envs.reset(seed=0)
    action = np.zeros((3, 2))
    action[1] = np.nan
    seen = envs.step(action)[0]
    np.testing.assert_allclose(goals_of(seen), expected([0, 1, 0]), rtol=1e-6)


def test_goals_given_by_options_win():
    """A reset with the option `target` does not ask the source."""
    envs = make("SameStep")
    seen = envs.reset(seed=0, options={"target": [0.6, 0.4]})[0]
    np.testing.assert_allclose(goals_of(seen), [[0.6, 0.4]] * 3, rtol=1e-6)
    np.testing.assert_allclose(goals_of(envs.reset()[0]), expected([0] * 3), rtol=1e-6)


def test_without_a_source_the_task_draws():
    """Taking the source away gives the goals of the seed again."""
    envs, plain = make("SameStep"), VectorEnv(REACH, 3, variant="goal", threads=1)
    envs.set_goal_source(None)
    np.testing.assert_array_equal(goals_of(envs.reset(seed=4)[0]), goals_of(plain.reset(seed=4)[0]))


def test_single_environment_and_adapter():
    """Both faces take a source."""
    env = GoalEnv(REACH, variant="goal")
    env.set_goal_source(Source(1))
    np.testing.assert_allclose(goals_of(env.reset(seed=0)[0]), [0.3, 0.3], rtol=1e-6)
    adapter = SB3VecEnv(REACH, 2, variant="goal", threads=1)
    adapter.env_method("set_goal_source", Source(2), indices=[0])
    np.testing.assert_allclose(goals_of(adapter.reset()), expected([0, 0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("goals", "error", "words"),
    [
        (np.zeros((3, 3)), ShapeError, "goals of the source"),
        (np.full((3, 2), np.nan), ShapeError, "finite"),
    ],
)
def test_wrong_goals_are_named(goals, error, words):
    """Goals of another shape, or that are not numbers."""
    envs = make("SameStep")
    envs.set_goal_source(lambda environments: goals)
    with pytest.raises(error, match=words):
        envs.reset(seed=0)


def test_a_task_without_goals_takes_no_source():
    """A task without goals says so."""
    envs = VectorEnv(WALKER, 1, threads=1)
    with pytest.raises(ConfigurationError, match="has no goals to choose"):
        envs.set_goal_source(Source(1))
