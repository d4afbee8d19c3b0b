"""Every registered id through the checks and constructors of Gymnasium and Stable-Baselines3."""

from __future__ import annotations

import pickle
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import simenv
from simenv.errors import ConfigurationError, DeviceError, UnknownTaskError
from tests.envs.support import (
    IDS,
    WALKER,
    assert_same_step,
    random_actions,
    single,
    synchronous,
    vector,
)

MODES = ("NextStep", "SameStep", "Disabled")

WRONG = (
    ({"device": "cuda:99"}, DeviceError, "cuda:99.*available: cpu"),
    ({"size": "huge"}, ConfigurationError, "huge.*small.*full"),
    ({"render_mode": "ansi"}, ConfigurationError, "ansi.*rgb_array"),
    ({"threads": 0}, ConfigurationError, "threads = 0"),
)
WRONG_VECTOR = (
    ({"autoreset_mode": "never"}, "never.*NextStep.*SameStep.*Disabled"),
    ({"output": "jax"}, "jax.*numpy.*torch"),
    ({"max_episode_steps": 0}, "max_episode_steps = 0"),
    ({"num_envs": 0}, "num_envs = 0"),
)


@pytest.mark.parametrize("task_id", IDS)
def test_gymnasium_check(task_id):
    """Gymnasium's checker passes without a warning, in every render mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(task_id, render_mode="rgb_array")
        check_env(env.unwrapped)


@pytest.mark.parametrize("task_id", IDS)
def test_stable_baselines3_check(task_id):
    """Stable-Baselines3's checker passes without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_sb3(gymnasium.make(task_id).unwrapped)


@pytest.mark.parametrize("task_id", IDS)
def test_make_truncates_at_the_horizon(task_id):
    """`make` gives an environment of the listed spaces whose episode lasts the listed horizon."""
    spec = simenv.TASKS[task_id]
    env = gymnasium.make(task_id)
    assert env.action_space.shape == (spec.action,)
    space = env.observation_space
    own = space["observation"] if spec.variant == "goal" else space
    assert own.shape == (spec.observation,)
    env.reset(seed=0)
    ends = []
    for _ in range(spec.horizon):
        _, _, terminated, truncated, _ = env.step(np.zeros(spec.action, np.float32))
        ends.append(terminated or truncated)
    assert ends == [False] * (spec.horizon - 1) + [True]


@pytest.mark.parametrize("task_id", IDS)
def test_make_vec(task_id):
    """`make_vec` gives the native environment, batched and truncated as listed."""
    env = gymnasium.make_vec(task_id, num_envs=3)
    spec = simenv.TASKS[task_id]
    assert type(env.unwrapped).__name__ == "VectorEnv"
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert env.max_episode_steps == spec.horizon
    assert env.action_space.shape == (3, spec.action)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])


@pytest.mark.parametrize("task_id", IDS)
@pytest.mark.parametrize("mode", MODES[:2])
def test_native_equals_synchronous(task_id, mode):
    """Native and Gymnasium's synchronous vector environment agree, episodes ending out of step."""
    native = gymnasium.make_vec(task_id, 3, max_episode_steps=4, autoreset_mode=mode)
    reference = synchronous(task_id, 3, steps=4, mode=mode)
    actions = random_actions(native.action_space, 11)
    actions[1, 0, 0] = 3.0  # something to clip
    assert_same_step(_reset(native, seed=5), _reset(reference, seed=5))
    for t, action in enumerate(actions):
        if t == 2:
            masks = [{"reset_mask": np.array([False, True, False])} for _ in range(2)]
            assert_same_step(_reset(native, options=masks[0]), _reset(reference, options=masks[1]))
        assert_same_step(native.step(action), reference.step(action))


def _reset(env, **options):
    """A reset in the shape of a step."""
    observation, info = env.reset(**options)
    zeros = np.zeros(env.num_envs)
    return observation, zeros, zeros > 0, zeros > 0, info


def _arrays(observation):
    """The arrays of an observation, a dictionary's in the order of its names."""
    parts = observation.values() if isinstance(observation, dict) else [observation]
    return [np.asarray(part) for part in parts]


def test_misspelt_id_is_answered():
    """A misspelt id is answered with the right one."""
    with pytest.raises(gymnasium.error.NameNotFound, match="SoftWalker2D"):
        gymnasium.make("simenv/SoftWalker2d-v0")
    with pytest.raises(UnknownTaskError, match=r"'simenv/SoftWalker2d-v0'.*simenv/SoftWalker2D-v0"):
        simenv.functional("simenv/SoftWalker2d-v0")
    with pytest.raises(UnknownTaskError, match=r"known ids: .*simenv/SoftWalker2D-v0"):
        simenv.functional("zzz")


@pytest.mark.parametrize(("options", "error", "words"), WRONG)
def test_wrong_option_is_named(options, error, words):
    """A wrong option is refused with its value and what is allowed."""
    with pytest.raises(error, match=words):
        single(**options)
    with pytest.raises(error, match=words):
        gymnasium.make_vec(WALKER, num_envs=2, **options)


@pytest.mark.parametrize(("options", "words"), WRONG_VECTOR)
def test_wrong_option_of_the_vector_environment(options, words):
    """The vector environment's own options are checked alike."""
    with pytest.raises(ConfigurationError, match=words):
        gymnasium.make_vec(WALKER, **{"num_envs": 2, **options})


@pytest.mark.parametrize("mode", MODES)
def test_autoreset_mode_by_name_or_enum(mode):
    """The autoreset mode may be given by its name or as the enum."""
    by_name = vector(num_envs=1, autoreset_mode=mode)
    by_enum = vector(num_envs=1, autoreset_mode=AutoresetMode(mode))
    assert by_name.metadata["autoreset_mode"] is by_enum.metadata["autoreset_mode"]
    assert by_name.metadata["autoreset_mode"] is AutoresetMode(mode)


@pytest.mark.parametrize("task_id", IDS)
def test_pickle_makes_the_same_environment(task_id):
    """An unpickled environment has the same constructor arguments and gives the same episodes."""
    batched = vector(task_id, 2, max_episode_steps=5, autoreset_mode="SameStep", output="torch")
    for env in (single(task_id, render_mode="rgb_array"), batched):
        copy = pickle.loads(pickle.dumps(env))
        assert type(copy) is type(env)
        assert (copy._ezpickle_args, copy._ezpickle_kwargs) == (
            env._ezpickle_args,
            env._ezpickle_kwargs,
        )
        assert copy.render_mode == env.render_mode
        action = random_actions(env.action_space, 1)[0]
        outcomes = []
        for one in (env, copy):
            one.reset(seed=3)
            outcomes.append(one.step(action))
        for one, other in zip(*map(_arrays, (outcomes[0][0], outcomes[1][0])), strict=True):
            assert (one == other).all()
        assert (np.asarray(outcomes[0][1]) == np.asarray(outcomes[1][1])).all()
    assert (copy.max_episode_steps, copy.mode, copy.output) == (
        5,
        AutoresetMode.SAME_STEP,
        "torch",
    )
