"""Adapter that makes the native vector environment a Stable-Baselines3 `VecEnv`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from simenv.envs.vector import VectorEnv
from simenv.errors import ConfigurationError
from simenv.registry import face_of


class SB3VecEnv(VecEnv):
    """N environments of one task for Stable-Baselines3.

    Runs a `VectorEnv` in SAME_STEP mode, since Stable-Baselines3 expects the observation after a
    reset together with `info["terminal_observation"]`. Rewards are float32.

    Args:
        task_id: a registered id, or "module:Class" of a `Task`.
        num_envs: number of environments N.
        options: passed on to `VectorEnv` (`size`, `device`, `threads`, `render_mode`, …).

    Raises:
        UnknownTaskError: no such id.

    Example:
        >>> from stable_baselines3 import SAC
        >>> model = SAC("MlpPolicy", SB3VecEnv("simenv/SoftWalker2D-v0", num_envs=16))
    """

    def __init__(self, task_id: str, num_envs: int = 1, **options: Any) -> None:
        if options.get("output", "numpy") != "numpy":
            raise ConfigurationError("Stable-Baselines3 takes numpy arrays; leave output out")
        options |= face_of(task_id)
        self.envs = VectorEnv(num_envs=num_envs, autoreset_mode="SameStep", **options)
        self.render_mode = self.envs.render_mode
        self._actions: np.ndarray | None = None
        super().__init__(
            num_envs, self.envs.single_observation_space, self.envs.single_action_space
        )

    def reset(self) -> Any:
        """Start every episode; seeds come from `seed()`."""
        seeds, options = reset_request(self)
        observation, info = self.envs.reset(seed=seeds, options=options or None)
        self.reset_infos = [self._row(info, i) for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Take actions (N, A)."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Observations, float32 rewards, dones and one info per environment."""
        observation, reward, terminated, truncated, info = self.envs.step(self._actions)
        infos = [self._row(info, i) for i in range(self.num_envs)]
        for i in np.flatnonzero(terminated | truncated).tolist():
            infos[i] = self._row(info["final_info"], i)
            infos[i]["is_success"] = infos[i]["success"]
            infos[i]["terminal_observation"] = info["final_obs"][i]
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return observation, reward.astype(np.float32), terminated | truncated, infos

    def close(self) -> None:
        """Release the environments."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One frame per environment."""
        frames = self.envs.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The shared attribute, once per environment."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of all environments at once; they share it."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("environments share their attributes: set all of them (indices=None)")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector environment; every index gets its result."""
        result = getattr(self.envs, method_name)(*args, **kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """No environment is wrapped."""
        indexed: Iterable[int] = self._get_indices(indices)
        return [False for _ in indexed]

    def _row(self, info: dict[str, Any], i: int) -> dict[str, Any]:
        """Environment i's own info, as plain Python values."""
        row = {}
        for key, values in info.items():
            if key.startswith("_") or key.startswith("final_") or not info[f"_{key}"][i]:
                continue
            if isinstance(values, dict):
                row[key] = self._row(values, i)
                continue
            row[key] = values[i].item() if isinstance(values[i], np.generic) else values[i]
        return row


def reset_request(venv: VecEnv) -> tuple[list[int | None] | None, dict[str, Any]]:
    """What `seed` and `set_options` of a `VecEnv` asked of the coming reset of all environments.

    Returns:
        Seeds, one per environment (None: none was set), and the options they share.

    Raises:
        ConfigurationError: options that differ between environments.
    """
    if any(options != venv._options[0] for options in venv._options):
        raise ConfigurationError("environments share their reset options: set them all alike")
    seeds = None if all(seed is None for seed in venv._seeds) else venv._seeds
    return seeds, dict(venv._options[0])
