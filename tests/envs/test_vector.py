"""The native vector environment: equal to single environments, in every autoreset mode."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from simenv.errors import ConfigurationError
from tests.envs.support import (
    FACES,
    OBSERVATION_ATOL,
    REWARD_ATOL,
    assert_same_state,
    assert_same_step,
    random_actions,
    set_velocity,
    single,
    state_of,
    synchronous,
    vector,
)

N, STEPS = 3, 4


@pytest.fixture(scope="module", params=FACES)
def task_id(request) -> str:
    """Every task in turn."""
    return request.param


@pytest.mark.parametrize("seed", [11, [4, 9, 2]])
def test_next_step_equals_single_environments(task_id, seed):
    """N environments do what N single ones with seeds s + i do, across the end of an episode."""
    batched = vector(task_id, N, max_episode_steps=STEPS)
    singles = [single(task_id) for _ in range(N)]
    seeds = seed if isinstance(seed, list) else [seed + i for i in range(N)]
    observation, _ = batched.reset(seed=seed)
    starts = [env.reset(seed=s)[0] for env, s in zip(singles, seeds, strict=True)]
    np.testing.assert_allclose(observation, np.stack(starts), rtol=0, atol=OBSERVATION_ATOL)
    for t, actions in enumerate(random_actions(batched.action_space, 2 * STEPS + 3)):
        actions[0] *= 1.5  # some components out of range
        got = batched.step(actions)
        phase = t % (STEPS + 1)  # the step after an episode's last resets
        if phase == STEPS:
            _check_reset(got, [env.reset() for env in singles])
        else:
            rows = [env.step(a) for env, a in zip(singles, actions, strict=True)]
            _check_rows(got, rows, truncated=phase == STEPS - 1)
        for i, env in enumerate(singles):
            assert_same_state(state_of(batched)[i : i + 1], state_of(env))


def _check_reset(got, starts):
    """The step that resets: new observations, no reward, nothing ended."""
    observations = np.stack([observation for observation, _ in starts])
    np.testing.assert_allclose(got[0], observations, rtol=0, atol=OBSERVATION_ATOL)
    np.testing.assert_array_equal(got[1], np.zeros(N))
    np.testing.assert_array_equal(got[2:4], np.zeros((2, N)))
    _check_info(got[4], [info for _, info in starts])


def _check_rows(got, rows, truncated):
    """One step against the steps of single environments."""
    observations, rewards, terminations, _, infos = zip(*rows, strict=True)
    np.testing.assert_allclose(got[0], np.stack(observations), rtol=0, atol=OBSERVATION_ATOL)
    np.testing.assert_allclose(got[1], np.array(rewards), rtol=0, atol=REWARD_ATOL)
    np.testing.assert_array_equal(got[2], np.array(terminations))
    np.testing.assert_array_equal(got[3], np.full(N, truncated))
    _check_info(got[4], infos)


def _check_info(got, infos):
    """Vector info against the infos of single environments."""
    assert {key for key in got if not key.startswith("_")} == {"success", "clipped"}
    for key in ("success", "clipped"):
        np.testing.assert_array_equal(got[key], np.array([info[key] for info in infos]))
        assert got[f"_{key}"].all()


def test_autoreset_draws_a_new_start(task_id):
    """The episode after an automatic reset starts elsewhere than the one before."""
    env = vector(task_id, N, max_episode_steps=1)
    first, _ = env.reset(seed=0)
    env.step(env.action_space.sample())
    second = env.step(env.action_space.sample())[0]
    assert all(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_same_step_gives_the_final_observation(task_id):
    """SAME_STEP: `final_obs` is the old episode's end, the observation a new start."""
    env = vector(task_id, N, max_episode_steps=STEPS, autoreset_mode="SameStep")
    plain = vector(task_id, N, autoreset_mode="Disabled")
    env.reset(seed=3)
    plain.reset(seed=3)
    actions = random_actions(env.action_space, STEPS)
    for action in actions[:-1]:
        assert not {"final_obs", "final_info"} & env.step(action)[4].keys()
        plain.step(action)
    observation, reward, _, truncated, info = env.step(actions[-1] * 2.0)
    last = plain.step(actions[-1] * 2.0)
    assert truncated.all()
    np.testing.assert_array_equal(reward, last[1])
    assert info["_final_obs"].all()
    np.testing.assert_array_equal(np.stack(list(info["final_obs"])), last[0])
    for key in ("success", "clipped"):
        np.testing.assert_array_equal(info["final_info"][key], last[4][key])
        assert info["final_info"][f"_{key}"].all()
    np.testing.assert_array_equal(info["clipped"], np.zeros(N))
    np.testing.assert_array_equal(observation, env._episodes.observe().numpy())
    assert (state_of(env).time == 0).all()


def test_same_step_masks_name_the_finished(task_id):
    """SAME_STEP, episodes out of step: only the finished ones have final entries."""
    env = vector(task_id, N, max_episode_steps=3, autoreset_mode="SameStep")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.reset(options={"reset_mask": np.array([True, False, True])})
    env.step(env.action_space.sample())
    info = env.step(env.action_space.sample())[4]
    finished = [False, True, False]
    assert info["_final_obs"].tolist() == info["_final_info"].tolist() == finished
    assert [row is not None for row in info["final_obs"]] == finished
    assert info["final_info"]["_success"].tolist() == finished
    assert state_of(env).time.tolist() == [2, 0, 2]


def test_disabled_refuses_to_step_the_finished(task_id):
    """DISABLED: stepping is refused while one has finished, and the refusal changes nothing."""
    env = vector(task_id, N, max_episode_steps=3, autoreset_mode="Disabled")
    env.reset(seed=0)
    action = random_actions(env.action_space, 1)[0]
    env.step(action)
    env.reset(options={"reset_mask": np.array([True, False, True])})
    env.step(action)
    assert env.step(action)[3].tolist() == [False, True, False]
    before = state_of(env)
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"\[1\] have finished.*reset_mask"):
        env.step(action)
    assert_same_state(state_of(env), before)
    env.reset(options={"reset_mask": np.array([False, True, False])})
    assert env.step(action)[3].tolist() == [True, False, True]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_reset_mask_leaves_the_others(task_id, mode):
    """A masked reset renews those rows and leaves the others as they were, to the last bit."""
    env = vector(task_id, N, autoreset_mode=mode)
    env.reset(seed=0)
    before, *_ = env.step(random_actions(env.action_space, 1)[0])
    state = state_of(env)
    observation, info = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert_same_state(state_of(env), state, rows=[0, 2])
    assert not torch.equal(state_of(env).x[1], state.x[1])
    np.testing.assert_array_equal(observation[[0, 2]], before[[0, 2]])
    assert info["_success"].tolist() == [False, True, False]
    assert state_of(env).time.tolist() == [1, 0, 1]


def test_reset_mask_with_seed(task_id):
    """A masked reset with seed s starts environment i from s + i; the others keep their own."""
    env, whole = vector(task_id, N), vector(task_id, N)
    env.reset(seed=0)
    env.reset(seed=40, options={"reset_mask": np.array([False, False, True])})
    whole.reset(seed=40)
    assert_same_state(state_of(env), state_of(whole), rows=[2])
    whole.reset(seed=0)
    assert_same_state(state_of(env), state_of(whole), rows=[0, 1])
    for one in (env, whole):
        one.reset()
    assert_same_state(state_of(env), state_of(whole), rows=[0, 1])
    assert not torch.equal(state_of(env).x[2], state_of(whole).x[2])


@pytest.mark.parametrize(
    "mask",
    [np.zeros(N, bool), np.ones(N + 1, bool), np.ones(N), np.ones((N, 1), bool), "all"],
    ids=["empty", "long", "numbers", "column", "word"],
)
def test_bad_reset_mask_is_refused(task_id, mask):
    """A mask that is not N bools with one True is refused, and nothing changes."""
    env = vector(task_id, N)
    env.reset(seed=0)
    before = state_of(env)
    with pytest.raises(ConfigurationError, match=rf"reset_mask (must be .*\({N},\)|is all False)"):
        env.reset(options={"reset_mask": mask})
    assert_same_state(state_of(env), before)


def test_first_reset_must_be_whole(task_id):
    """Before anything runs there is nothing that a mask could leave as it is."""
    env = vector(task_id, N)
    with pytest.raises(ConfigurationError, match="first reset"):
        env.reset(options={"reset_mask": np.array([True, False, False])})


def test_wrong_number_of_seeds(task_id):
    """A list of seeds must be as long as there are environments."""
    with pytest.raises(ConfigurationError, match=f"2 seeds for {N} environments"):
        vector(task_id, N).reset(seed=[0, 1])


def test_order_of_calls(task_id):
    """Stepping before reset and anything after close are refused."""
    env = vector(task_id, N)
    action = env.action_space.sample()
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(action)
    env.reset(seed=0)
    env.close()
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        env.step(action)
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        env.reset()


def test_threads_make_no_difference(task_id):
    """One thread or three: the same states to the last bit."""
    envs = [vector(task_id, N, threads=threads) for threads in (1, N)]
    actions = random_actions(envs[0].action_space, 3)
    for env in envs:
        env.reset(seed=0)
        for action in actions:
            env.step(action)
    assert_same_state(state_of(envs[0]), state_of(envs[1]))


def test_frames(task_id):
    """Each environment has a frame of its own, the one that a single environment would draw."""
    env = vector(task_id, 2, render_mode="rgb_array")
    lone = single(task_id, render_mode="rgb_array")
    env.reset(seed=0)
    lone.reset(seed=1)
    action = random_actions(env.action_space, 1)[0]
    env.step(action)
    lone.step(action[1])
    frames = env.render()
    assert len(frames) == 2
    assert not np.array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[1], lone.render())
    assert vector(task_id, 1).render() is None


def test_faults_as_the_synchronous_environment_reports_them(task_id):
    """SAME_STEP: a broken step appears in `final_info` and its masks as Gymnasium's does it."""
    native = vector(task_id, N, max_episode_steps=STEPS, autoreset_mode="SameStep")
    reference = synchronous(task_id, N, steps=STEPS, mode="SameStep")
    action = random_actions(native.action_space, 1)[0]
    for env in (native, reference):
        env.reset(seed=0)
    set_velocity(native, 1, 1e30)  # its square overflows float32
    set_velocity(reference.envs[1], 0, 1e30)
    got = native.step(action)
    assert_same_step(got, reference.step(action))
    assert got[3].tolist() == [False, True, False]
    assert "non-finite state" in got[4]["final_info"]["fault"][1]
    assert_same_step(native.step(action), reference.step(action))
