"""Goals on their way from a sampler to the environments, and episodes on their way back."""

import numpy as np
import pytest
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.vec_env import VecNormalize

from agents.environments import EpisodeMonitor, make_vec
from agents.goals.feed import GoalFeed
from agents.goals.her import HerBuffer
from agents.goals.sampler import GoalBox, GoalSampler
from agents.goals.training import make_goal_training
from simenv.envs.sb3 import SB3VecEnv
from simenv.errors import ConfigurationError
from tests.envs.reach import REACH

FINGER = "simenv/FingerReach2D-Goal-v0"
BOX = GoalBox(np.array([0.3, 0.3]), np.array([0.7, 0.7]))


class Counting(GoalSampler):
    """Goal number k is (0.3 + 0.001 k, 0.5); keeps what it is told."""

    def __init__(self):
        self.count, self.episodes, self.steps = 0, [], 0

    def draw(self, count):
        self.count += count
        numbers = self.count - count + np.arange(count)
        return np.stack([0.3 + 0.001 * numbers, np.full(count, 0.5)], axis=1)

    def observe(self, episode):
        self.episodes.append(episode)

    def advance(self, steps):
        self.steps += steps

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


def make_env(num_envs=3, steps=4):
    """The small reaching task."""
    env = SB3VecEnv(REACH, num_envs, variant="goal", max_episode_steps=steps, threads=1)
    return EpisodeMonitor(env)


def tell(feed, step):
    """What an agent's loop does after a step of the environments."""
    feed.update_locals(dict(zip(("new_obs", "rewards", "dones", "infos"), step, strict=True)))
    feed.on_step()


def make_agent(env, feed=None, **options):
    """An agent of Stable-Baselines3's own that learns from hindsight."""
    return TD3(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerBuffer,
        learning_starts=12,
        batch_size=8,
        buffer_size=300,
        policy_kwargs={"net_arch": [8]},
        device="cpu",
        seed=0,
        **options,
    )


@pytest.fixture(scope="module")
def fed():
    """Three environments after 13 steps of episodes of four."""
    torch.set_num_threads(1)
    env, sampler = make_env(), Counting()
    feed = GoalFeed(sampler, env)
    make_agent(env).learn(39, callback=feed)
    return env, sampler, feed


def test_sampler_hears_of_every_episode(fed):
    """Nine episodes of four steps, each with its own goal, start and achieved goals."""
    _, sampler, _ = fed
    assert sampler.steps == 39
    assert len(sampler.episodes) == 9
    goals = [episode.desired for episode in sampler.episodes]
    np.testing.assert_allclose([g[0] for g in goals], 0.3 + 0.001 * np.arange(9), rtol=1e-6)
    for episode in sampler.episodes:
        assert episode.achieved.shape == (4, 2)
        np.testing.assert_allclose(episode.initial, [0.5, 0.3], atol=1e-6)
        # The tool moves by up to 0.05 m along each axis per step.
        assert np.abs(np.diff(episode.achieved, axis=0)).max() < 0.05 + 1e-6
        distances = np.linalg.norm(episode.achieved - episode.desired, axis=1)
        assert episode.success == bool(distances[-1] < 0.05)


def test_sampler_of_hindsight_agent_shows_its_goals(fed):
    """The next goals are under way in the environments."""
    env, sampler, _ = fed
    desired = env.env_method("_observe", indices=[0])[0]["desired_goal"]
    np.testing.assert_allclose(desired[:, 0], 0.3 + 0.001 * np.arange(9, 12), rtol=1e-6)
    assert sampler.count == 12


@pytest.mark.parametrize(("steps", "held"), [(8, False), (4, True)])
def test_success_at_the_last_step_counts(steps, held):
    """An episode that passes its goal and leaves it again is none; one that ends there is."""
    env, sampler = make_env(num_envs=1, steps=steps), Counting()
    feed = GoalFeed(sampler, env)
    agent = make_agent(env)
    feed.init_callback(agent)
    agent._last_obs = env.reset()
    feed.on_training_start({}, {})
    # From (0.5, 0.3) to (0.3, 0.5) is four steps away; four more lead beyond it.
    for _ in range(steps):
        tell(feed, env.step(np.array([[-1.0, 1.0]], np.float32)))
    (episode,) = sampler.episodes
    assert episode.success == held
    assert np.linalg.norm(episode.achieved - episode.desired, axis=1).min() < 0.05


def test_what_the_sparse_reward_asks_for_counts():
    """A reward of 0 is enough where the task asks for more; with a dense one the task decides."""
    cases = [(0.0, False, True), (-1.0, False, False), (-0.3, True, True), (-0.3, False, False)]
    for reward, success, held in cases:
        env, sampler = make_env(num_envs=1, steps=1), Counting()
        feed = GoalFeed(sampler, env)
        agent = make_agent(env)
        feed.init_callback(agent)
        agent._last_obs = env.reset()
        feed.on_training_start({}, {})
        new_obs, _, dones, (info,) = env.step(np.zeros((1, 2), np.float32))
        tell(feed, (new_obs, np.array([reward]), dones, [{**info, "success": success}]))
        assert sampler.episodes[0].success == held


def test_state_of_running_episodes():
    """Saved in the middle of episodes, the feed tells the sampler the same afterwards."""
    env, feed_sampler = make_env(), Counting()
    feed = GoalFeed(feed_sampler, env)
    agent = make_agent(env)
    agent.learn(18, callback=feed)
    saved, world = feed.get_state(), env.get_state()
    assert sorted(saved["achieved"]) == ["0", "1", "2"]
    other_env, other_sampler = make_env(), Counting()
    other = GoalFeed(other_sampler, other_env)
    other_env.set_state(world)
    other.set_state(saved)
    action = np.full((3, 2), 0.5, np.float32)
    for one, environment in ((feed, env), (other, other_env)):
        one.init_callback(agent)
        for _ in range(3):
            tell(one, environment.step(action))
    ended = feed_sampler.episodes[3:]
    assert len(ended) == len(other_sampler.episodes) == 3
    for mine, theirs in zip(ended, other_sampler.episodes, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("goals", ["task", "uniform", "svgg"])
def test_training_is_put_together(goals):
    """Every way to choose goals trains for some steps; a sampler draws from the whole box."""
    sampler = {"svgg": {"batch_episodes": 2, "predictor_steps": 2, "num_particles": 10}}
    agent, feed = make_goal_training(
        FINGER,
        goals,
        env=make_vec(FINGER, 2, threads=1),
        sampler=sampler.get(goals),
        policy_kwargs={"net_arch": [8]},
        learning_starts=30,
        batch_size=8,
    )
    seen = []

    class Watch(CallbackList):
        def _on_step(self):
            seen.append(self.locals["new_obs"]["desired_goal"])
            return super()._on_step()

    agent.learn(64, callback=Watch([] if feed is None else [feed]))
    assert (feed is None) == (goals == "task")
    assert len({tuple(goal) for goal in np.concatenate(seen)}) == 6
    # Half of the shortest edge of the finger's box is 0.1 m, its middle (0.4, 0.25) m.
    extractor = agent.critic.features_extractor
    observation = {
        "observation": torch.zeros(1, 12),
        "achieved_goal": torch.tensor([[0.4, 0.3]]),
        "desired_goal": torch.tensor([[0.5, 0.25]]),
    }
    expected = torch.tensor([[1.0, 0.0, 1.0, -0.5]])
    torch.testing.assert_close(extractor(observation)[:, 12:], expected, atol=1e-6, rtol=0.0)


def test_wrong_wishes_are_named():
    """Environments without goals, samplers that do not exist, tasks that no box describes."""
    with pytest.raises(ConfigurationError, match="hold no goals"):
        GoalFeed(Counting(), make_vec("Pendulum-v1"))
    with pytest.raises(ConfigurationError, match="normalised goals"):
        GoalFeed(Counting(), VecNormalize(make_env()))
    with pytest.raises(ConfigurationError, match="'even' is not one of"):
        make_goal_training(FINGER, "even")
    with pytest.raises(ConfigurationError, match="no box describes"):
        make_goal_training("simenv/SandPaint-Goal-v0", "svgg")
