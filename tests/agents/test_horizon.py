"""The longest episode, found without asking worker processes."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.vec_env import SubprocVecEnv

from agents.horizon import find_horizon
from agents.vector import GymnasiumVecEnv
from simenv.envs.vector import VectorEnv
from simenv.errors import ConfigurationError
from tests.agents.constrained import Bandit
from tests.envs.reach import REACH


def test_horizon_of_vectors():
    """Vectors of Gymnasium's state it in their spec or in their environments."""
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec("Pendulum-v1", num_envs=2, vectorization_mode=mode)
        assert find_horizon(GymnasiumVecEnv(envs)) == 200
        envs.close()
    limited = SyncVectorEnv([lambda: TimeLimit(Bandit(), 7)] * 2)
    assert find_horizon(GymnasiumVecEnv(limited)) == 7
    native = VectorEnv(REACH, 2, max_episode_steps=6)
    assert find_horizon(GymnasiumVecEnv(native)) == 6


@pytest.mark.parametrize("kind", ["gymnasium", "stable baselines"])
def test_worker_processes_outlive_the_question(kind):
    """Workers are not asked for attributes that they may not have: that would end them."""
    if kind == "gymnasium":
        env = GymnasiumVecEnv(AsyncVectorEnv([Bandit] * 2, autoreset_mode="SameStep"))
    else:
        env = SubprocVecEnv([Bandit] * 2)
    try:
        with pytest.raises(ConfigurationError, match="give horizon"):
            find_horizon(env)
        env.reset()
        assert env.step(np.zeros((2, 1), np.float32))[2].all()
    finally:
        env.close()
