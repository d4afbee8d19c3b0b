"""The Stable-Baselines3 adapter."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecMonitor

from simenv.envs.sb3 import SB3VecEnv
from simenv.errors import UnknownTaskError
from tests.envs.support import FACES, WALKER, random_actions, set_velocity, vector

N, STEPS = 3, 4


@pytest.fixture(scope="module", params=FACES)
def pair(request):
    """The adapter and the environment that it adapts."""
    native = vector(request.param, N, max_episode_steps=STEPS, autoreset_mode="SameStep")
    return SB3VecEnv(request.param, N, max_episode_steps=STEPS), native


def start(pair, seed: int = 5) -> np.ndarray:
    """Reset both to one seed; returns a few episodes of actions."""
    adapter, native = pair
    adapter.seed(seed)
    np.testing.assert_array_equal(adapter.reset(), native.reset(seed=seed)[0])
    return random_actions(native.action_space, 2 * STEPS + 1)


def test_equals_the_native_environment(pair):
    """Observations, rewards and ends are the native environment's; rewards are float32."""
    adapter, native = pair
    for action in start(pair):
        observation, reward, done, infos = adapter.step(action)
        expected = native.step(action)
        np.testing.assert_array_equal(observation, expected[0])
        np.testing.assert_array_equal(reward, expected[1].astype(np.float32))
        np.testing.assert_array_equal(done, expected[2] | expected[3])
        assert (observation.dtype, reward.dtype, done.dtype) == (np.float32, np.float32, bool)
        assert len(infos) == N


def test_end_of_an_episode(pair):
    """The last observation and the time limit are in the info of the last step, and only there."""
    adapter, native = pair
    for t, action in enumerate(start(pair)):
        observation, _, done, infos = adapter.step(1.5 * np.sign(action))
        final = native.step(1.5 * np.sign(action))[4]
        last = t % STEPS == STEPS - 1
        assert done.tolist() == [last] * N
        for info in infos:
            assert ("terminal_observation" in info) == last
            assert info.get("TimeLimit.truncated", False) is last
            assert type(info["success"]) is bool
            assert type(info["clipped"]) is int
        if last:
            for i, info in enumerate(infos):
                np.testing.assert_array_equal(info["terminal_observation"], final["final_obs"][i])
                assert not np.array_equal(info["terminal_observation"], observation[i])
                assert info["clipped"] == final["final_info"]["clipped"][i] > 0


def test_faults_are_reported(pair):
    """A broken environment ends as truncated, with the reason in its own info only."""
    adapter, _ = pair
    action = start(pair)[0]
    set_velocity(adapter.envs, 1, 1e30)  # its square overflows float32
    _, _, done, infos = adapter.step(action)
    assert done.tolist() == [False, True, False]
    assert "non-finite state" in infos[1]["fault"]
    assert infos[1]["TimeLimit.truncated"] is True
    assert not any("fault" in infos[i] for i in (0, 2))


def test_seed_is_used_once(pair):
    """`seed` fixes the next reset; the one after goes on from there."""
    adapter, _ = pair
    episodes = []
    for _ in range(2):
        adapter.seed(3)
        episodes.append((adapter.reset(), adapter.reset()))
    np.testing.assert_array_equal(episodes[0], episodes[1])
    assert not np.array_equal(*episodes[0])


def test_attributes_and_methods(pair):
    """Attributes are shared: one value per index, set for all or not at all."""
    adapter, _ = pair
    assert adapter.get_attr("max_episode_steps") == [STEPS] * N
    assert adapter.get_attr("max_episode_steps", [0, 2]) == [STEPS] * 2
    assert adapter.env_method("render", indices=[0, 2]) == [None] * 2
    assert adapter.env_is_wrapped(VecMonitor) == [False] * N
    with pytest.raises(ValueError, match="set all of them"):
        adapter.set_attr("max_episode_steps", 7, indices=1)
    adapter.set_attr("max_episode_steps", STEPS + 1)
    assert adapter.get_attr("max_episode_steps", 1) == [STEPS + 1]
    adapter.set_attr("max_episode_steps", STEPS)


def test_frames():
    """Frames of all environments come as a list, and tile into one picture."""
    env = SB3VecEnv(WALKER, 2, render_mode="rgb_array")
    env.reset()
    assert [image.shape for image in env.get_images()] == [(360, 720, 3)] * 2
    assert env.render().shape == (720, 720, 3)
    assert SB3VecEnv(WALKER, 2).get_images() == [None, None]


def test_unknown_id():
    """A misspelt id is answered with the right one."""
    with pytest.raises(UnknownTaskError, match="SoftWalker2D-v0"):
        SB3VecEnv("simenv/SoftWalker-v0")


def test_monitor_and_learning(pair):
    """SAC learns 200 steps through a VecMonitor, whose episodes have the right length."""
    env = VecMonitor(SB3VecEnv(WALKER, 4, max_episode_steps=20))
    model = SAC(
        "MlpPolicy",
        env,
        seed=0,
        learning_starts=40,
        batch_size=32,
        gradient_steps=1,
        policy_kwargs={"net_arch": [16]},
    )
    before = [p.detach().clone() for p in model.actor.parameters()]
    model.learn(200)
    assert model.num_timesteps == 200
    episodes = list(model.ep_info_buffer)
    assert [episode["l"] for episode in episodes] == [20] * 8  # 50 steps in each of 4 environments
    assert all(np.isfinite(episode["r"]) for episode in episodes)
    moved = [bool((p != b).any()) for p, b in zip(model.actor.parameters(), before, strict=True)]
    assert all(moved)
