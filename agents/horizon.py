"""How many steps an episode has at most, as the environments state it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from simenv.errors import ConfigurationError


def find_horizon(env: VecEnv | None) -> int:
    """Most steps of an episode, as simenv's environments or Gymnasium's time limit state it.

    Raises:
        ConfigurationError: none is stated.
    """
    for horizon in _horizons(env):
        if horizon is not None:
            return int(horizon)
    raise ConfigurationError(
        "the environment states no max_episode_steps; give horizon, the steps of an episode"
    )


def _horizons(env: VecEnv | None) -> Iterator[int | None]:
    """Candidates that this process knows of; worker processes are not asked.

    A worker of Gymnasium's or Stable-Baselines3's ends when it is asked for what it does not have.
    """
    envs = None if env is None else getattr(env.unwrapped, "envs", None)
    if isinstance(envs, VectorEnv):
        envs = envs.unwrapped
        yield getattr(envs, "max_episode_steps", None)
        yield _limit(envs)
        envs = getattr(envs, "envs", None)  # those of a SyncVectorEnv, in this process
    for single in list(envs or ())[:1]:
        yield _limit(single)
        for name in ("_max_episode_steps", "max_episode_steps"):
            with suppress(AttributeError):
                yield single.get_wrapper_attr(name)


def _limit(env: Any) -> int | None:
    return getattr(getattr(env, "spec", None), "max_episode_steps", None)
