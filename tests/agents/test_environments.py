"""Environments to learn in: made from whatever one has, episodes counted, state kept."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import NormalizeReward
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnvWrapper,
    VecFrameStack,
    VecNormalize,
)

import simenv
from agents.actor_critic import ActorCritic
from agents.environments import EpisodeMonitor, Remember, as_vec_env, make_vec
from agents.vector import GymnasiumVecEnv
from simenv.envs.vector import VectorEnv
from simenv.envs.wrappers import WithCost, effort
from simenv.errors import ConfigurationError, UnknownTaskError
from tests.envs.reach import REACH


class Dice(gymnasium.Env):
    """Shows a number from its generator, or with `secret` from one that nobody can save."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = spaces.Box(-2.0, 6.0, (2,), np.float32)

    def __init__(self, secret: bool = False) -> None:
        self.hidden = np.random.default_rng() if secret else None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._show(0.0), {}

    def step(self, action):
        self.steps += 1
        return self._show(float(np.sum(action))), 1.5, self.steps == 7, False, {}

    def _show(self, add):
        return np.array([(self.hidden or self.np_random).normal() + add])


def play(env, steps, seed=0):
    """Observations of random actions."""
    rng = np.random.default_rng(seed)
    return [
        env.step(rng.uniform(-1, 1, (env.num_envs, *env.action_space.shape))) for _ in range(steps)
    ]


@pytest.mark.parametrize("done", [0, 3, 7, 12])
@pytest.mark.parametrize(
    "make",
    [
        lambda: as_vec_env(DummyVecEnv([lambda: Remember(Dice())] * 2)),
        lambda: make_vec("simenv/FingerReach2D-Safe-v0", 2),
        lambda: make_vec("Pendulum-v1", 2, cost="effort"),
    ],
    ids=["plain", "native", "costs"],
)
def test_the_state_is_all_there_is(make, done):
    """Environments given the state of others do what those do: episodes, resets and sums."""
    one, other = make(), make()
    for env, seed in ((one, 5), (other, 6)):
        env.seed(seed)
        env.reset()
    play(one, done)
    play(other, 2)
    other.set_state(one.get_state())
    for (a, r, d, i), (b, s, e, j) in zip(play(one, 20, 1), play(other, 20, 1), strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(r, s)
        assert np.array_equal(d, e)
        assert [info.get("episode") for info in i] == [info.get("episode") for info in j]
    assert (one.total_cost, one.episodes) == (other.total_cost, other.episodes)


def test_what_is_not_deterministic_is_refused():
    """An environment that draws from elsewhere is found out when it is played again."""
    one, other = (as_vec_env(Dice(secret=True)) for _ in range(2))
    for env in (one, other):
        env.reset()
    play(one, 3)
    with pytest.raises(ConfigurationError, match=r"saw something else.*not deterministic"):
        other.set_state(one.get_state())


def test_what_lasts_beyond_an_episode_is_refused():
    """Rewards scaled by those of earlier episodes are not played again, and that is found out."""

    def make():
        return as_vec_env(DummyVecEnv([lambda: Remember(NormalizeReward(Dice()))]))

    one, other = make(), make()
    for env in (one, other):
        env.seed(1)
        env.reset()
    play(one, 5)
    other.set_state(one.get_state())  # in the first episode, there is nothing before
    play(one, 5)
    with pytest.raises(ConfigurationError, match=r"earned something else.*episodes before"):
        other.set_state(one.get_state())


# ------------------------------------------------------------------------------- wrappers


class Drift(VecEnvWrapper):
    """Adds to what is shown, more with every step; can save its state, or not."""

    def __init__(self, venv):
        super().__init__(venv)
        self.count = 0

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        self.count += 1
        seen, *rest = self.venv.step_wait()
        return seen + self.count, *rest


class SavedDrift(Drift):
    """Keeps a state of its own."""

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


class Parted(Dice):
    """Shows its number in a dictionary."""

    observation_space = spaces.Dict({"a": Dice.observation_space, "b": Dice.observation_space})

    def _show(self, add):
        seen = super()._show(add)
        return {"a": seen, "b": 3 * seen}


def dice(kind=Dice):
    """Two environments that can be played again."""
    return DummyVecEnv([lambda: Remember(kind())] * 2)


def numbers(seen):
    """An observation as one array."""
    return np.stack([seen[k] for k in sorted(seen)]) if isinstance(seen, dict) else seen


@pytest.mark.parametrize(
    "make",
    [
        lambda: VecNormalize(dice()),
        lambda: VecNormalize(dice(Parted), norm_obs_keys=["a"]),
        lambda: VecNormalize(dice(), norm_obs=False),
        lambda: VecCheckNan(VecNormalize(make_vec("Pendulum-v1", 2))),
        lambda: VecNormalize(SavedDrift(dice())),
        lambda: VecNormalize(
            GymnasiumVecEnv(
                VectorEnv(REACH, 2, autoreset_mode=AutoresetMode.SAME_STEP, max_episode_steps=7)
            )
        ),
    ],
    ids=["box", "dictionary", "rewards", "monitored", "own state", "vector"],
)
def test_the_state_of_wrappers(make):
    """Whatever stands around the environments goes on from the state too, statistics included."""
    one, other = as_vec_env(make()), as_vec_env(make())
    for env, seed in ((one, 5), (other, 6)):
        env.seed(seed)
        env.reset()
    play(one, 12)
    play(other, 2)
    other.set_state(one.get_state())
    for (a, r, d, i), (b, s, e, j) in zip(play(one, 20, 1), play(other, 20, 1), strict=True):
        assert np.array_equal(numbers(a), numbers(b))
        assert np.array_equal(r, s)
        assert np.array_equal(d, e)
        assert [info.get("episode") for info in i] == [info.get("episode") for info in j]


def test_switches_of_a_normaliser():
    """A normaliser that no longer learns stays so."""
    one, other = (as_vec_env(VecNormalize(dice())) for _ in range(2))
    for env in (one, other):
        env.reset()
    one.venv.training, one.venv.norm_reward = False, False
    other.set_state(one.get_state())
    assert (other.venv.training, other.venv.norm_obs, other.venv.norm_reward) == (
        False,
        True,
        False,
    )


def test_wrappers_without_a_state_say_so():
    """A wrapper that remembers and cannot say what is refused, though what is inside could."""
    for wrapper in (Drift, lambda venv: VecFrameStack(venv, 2)):
        env = as_vec_env(VecNormalize(wrapper(make_vec("Pendulum-v1"))))
        env.reset()
        with pytest.raises(
            ConfigurationError, match=r"(Drift|VecFrameStack) cannot save its state"
        ):
            env.get_state()


def test_returns_are_of_true_rewards():
    """Behind a normaliser, episodes still count what the environment paid."""
    for venv in (VecNormalize(dice()), VecCheckNan(VecNormalize(make_vec("Pendulum-v1", 2)))):
        env = as_vec_env(venv)
        env.seed(3)
        env.reset()
        paid, told = 0.0, []
        for _ in range(200):
            _, rewards, _, infos = env.step(np.zeros((2, *env.action_space.shape)))
            paid += venv.unwrapped.buf_rews[0]
            told += [infos[0]["episode"]["r"]] if "episode" in infos[0] else []
        assert rewards[0] != venv.unwrapped.buf_rews[0]
        # Left over are the steps of an episode that runs on, of 1.5 each.
        running = 0.0 if len(told) == 1 else 200 % 7 * 1.5
        assert sum(told) == pytest.approx(paid - running, rel=1e-6)


def test_training_behind_a_normaliser_resumes(tmp_path):
    """A checkpoint of an agent includes the statistics that it sees the world through."""

    def fresh():
        return ActorCritic(
            "MlpPolicy",
            VecNormalize(dice()),
            seed=0,
            batch_size=8,
            learning_starts=10,
            policy_kwargs={"net_arch": [8]},
        )

    one = fresh().learn(40)
    one.save_checkpoint(tmp_path / "point")
    one.learn(30, reset_num_timesteps=False)
    other = fresh()
    other.load_checkpoint(tmp_path / "point")
    other.learn(30, reset_num_timesteps=False)
    assert all(
        map(np.array_equal, *([p.detach() for p in m.policy.parameters()] for m in (one, other)))
    )
    mine, theirs = (m.get_vec_normalize_env().obs_rms.mean for m in (one, other))
    assert np.array_equal(mine, theirs)


def test_environments_without_a_state_say_so():
    """Environments of a foreign kind can be learnt in, but not saved."""
    env = as_vec_env(DummyVecEnv([Dice]))
    env.reset()
    with pytest.raises(ConfigurationError, match="cannot save the state"):
        env.get_state()


def test_episodes_are_counted():
    """Return, length and cost of each episode, and the cost of all steps, ended or not."""
    env = as_vec_env(WithCost(Dice(), effort))
    env.reset()
    actions = np.array([[6.0, 2.0]])  # a half of full effort: one at its bound, one in the middle
    infos = [env.step(actions)[3][0] for _ in range(10)]
    assert infos[6]["episode"] == {"r": 7 * 1.5, "l": 7, "c": 3.5}
    assert not any("episode" in info for i, info in enumerate(infos) if i != 6)
    assert (env.episodes, env.total_cost, env.has_costs) == (1, 5.0, True)


def test_without_costs_none_are_counted():
    """Where there is no cost, an episode has none."""
    env = as_vec_env(Dice())
    env.reset()
    assert [env.step(np.zeros((1, 2)))[3][0] for _ in range(7)][6]["episode"].keys() == {"r", "l"}
    assert not env.has_costs


def test_costs_are_known_from_the_first_reset():
    """The -Safe ids and `WithCost` report a cost of 0 at the reset."""
    for env in (make_vec("simenv/SoftWalker2D-Safe-v0"), make_vec("Pendulum-v1", cost="effort")):
        env.reset()
        assert env.has_costs


def test_seeds():
    """Environment i of seed s starts as a single one of seed s + i, native or plain."""
    for task_id in ("simenv/FingerReach2D-v0", "Pendulum-v1"):
        env = make_vec(task_id, 3)
        env.seed(4)
        alone = [gymnasium.make(task_id).reset(seed=4 + i)[0] for i in range(3)]
        # Means over some hundred particles of order one, summed in another order in a batch.
        np.testing.assert_allclose(env.reset(), alone, rtol=0, atol=1e-6)


def test_whatever_one_has():
    """Ids, environments and vectors become the same kind of thing, once."""
    monitored = as_vec_env("Pendulum-v1", num_envs=2)
    assert isinstance(monitored, EpisodeMonitor)
    assert as_vec_env(monitored) is monitored
    assert isinstance(as_vec_env(gymnasium.make("Pendulum-v1")), EpisodeMonitor)
    assert as_vec_env(gymnasium.make_vec(next(iter(simenv.TASKS)), num_envs=2)).num_envs == 2


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("simenv/SoftWalker-v0",), UnknownTaskError, "did you mean simenv/SoftWalker2D-v0"),
        (("Pendulum-v2",), UnknownTaskError, "did you mean Pendulum-v1"),
        (
            ("Pendulum-v1", 1, "efort"),
            ConfigurationError,
            r"cost 'efort' is not one of \['effort'\]",
        ),
        (("simenv/SoftWalker2D-v0", 1, "effort"), ConfigurationError, "-Safe id has its own"),
    ],
)
def test_mistakes(arguments, error, words):
    """A misspelt id or cost is answered with what there is."""
    task_id, *rest = arguments
    with pytest.raises(error, match=words):
        make_vec(task_id, *rest[:1], **({"cost": rest[1]} if len(rest) > 1 else {}))
