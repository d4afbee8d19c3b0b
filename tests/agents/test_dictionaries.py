"""Dictionary observations without hindsight: the replay keeps a state, and training resumes."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.actor_critic import ActorCritic
from agents.dictionaries import DictBuffer
from agents.environments import Remember
from agents.goals.her import HerBuffer
from agents.replay import TensorReplayBuffer
from simenv.errors import ConfigurationError
from tests.agents.tiny import Bandit

OPTIONS = {"batch_size": 8, "learning_starts": 10, "policy_kwargs": {"net_arch": [8]}, "seed": 0}


class Parts(Bandit):
    """A bandit that shows its number in a dictionary, twice."""

    observation_space = spaces.Dict(
        {name: spaces.Box(-np.inf, np.inf, (1,), np.float32) for name in ("one", "two")}
    )

    def observation(self, z):
        seen = super().observation(z)
        return {"one": seen, "two": -seen}


def make(env=None, **options) -> ActorCritic:
    """A tiny agent."""
    env = DummyVecEnv([lambda: Remember(Parts(length=4))] * 2) if env is None else env
    return ActorCritic("MultiInputPolicy", env, **{**OPTIONS, "buffer_size": 40, **options})


def weights(model) -> torch.Tensor:
    """All parameters."""
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()])


def test_the_default_replay():
    """Dictionaries go to the buffer that keeps a state, and learn as Stable-Baselines3 does."""
    model = make().learn(60)
    assert type(model.replay_buffer) is DictBuffer
    env = DummyVecEnv([lambda: Parts(length=4)] * 2)
    theirs = SAC("MultiInputPolicy", env, **OPTIONS, buffer_size=40, device="cpu").learn(60)
    assert torch.equal(weights(model), weights(theirs))


@pytest.mark.parametrize("steps", [12, 60])
def test_resumes_from_a_checkpoint(steps, tmp_path):
    """Training goes on as if never interrupted, with the ring filled in part or overwritten."""
    one = make().learn(steps)
    one.save_checkpoint(tmp_path / "point")
    one.learn(30, reset_num_timesteps=False)
    other = make().learn(24)
    other.load_checkpoint(tmp_path / "point")
    other.learn(30, reset_num_timesteps=False)
    assert torch.equal(weights(one), weights(other))
    kept, again = one.replay_buffer.get_state(), other.replay_buffer.get_state()
    assert all(np.array_equal(kept[name], again[name]) for name in DictBuffer.arrays)
    assert (kept["pos"], kept["full"]) == (again["pos"], again["full"])


class Longer(TensorReplayBuffer):
    """A buffer of one's own."""


def test_sums_over_steps_are_passed_on():
    """A tensor buffer of one's own is given n_steps and gamma, as the default one."""
    env = gymnasium.make("Pendulum-v1")
    model = ActorCritic(
        "MlpPolicy", env, n_steps=3, gamma=0.9, replay_buffer_class=Longer, **OPTIONS
    )
    assert type(model.replay_buffer) is Longer
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (3, 0.9)


@pytest.mark.parametrize("chosen", [None, DictReplayBuffer, HerBuffer])
def test_sums_over_steps_are_refused_where_they_would_be_ignored(chosen):
    """Buffers of dictionaries sum nothing: `n_steps` above one is an error, not ignored."""
    with pytest.raises(ConfigurationError, match=r"n_steps = 3 needs a Tensor.*set n_steps = 1"):
        make(n_steps=3, replay_buffer_class=chosen)
