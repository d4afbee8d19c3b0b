"""Shared by the environment tests: making environments, random actions, comparing steps."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

import simenv
from simenv.envs import Env, VectorEnv
from simenv.mpm import State

IDS = list(simenv.TASKS)
WALKER = "simenv/SoftWalker2D-v0"
FACES = [WALKER]
"""Ids on which the faces' own ways are tested, which are the same for all."""

# Environment by environment the simulation is bitwise the same whatever the batch, but torch adds
# up the means over P particles in an order that depends on the batch: sqrt(P) roundings of size
# eps = 1.2e-7, with P < 1000 and numbers below 1 m (divided by 0.25 m in an observation).
OBSERVATION_ATOL = 4 * 32 * 1.2e-7
# A reward is 100 / m times the difference of two such means.
REWARD_ATOL = 2 * 100 * 32 * 1.2e-7


def single(task_id: str = WALKER, **options: Any) -> Env:
    """An environment without Gymnasium's wrappers."""
    return Env(**_kwargs(task_id), **options)


def vector(task_id: str = WALKER, num_envs: int = 3, **options: Any) -> VectorEnv:
    """A native vector environment."""
    return VectorEnv(num_envs=num_envs, **_kwargs(task_id), **options)


def _kwargs(task_id: str) -> dict[str, Any]:
    return dict(gymnasium.spec(task_id).kwargs)


def synchronous(task_id: str, num_envs: int, steps: int, mode: str) -> Any:
    """Gymnasium's own vector environment over single environments: the yardstick."""
    return gymnasium.make_vec(
        task_id,
        num_envs,
        vectorization_mode="sync",
        max_episode_steps=steps,
        vector_kwargs={"autoreset_mode": mode},
    )


def random_actions(space: Any, steps: int, seed: int = 0) -> np.ndarray:
    """Actions (steps, *shape) drawn from a space."""
    space.seed(seed)
    return np.stack([space.sample() for _ in range(steps)])


def state_of(env: Any) -> State:
    """A copy of the particles behind an `Env` or `VectorEnv`."""
    state: State = env.unwrapped._episodes.state
    return state.clone()


def set_velocity(env: Any, index: int, speed: float) -> None:
    """Give every particle of one environment a velocity."""
    state = state_of(env)
    v = state.v.clone()
    v[index] = speed
    env.unwrapped._episodes.state = state.replace(v=v)


def assert_same_state(a: State, b: State, rows: slice | list[int] = slice(None)) -> None:
    """Two states are equal to the last bit."""
    for (name, mine), (_, other) in zip(a.items(), b.items(), strict=True):
        assert torch.equal(mine[rows], other[rows]), name


def assert_same_info(native: dict[str, Any], reference: dict[str, Any]) -> None:
    """Equal where the masks hold; a key may be missing where its mask would be empty."""
    for key in {k for k in (*native, *reference) if not k.startswith("_")}:
        masks = [info.get(f"_{key}", np.zeros(1, bool)) for info in (native, reference)]
        if not any(mask.any() for mask in masks):
            continue
        np.testing.assert_array_equal(*masks, err_msg=key)
        assert_same_values(key, native[key], reference[key], masks[0])


def assert_same_values(key: str, native: Any, reference: Any, mask: np.ndarray) -> None:
    """Equal entries of one info key where `mask` holds."""
    if isinstance(reference, dict):
        assert_same_info(native, reference)
    elif key == "final_obs":
        for i in np.flatnonzero(mask):
            assert_same_observation(native[i], reference[i])
    else:
        np.testing.assert_array_equal(native[mask], reference[mask], err_msg=key)


def assert_same_observation(native: Any, reference: Any) -> None:
    """Equal numbers, or dictionaries of them, up to rounding."""
    if isinstance(reference, dict):
        assert set(native) == set(reference)
        for name in reference:
            assert_same_observation(native[name], reference[name])
    else:
        np.testing.assert_allclose(native, reference, rtol=0, atol=OBSERVATION_ATOL)
        assert native.dtype == reference.dtype


def assert_same_step(native: tuple[Any, ...], reference: tuple[Any, ...]) -> None:
    """Equal (observation, reward, terminated, truncated, info) of two vector environments."""
    assert_same_observation(native[0], reference[0])
    np.testing.assert_allclose(native[1], reference[1], rtol=0, atol=REWARD_ATOL)
    for i in (2, 3):
        np.testing.assert_array_equal(native[i], reference[i])
        assert native[i].dtype == reference[i].dtype
    assert native[1].dtype == reference[1].dtype
    assert_same_info(native[4], reference[4])
