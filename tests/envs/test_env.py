"""The single environment: actions good and bad, order of calls, rendering."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from simenv.envs import Env
from simenv.errors import InvalidActionError, ShapeError
from tests.envs.support import FACES, assert_same_state, set_velocity, single, state_of

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module", params=FACES)
def env(request) -> Env:
    """One environment per task."""
    return single(request.param)


def size(env: Env) -> int:
    """Length of an action."""
    return env.action_space.shape[0]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_non_finite_action_names_its_index(env, value):
    """A non-finite action is refused by index and value, and nothing changes."""
    env.reset(seed=0)
    before = state_of(env)
    action = np.zeros(size(env))
    action[1] = value
    with pytest.raises(InvalidActionError, match=rf"action\[1\] = {value} is not finite"):
        env.step(action)
    assert_same_state(state_of(env), before)


@pytest.mark.parametrize("kind", ["short", "long", "batched", "scalar"])
def test_wrong_shape_is_named(env, kind):
    """An action of the wrong shape is refused with expected and actual, and nothing changes."""
    env.reset(seed=0)
    before, n = state_of(env), size(env)
    shape = {"short": (n - 1,), "long": (n + 1,), "batched": (1, n), "scalar": ()}[kind]
    with pytest.raises(ShapeError) as caught:
        env.step(np.zeros(shape))
    assert f"shape {shape}, expected {(n,)}" in str(caught.value)
    assert_same_state(state_of(env), before)


@pytest.mark.parametrize("action", ["forward", [[1.0, 2.0], [3.0]], [0.0, "x"]])
def test_action_that_is_no_array(env, action):
    """Something that is not an array of numbers is refused as such."""
    env.reset(seed=0)
    with pytest.raises(ShapeError, match="not an array of numbers"):
        env.step(action)


def test_kinds_of_action(env):
    """float32, float64, a list and a tensor of the same numbers do the same to the last bit."""
    action = np.linspace(-1.0, 1.0, size(env)).astype(np.float32)
    kinds = [action, action.astype(np.float64), action.tolist(), torch.as_tensor(action)]
    outcomes = []
    for kind in kinds:
        env.reset(seed=0)
        outcomes.append(env.step(kind))
    for observation, reward, *_ in outcomes[1:]:
        np.testing.assert_array_equal(observation, outcomes[0][0])
        assert reward == outcomes[0][1]
    assert {o[0].dtype for o in outcomes} == {np.dtype(np.float32)}


def test_out_of_range_is_clipped_and_counted(env):
    """Components outside [-1, 1] act as the bound does; `info["clipped"]` counts them."""
    bound = np.ones(size(env))
    bound[0] = -1.0
    results = []
    for action in (bound, bound * 7.0):
        env.reset(seed=0)
        results.append(env.step(action))
    assert results[0][4]["clipped"] == 0
    assert results[1][4]["clipped"] == size(env)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_action_of_the_caller_is_left_alone(env):
    """A step does not write into the action it is given."""
    env.reset(seed=0)
    action = torch.full((size(env),), 2.0)
    env.step(action)
    assert torch.equal(action, torch.full((size(env),), 2.0))


def test_types_of_a_step(env):
    """Reward, ends and info are plain Python values."""
    _, info = env.reset(seed=0)
    assert info == {"success": False, "clipped": 0}
    _, reward, terminated, truncated, info = env.step(np.zeros(size(env)))
    assert [type(v) for v in (reward, terminated, truncated)] == [float, bool, bool]
    assert [type(v) for v in info.values()] == [bool, int]


def test_observations_are_kept(env):
    """Later steps do not write into an observation given out before."""
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second = env.step(np.ones(size(env)))[0]
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)


def test_seeds(env):
    """The same seed gives the same episode, another seed another; no seed goes on at random."""
    action = np.full(size(env), 0.5)

    def episode(seed):
        start, _ = env.reset(seed=seed)
        return np.stack([start, *(env.step(action)[0] for _ in range(3))])

    first, again, other = episode(1), episode(1), episode(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    env.reset(seed=1)
    follower = episode(None)
    assert not np.array_equal(first[0], follower[0])
    env.reset(seed=1)
    np.testing.assert_array_equal(follower, episode(None))


def test_broken_state_ends_the_episode(env):
    """A step that breaks the simulation is undone, truncates, and says why."""
    env.reset(seed=0)
    set_velocity(env, 0, 1e30)  # its square overflows float32
    before = state_of(env)
    observation, reward, terminated, truncated, info = env.step(np.zeros(size(env)))
    assert (terminated, truncated) == (False, True)
    assert "non-finite state" in info["fault"]
    assert np.isfinite(observation).all()
    assert np.isfinite(reward)
    for name in ("x", "v", "C", "F"):
        assert torch.equal(getattr(state_of(env), name), getattr(before, name))
    env.reset(seed=0)
    assert "fault" not in env.step(np.zeros(size(env)))[4]


@pytest.mark.parametrize("task_id", FACES)
def test_order_of_calls(task_id):
    """Stepping or rendering before reset, and stepping after close, is refused."""
    env = single(task_id, render_mode="rgb_array")
    action = np.zeros(size(env))
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(action)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.render()
    env.reset(seed=0)
    env.step(action)
    env.close()
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(action)


@pytest.mark.parametrize("task_id", FACES)
def test_render(task_id):
    """Frames show the state and the action, not the episode before; no mode, no frame."""
    assert single(task_id).render() is None
    env = single(task_id, render_mode="rgb_array")
    env.reset(seed=0)
    start = env.render()
    assert (start.shape, start.dtype) == ((360, 720, 3), np.uint8)
    env.step(np.ones(size(env)))
    assert not np.array_equal(env.render(), start)
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), start)
