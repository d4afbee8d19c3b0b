"""Hindsight replay on the native environments, and its state."""
# ruff: noqa: NPY002 (the buffer draws from numpy's global generator)

import numpy as np
import pytest
import torch

from agents.environments import EpisodeMonitor
from agents.goals.her import HerBuffer
from simenv.envs.sb3 import SB3VecEnv
from simenv.errors import ConfigurationError
from tests.envs.reach import REACH

STEPS = 4


@pytest.fixture(scope="module")
def env():
    """Two environments of the small reaching task, episodes of four steps, behind the monitor."""
    torch.set_num_threads(1)
    return EpisodeMonitor(SB3VecEnv(REACH, 2, variant="goal", max_episode_steps=STEPS, threads=1))


def make_buffer(env, size=100):
    """An empty buffer."""
    spaces = env.observation_space, env.action_space
    return HerBuffer(size, *spaces, env=env, n_envs=2)


def fill(buffer, env, steps, seed=0):
    """Random actions, as `OffPolicyAlgorithm` hands them over."""
    rng = np.random.default_rng(seed)
    env.seed(seed)
    seen = env.reset()
    for _ in range(steps):
        action = rng.uniform(-1, 1, (2, 2)).astype(np.float32)
        after, reward, done, infos = env.step(action)
        stored = {key: part.copy() for key, part in after.items()}
        for i in np.flatnonzero(done):
            for key, part in infos[i]["terminal_observation"].items():
                stored[key][i] = part
        buffer.add(seen, stored, action, reward, done, infos)
        seen = after
    return buffer


def test_relabelled_rewards_are_those_of_the_new_goals(env):
    """Every sampled reward is 0 within the tolerance of the sampled goal, else -1, in float32."""
    buffer = fill(make_buffer(env), env, 12)
    drawn = set(map(tuple, buffer.observations["desired_goal"][:12].reshape(-1, 2)))
    np.random.seed(0)
    batch = buffer.sample(400)
    goals = batch.observations["desired_goal"]
    assert torch.equal(goals, batch.next_observations["desired_goal"])
    distance = torch.linalg.vector_norm(batch.next_observations["achieved_goal"] - goals, dim=1)
    torch.testing.assert_close(batch.rewards[:, 0], -(distance > 0.05).float())
    assert batch.rewards.dtype == batch.observations["achieved_goal"].dtype == torch.float32
    # Four of five samples are relabelled with goals that were achieved, the others keep theirs.
    relabelled = np.mean([tuple(goal) not in drawn for goal in goals.numpy()])
    assert relabelled == pytest.approx(0.8)


def test_time_limits_are_no_ends(env):
    """Episodes end by the time limit alone, so no sampled transition is an end."""
    buffer = fill(make_buffer(env), env, 12)
    assert buffer.dones[:12].sum() == 2 * 12 / STEPS
    assert not bool(buffer.sample(200).dones.any())


def test_infos_are_not_kept(env):
    """They could not be saved."""
    with pytest.raises(ConfigurationError, match="copy_info_dict"):
        HerBuffer(10, env.observation_space, env.action_space, env=env, copy_info_dict=True)


@pytest.mark.parametrize("steps", [10, 70])
def test_state_round_trip(env, steps):
    """Half filled or gone round, in the middle of episodes: later samples are the same."""
    one, other = (make_buffer(env) for _ in range(2))
    fill(one, env, steps)
    fill(other, env, 30, seed=5)
    state = one.get_state()
    assert len(state["rewards"]) == min(steps, one.buffer_size)
    other.set_state(state)
    for buffer in (one, other):
        fill(buffer, env, 7, seed=1)
    batches = []
    for buffer in (one, other):
        np.random.seed(3)
        batches.append(buffer.sample(64))
    for key, seen in batches[0].observations.items():
        assert torch.equal(seen, batches[1].observations[key])
        assert torch.equal(batches[0].next_observations[key], batches[1].next_observations[key])
    for name in ("actions", "dones", "rewards"):
        assert torch.equal(getattr(batches[0], name), getattr(batches[1], name))
