"""VectorEnv: N environments of one task, stepped together."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils import EzPickle
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from simenv.envs.env import check_render_mode, compute_reward
from simenv.envs.episodes import Episodes, GoalSource, Outcome
from simenv.envs.functional import Functional
from simenv.envs.observers import each
from simenv.envs.picture import Painter
from simenv.envs.start import Start
from simenv.errors import ConfigurationError

OUTPUTS = ("numpy", "torch")


class VectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any], EzPickle):
    """N environments with numpy (default) or torch in and out.

    Truncates at `max_episode_steps`, resets by itself as `autoreset_mode` says, and gives
    environment i of seed s the seed s + i. An environment whose action or state turns non-finite
    is truncated with `info["fault"]`; the others are not touched.

    Args:
        task: path "module:Class" of the `Task`; the registered ids fill it in.
        num_envs: number of environments N.
        max_episode_steps: truncation; default the task's horizon.
        autoreset_mode: "NextStep", "SameStep" or "Disabled" (or the Gymnasium enum).
        output: "numpy", or "torch" for tensors on the device.
        render_mode: None or "rgb_array".
        device: "cpu", "cuda:0" or "auto".
        threads: CPU threads; default all cores.
        reset_options: what resets without options start from (`simenv.envs.Start`).
        options: options of `Functional` and the task's own.

    Attributes:
        ended: bool (N,) on the host, the episodes that the last step terminated or truncated.
    """

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        output: str = "numpy",
        render_mode: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        reset_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        EzPickle.__init__(
            self,
            task,
            num_envs,
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            output=output,
            render_mode=render_mode,
            device=device,
            threads=threads,
            reset_options=reset_options,
            **options,
        )
        if output not in OUTPUTS:
            raise ConfigurationError(f"output {output!r} is not one of {OUTPUTS}")
        check_render_mode(render_mode)
        self.output, self.render_mode = output, render_mode
        self.mode = _autoreset(autoreset_mode)
        functional = Functional(task, num_envs=num_envs, device=device, threads=threads, **options)
        self.num_envs = num_envs
        self.max_episode_steps = _episode_steps(max_episode_steps, functional.task.horizon)
        self.single_action_space = functional.task.action_space
        self.single_observation_space = functional.observer.space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": round(1 / functional.task.scene.step),
            "autoreset_mode": self.mode,
        }
        self._episodes = Episodes(functional)
        self._start = Start.of(reset_options)
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._done = np.zeros(num_envs, dtype=bool)
        self.ended = self._done.copy()
        self._painter: Painter | None = None

    # ------------------------------------------------------------------ the two verbs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes everywhere, or where `options["reset_mask"]` (N,) holds.

        The other options say how (`simenv.envs.Start`), also for the resets that follow by
        themselves.
        """
        self._require_open()
        given = {k: v for k, v in (options or {}).items() if k != "reset_mask"}
        self._episodes.start = Start.of(given) if given else self._start
        mask = self._reset_mask(options)
        self._seed(seed, mask)
        self._restart(mask)
        zeros = {"success": np.zeros(self.num_envs, bool), "clipped": np.zeros(self.num_envs, int)}
        info = self._info_arrays(zeros, mask)
        if self._episodes.safe:
            names = self._episodes.functional.task.cost_names
            info |= self._cost_arrays(dict.fromkeys(names, np.zeros(self.num_envs)), mask)
        return self._observe(), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance every environment; `actions` (N, A).

        Raises:
            ShapeError: wrong shape.
            ResetNeeded: before the first reset; in mode "Disabled", where one has finished.
            ClosedEnvironmentError: after `close`.
        """
        batch = self._episodes.parse(actions)
        self._require_running()
        resetting = self._done.copy() if self.mode == AutoresetMode.NEXT_STEP else self._nobody()
        if resetting.any():
            # Their action is ignored: whatever it is, it must not count as a fault.
            ignored = torch.as_tensor(resetting, device=batch.device)[:, None]
            batch = torch.where(ignored, torch.zeros_like(batch), batch)
        outcome = self._episodes.step(batch)
        self._elapsed += 1
        self._restart(resetting)
        running = ~resetting
        terminated = _array(outcome.terminated) & running
        late = self._elapsed >= self.max_episode_steps
        truncated = (late | _array(outcome.broken)) & running
        self._done = terminated | truncated
        self.ended = self._done.copy()
        info = self._info(outcome, running)
        reward = outcome.reward * torch.as_tensor(running, device=outcome.reward.device)
        observation = self._observe()
        if self.mode == AutoresetMode.SAME_STEP and self._done.any():
            observation, info = self._finish(observation, info)
        return observation, self._reward(reward), self._out(terminated), self._out(truncated), info

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> np.ndarray:
        """Rewards (...) of a goal variant for goals (..., G), for hindsight relabelling."""
        return compute_reward(self._episodes.functional, achieved_goal, desired_goal)

    def set_goal_source(self, source: GoalSource | None) -> None:
        """Let `source` choose the goals of the episodes to come; None: the task draws them.

        The source is called with the numbers (n,) of the environments that restart, and gives
        their goals (n, G). Resets with the option `target` do not ask it.

        Raises:
            ConfigurationError: the task has no goals.
        """
        self._episodes.set_goal_source(source)

    def render(self) -> tuple[Any, ...] | None:
        """One frame per environment, or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._painter is None:
            self._painter = Painter(self._episodes.functional)
        return tuple(
            self._painter.frame(self._episodes.state, self._episodes.action, index=i)
            for i in range(self.num_envs)
        )

    def get_state(self) -> dict[str, Any]:
        """What the coming steps depend on: nested dictionaries of tensors, arrays and numbers."""
        mine = {"elapsed": self._elapsed.copy(), "done": self._done.copy()}
        return mine | {"episodes": self._episodes.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave, to the last bit on the CPU.

        Raises:
            ShapeError: it belongs to another number of environments, or another task.
        """
        self._episodes.set_state(state["episodes"])
        self._elapsed, self._done = np.array(state["elapsed"]), np.array(state["done"])

    # ------------------------------------------------------------------ resets

    def _reset_mask(self, options: dict[str, Any] | None) -> np.ndarray:
        given = (options or {}).get("reset_mask")
        if given is None:
            return np.ones(self.num_envs, dtype=bool)
        mask = np.asarray(given)
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ConfigurationError(
                f"reset_mask must be a bool array of shape ({self.num_envs},), "
                f"got {mask.dtype} of shape {mask.shape}"
            )
        if not mask.any():
            raise ConfigurationError("reset_mask is all False; nothing would be reset")
        return mask

    def _seed(self, seed: int | Sequence[int | None] | None, mask: np.ndarray) -> None:
        first = self._episodes.state is None
        if seed is None and not first:
            return
        if isinstance(seed, (int, np.integer)):
            seeds: Sequence[int | None] = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [None] * self.num_envs if seed is None else list(seed)
        if len(seeds) != self.num_envs:
            raise ConfigurationError(f"{len(seeds)} seeds for {self.num_envs} environments")
        self._np_random_seed = seeds[0]
        for i in np.flatnonzero(mask).tolist():
            if seeds[i] is not None or first:
                self._episodes.rngs[i] = np.random.default_rng(seeds[i])

    def _restart(self, mask: np.ndarray) -> None:
        self._episodes.restart(mask)
        self._elapsed[mask] = 0
        self._done[mask] = False

    def _finish(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """SAME_STEP: keep the last observation and info of finished episodes, and restart them."""
        done = self._done.copy()
        final_obs = np.full(self.num_envs, None, dtype=object)
        for i in np.flatnonzero(done):
            final_obs[i] = each(operator.itemgetter(i), observation)
        final_info = _masked(info, done)
        self._restart(done)
        fresh = {
            **_zeroed(info, done),
            "final_obs": final_obs,
            "_final_obs": done,
            "final_info": final_info,
            "_final_info": done,
        }
        if "_fault" in info:
            fresh["_fault"] = info["_fault"] & ~done
        return self._observe(), fresh

    def _require_open(self) -> None:
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError(
                "the environments are closed; make new ones"
            )

    def _require_running(self) -> None:
        self._require_open()
        if self._episodes.state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        if self.mode == AutoresetMode.DISABLED and self._done.any():
            raise gymnasium.error.ResetNeeded(
                f"environments {np.flatnonzero(self._done).tolist()} have finished; reset them "
                "with reset(options={'reset_mask': mask})"
            )

    # ------------------------------------------------------------------ output

    def _info(self, outcome: Outcome, running: np.ndarray) -> dict[str, Any]:
        success = _array(outcome.success) & running
        clipped = np.where(running, _array(outcome.clipped), 0)
        info = self._info_arrays({"success": success, "clipped": clipped}, self._everybody())
        if self._episodes.safe:
            costs = {k: np.where(running, _numbers(v), 0.0) for k, v in outcome.costs.items()}
            info |= self._cost_arrays(costs, self._everybody())
        faults = [f if up else None for f, up in zip(outcome.faults, running, strict=True)]
        if any(faults):
            mask = np.array([fault is not None for fault in faults])
            info |= {"fault": np.array(faults, dtype=object), "_fault": mask}
        return info

    def _info_arrays(self, values: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
        """Gymnasium's vector info: each array with its `_key` mask."""
        return {k: v for key, value in values.items() for k, v in ((key, value), (f"_{key}", mask))}

    def _cost_arrays(self, costs: dict[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
        """The safe variant's part of the info: all costs together and by name."""
        total = sum(costs.values(), np.zeros(self.num_envs))
        both = {"cost": total, "costs": self._info_arrays(costs, mask)}
        return self._info_arrays(both, mask)

    def _reward(self, reward: Tensor) -> Any:
        return reward if self.output == "torch" else _numbers(reward)

    def _observe(self) -> Any:
        return each(self._out, self._episodes.observe())

    def _out(self, value: Tensor | np.ndarray) -> Any:
        """To the kind of array that the user asked for."""
        if self.output == "torch":
            return torch.as_tensor(value, device=self._episodes.functional.device)
        return value.cpu().numpy() if torch.is_tensor(value) else value.copy()

    def _nobody(self) -> np.ndarray:
        return np.zeros(self.num_envs, dtype=bool)

    def _everybody(self) -> np.ndarray:
        return np.ones(self.num_envs, dtype=bool)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.to(torch.float64).cpu().numpy()


def _zeroed(info: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """An info whose numbers are those of a fresh reset where `rows` holds; masks stay."""
    fresh: dict[str, Any] = {}
    for key, value in info.items():
        if isinstance(value, dict):
            fresh[key] = _zeroed(value, rows)
        elif key.startswith("_") or value.dtype == object:
            fresh[key] = value
        else:
            fresh[key] = np.where(rows, np.zeros_like(value), value)
    return fresh


def _masked(info: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """An info whose masks hold in `rows` alone."""
    return {
        k: _masked(v, rows) if isinstance(v, dict) else v & rows if k.startswith("_") else v
        for k, v in info.items()
    }


def _episode_steps(given: int | None, horizon: int) -> int:
    if given is not None and given < 1:
        raise ConfigurationError(f"max_episode_steps = {given} must be at least 1, or None")
    return horizon if given is None else given


def _autoreset(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise ConfigurationError(
            f"autoreset_mode {mode!r} is not one of {[m.value for m in AutoresetMode]}"
        ) from None
