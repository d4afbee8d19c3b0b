"""Training on Gymnasium vector environments: transitions as tensors, in every autoreset mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.replay import kept_dtype
from agents.transitions import EpisodeSums, Masks, Transitions
from simenv.envs.sb3 import reset_request
from simenv.envs.vector import VectorEnv as Native
from simenv.errors import ConfigurationError


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium vector environment to learn in, whatever its autoreset mode.

    `ActorCritic` calls `advance`, in tensors. `reset` and `step` serve everything else that works
    on a Stable-Baselines3 `VecEnv`, in numpy. Statistics of episodes are kept as
    `agents.environments.EpisodeMonitor` keeps them.

    Modes (Gymnasium, "Vector environments: autoreset modes"): in NEXT_STEP, the step after an
    episode's end restarts that environment and ignores its action, which is no transition; in
    SAME_STEP, the last observation of an episode is `info["final_obs"]`; in DISABLED, finished
    environments are reset here, with `options={"reset_mask": mask}`.

    Args:
        envs: a vector environment with Box spaces, with numpy or torch in and out.
        device: where transitions are wanted.

    Attributes:
        observations: (N, …) present observations, on the device.

    Raises:
        ConfigurationError: spaces that are no Box, or an unknown autoreset mode.

    Example:
        >>> envs = gymnasium.make_vec("simenv/SoftWalker2D-v0", num_envs=16, output="torch")
        >>> ActorCritic("MlpPolicy", envs, seed=0).learn(20_000)
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], device: torch.device | str = "cpu") -> None:
        self.envs: Any = envs  # some of them have more than their base class
        self.mode = _autoreset_mode(envs)
        for name in ("single_observation_space", "single_action_space"):
            if not isinstance(space := getattr(envs, name), spaces.Box):
                raise ConfigurationError(
                    f"{name} {space} is not a Box; pass an id or a Gymnasium environment instead"
                )
        n, space = envs.num_envs, cast(spaces.Box, envs.single_action_space)
        super().__init__(n, envs.single_observation_space, envs.single_action_space)
        self.device = get_device(device)
        self.low, self.high = (
            torch.as_tensor(bound, dtype=torch.float32, device=self.device)
            for bound in (space.low, space.high)
        )
        self.observations = torch.empty(0)
        self.sums = EpisodeSums(n, self.device)
        self._resetting = np.zeros(n, dtype=bool)
        self._torch = False
        self._reset_with: dict[str, Any] = {}
        self._actions = np.empty(0)

    @property
    def total_cost(self) -> float:
        """Cost of all steps so far."""
        return float(self.sums.total_cost)

    @property
    def episodes(self) -> int:
        """Episodes finished so far."""
        return self.sums.episodes

    @property
    def has_costs(self) -> bool:
        """Whether the environment gives costs."""
        return self.sums.has_costs

    # ------------------------------------------------------------------ tensors

    @torch.no_grad()
    def advance(self, actions: Tensor) -> Transitions:
        """Take actions (N, …), in the environment's own units, after a `reset`.

        Raises:
            ConfigurationError: a SAME_STEP environment does not give `info["final_obs"]`.
        """
        given = actions if self._torch else actions.cpu().numpy()
        seen, reward, terminated, truncated, info = self.envs.step(given)
        ended = self._ended(terminated, truncated)
        terminated, truncated = self._flags(terminated), self._flags(truncated)
        after = self._seen(seen)
        step = Transitions(
            observations=self.observations,
            actions=actions,
            rewards=torch.as_tensor(reward, device=self.device).to(torch.float32, copy=True),
            terminated=terminated,
            truncated=truncated,
            next_observations=self._final(after, info, ended),
            valid=self._flags(~self._resetting),
            costs=self._costs(info, ended),
            success=self._success(info, ended),
            host=Masks(ended, ~self._resetting),
            finished={},
        )
        self.observations = self._restarted(after, ended, given)
        return step._replace(finished=self.sums.add(step))

    def scale(self, actions: Tensor) -> Tensor:
        """From the environment's units to [-1, 1]."""
        return 2.0 * ((actions - self.low) / (self.high - self.low)) - 1.0

    def unscale(self, actions: Tensor) -> Tensor:
        """From [-1, 1] to the environment's units."""
        return self.low + 0.5 * (actions + 1.0) * (self.high - self.low)

    def _ended(self, terminated: Any, truncated: Any) -> np.ndarray:
        """Finished environments (N,), read from the device only where the host does not know."""
        if isinstance(self.envs, Native):
            return self.envs.ended.copy()
        ended = terminated | truncated
        return ended.cpu().numpy() if torch.is_tensor(ended) else np.array(ended, dtype=bool)

    def _final(self, after: Tensor, info: dict[str, Any], ended: np.ndarray) -> Tensor:
        """True next observations: with SAME_STEP, `after` holds those after the reset."""
        if self.mode != AutoresetMode.SAME_STEP or not ended.any():
            return after
        if "final_obs" not in info:
            raise ConfigurationError(
                f"{type(self.envs).__name__} ended an episode in SAME_STEP mode "
                "without info['final_obs']; use autoreset_mode NEXT_STEP or DISABLED"
            )
        rows = np.flatnonzero(ended)
        last = [info["final_obs"][i] for i in rows]
        after = after.clone()
        after[torch.as_tensor(rows, device=self.device)] = self._seen(
            torch.stack(last) if self._torch else np.stack(last)
        )
        return after

    def _restarted(self, after: Tensor, ended: np.ndarray, given: Any) -> Tensor:
        """Observations to act on next, finished environments restarted where that is due."""
        self._resetting = np.zeros_like(ended)
        if self.mode == AutoresetMode.SAME_STEP or not ended.any():
            return after
        if self.mode == AutoresetMode.DISABLED:
            fresh, _ = self.envs.reset(options={**self._reset_with, "reset_mask": ended.copy()})
            rows = self._flags(ended).reshape(-1, *[1] * (after.ndim - 1))
            return torch.where(rows, self._seen(fresh), after)
        if ended.all():
            # Nobody would learn anything from the coming step: take it at once.
            return self._seen(self.envs.step(given)[0])
        self._resetting = ended
        return after

    def _costs(self, info: dict[str, Any], ended: np.ndarray) -> Tensor | None:
        costs = self._number("cost", info, ended)
        self.sums.has_costs |= costs is not None
        if not self.has_costs:
            return None
        none = torch.zeros(self.num_envs, dtype=torch.float64, device=self.device)
        return none if costs is None else costs

    def _success(self, info: dict[str, Any], ended: np.ndarray) -> Tensor | None:
        for name in ("success", "is_success"):
            if (found := self._number(name, info, ended)) is not None:
                return found != 0
        return None

    def _number(self, name: str, info: dict[str, Any], ended: np.ndarray) -> Tensor | None:
        """Entry of the step's info (N,); that of finished episodes may be in `final_info`."""
        found = self._masked(name, info)
        if self.mode != AutoresetMode.SAME_STEP or not ended.any():
            return found
        final = self._masked(name, info.get("final_info", {}))
        if final is None:
            return found
        return torch.where(
            self._flags(ended), final, torch.zeros_like(final) if found is None else found
        )

    def _masked(self, name: str, info: dict[str, Any]) -> Tensor | None:
        """Entry of an info (N,), 0 where its mask says that there is none."""
        if name not in info:
            return None
        values = info[name]
        given = info.get(f"_{name}", np.ones(self.num_envs, dtype=bool))
        for what, found in ((name, values), (f"_{name}", given)):
            if np.shape(found) != (self.num_envs,):
                raise ConfigurationError(
                    f"info[{what!r}] has shape {np.shape(found)}, expected ({self.num_envs},): one "
                    "number or flag per environment"
                )
        if isinstance(values, np.ndarray) and values.dtype.kind == "O":
            # So Gymnasium keeps numpy's own flags, with None where there is none.
            values = [v if m and v is not None else 0.0 for v, m in zip(values, given, strict=True)]
        found = torch.as_tensor(values, dtype=torch.float64, device=self.device)
        return torch.where(self._flags(given), found, torch.zeros_like(found))

    def _seen(self, observations: Any) -> Tensor:
        """On the device, in memory of its own: some environments reuse theirs."""
        dtype = kept_dtype(cast(spaces.Box, self.observation_space))
        return torch.as_tensor(observations, device=self.device).to(dtype, copy=True)

    def _flags(self, flags: Any) -> Tensor:
        return torch.as_tensor(flags, dtype=torch.bool, device=self.device)

    # ------------------------------------------------------------------ Stable-Baselines3's VecEnv

    def reset(self) -> np.ndarray:
        """Start every episode; `seed(s)` before it gives environment i the seed s + i."""
        seeds, self._reset_with = reset_request(self)
        observations, info = self.envs.reset(seed=seeds, options=dict(self._reset_with) or None)
        self._torch = torch.is_tensor(observations)
        self.observations = self._seen(observations)
        self.sums.has_costs |= "cost" in info
        self._resetting = np.zeros(self.num_envs, dtype=bool)
        self.sums.restart()
        self._reset_seeds()
        self._reset_options()
        return self._numpy(self.observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Take actions (N, …).

        Raises:
            ConfigurationError: several environments in NEXT_STEP mode, whose steps are not all
                transitions, which this interface cannot say.
        """
        if self.mode == AutoresetMode.NEXT_STEP and self.num_envs > 1:
            raise ConfigurationError(
                "Stable-Baselines3 cannot step environments of autoreset mode NEXT_STEP; make them "
                "with autoreset_mode SAME_STEP or DISABLED"
            )
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Observations, float32 rewards, dones and one info per environment."""
        step = self.advance(torch.as_tensor(self._actions, device=self.device))
        infos: list[dict[str, Any]] = [step.finished.get(i, {}) for i in range(self.num_envs)]
        for i in step.finished:
            infos[i]["terminal_observation"] = self._numpy(step.next_observations[i])
        if step.costs is not None:
            for info, cost in zip(infos, step.costs.tolist(), strict=True):
                info["cost"] = cost
        rewards = step.rewards.cpu().numpy()
        return self._numpy(self.observations), rewards, step.host.ended, infos

    def close(self) -> None:
        """Release the environments."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One frame per environment."""
        frames = self.envs.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of every environment, or of the vector environment if they share it."""
        if hasattr(self.envs, "get_attr"):
            values = self.envs.get_attr(attr_name)
        else:
            values = [getattr(self.envs, attr_name)] * self.num_envs
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of all environments at once."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("environments share their attributes: set all of them (indices=None)")
        if hasattr(self.envs, "set_attr"):
            self.envs.set_attr(attr_name, [value] * self.num_envs)
        else:
            setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of every environment, or of the vector environment if it has no others."""
        if hasattr(self.envs, "call"):
            results = self.envs.call(method_name, *args, **kwargs)
        else:
            results = [getattr(self.envs, method_name)(*args, **kwargs)] * self.num_envs
        return [results[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """No environment is wrapped by Stable-Baselines3."""
        return [False for _ in self._get_indices(indices)]

    def _numpy(self, observations: Tensor) -> np.ndarray:
        return observations.cpu().numpy().astype(self.observation_space.dtype)

    # ------------------------------------------------------------------ state

    def get_state(self) -> dict[str, Any]:
        """What the coming steps and statistics depend on.

        Raises:
            ConfigurationError: the vector environment cannot save its state.
        """
        self._require_state()
        return {
            "observations": self.observations.clone(),
            "resetting": self._resetting.copy(),
            "reset_options": dict(self._reset_with),
            "torch": self._torch,
            "sums": self.sums.get_state(),
            "environments": self.envs.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave, without a `reset`.

        Raises:
            ConfigurationError: the vector environment cannot restore its state.
        """
        self._require_state()
        self.envs.set_state(state["environments"])
        self.observations = self._seen(state["observations"])
        self._resetting = np.array(state["resetting"], dtype=bool)
        self._reset_with, self._torch = dict(state["reset_options"]), state["torch"]
        self.sums.set_state(state["sums"])

    def _require_state(self) -> None:
        if not (hasattr(self.envs, "get_state") and hasattr(self.envs, "set_state")):
            raise ConfigurationError(
                f"{type(self.envs).__name__} cannot save its state, so training in it cannot be "
                "resumed exactly; pass an id, a Gymnasium environment or simenv's own vector "
                "environment instead"
            )


def _autoreset_mode(envs: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    found = envs.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(found)
    except ValueError:
        raise ConfigurationError(
            f"metadata['autoreset_mode'] = {found!r} of {type(envs).__name__} is not one of "
            f"{[mode.value for mode in AutoresetMode]}"
        ) from None
