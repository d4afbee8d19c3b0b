"""Env: one task as an ordinary `gymnasium.Env`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from simenv.envs.episodes import Episodes, GoalSource, require_finite
from simenv.envs.functional import Functional
from simenv.envs.observers import each
from simenv.envs.picture import Painter
from simenv.envs.start import Start
from simenv.errors import ConfigurationError

Array = NDArray[Any]


class Env(gymnasium.Env[Any, Array], EzPickle):
    """A task as a single environment with numpy in and out.

    `info` carries "success" (bool) and "clipped" (action components outside [-1, 1]), and "fault"
    in plain words where a step went wrong; in the safe variant also "cost" (at least 0, of the
    step) and "costs" (by name). A step that breaks the simulation is undone and ends the episode
    as truncated.

    Args:
        task: path "module:Class" of the `Task`; the registered ids fill it in.
        render_mode: None or "rgb_array".
        device: "cpu", "cuda:0" or "auto".
        threads: CPU threads; a single environment needs no more than one.
        reset_options: what resets without options start from (`simenv.envs.Start`), such as
            `{"material": True}`.
        options: options of `Functional` (`variant`, `obs`, `reward_type`) and the task's own, such
            as `size="full"`.

    Raises:
        ShapeError: an action of the wrong shape.
        InvalidActionError: an action with NaN or infinity.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        task: str,
        *,
        render_mode: str | None = None,
        device: str = "cpu",
        threads: int | None = 1,
        reset_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        EzPickle.__init__(
            self,
            task,
            render_mode=render_mode,
            device=device,
            threads=threads,
            reset_options=reset_options,
            **options,
        )
        check_render_mode(render_mode)
        self.render_mode = render_mode
        functional = Functional(task, num_envs=1, device=device, threads=threads, **options)
        self.metadata = {**self.metadata, "render_fps": round(1 / functional.task.scene.step)}
        self.action_space = functional.task.action_space
        self.observation_space = functional.observer.space
        self._start = Start.of(reset_options)
        self._episodes = Episodes(functional)
        self._painter: Painter | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode as the options say; the same seed gives the same start.

        Raises:
            ConfigurationError: an option that `simenv.envs.Start` or the task does not have.
        """
        super().reset(seed=seed)
        self._episodes.rngs = [self.np_random]
        self._episodes.start = Start.of(options) if options else self._start
        self._episodes.restart(np.ones(1, dtype=bool))
        info: dict[str, Any] = {"success": False, "clipped": 0}
        if self._episodes.safe:
            names = self._episodes.functional.task.cost_names
            info |= {"cost": 0.0, "costs": dict.fromkeys(names, 0.0)}
        return self._observe(), info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Advance by one environment step; `action` (A,) in [-1, 1]."""
        if self._episodes.state is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        batch = self._episodes.parse(action, single=True)
        require_finite(batch)
        outcome = self._episodes.step(batch, strict=True)
        info: dict[str, Any] = {
            "success": bool(outcome.success[0]),
            "clipped": int(outcome.clipped[0]),
        }
        if self._episodes.safe:
            costs = {name: float(cost[0]) for name, cost in outcome.costs.items()}
            info |= {"cost": sum(costs.values()), "costs": costs}
        if outcome.faults[0] is not None:
            info["fault"] = outcome.faults[0]
        reward, terminated = float(outcome.reward[0]), bool(outcome.terminated[0])
        return self._observe(), reward, terminated, bool(outcome.broken[0]), info

    def render(self) -> Array | None:
        """A frame (360, 720, 3) of the present state, or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._painter is None:
            self._painter = Painter(self._episodes.functional)
        return self._painter.frame(self._episodes.state, self._episodes.action)

    def close(self) -> None:
        """End the episode; only `reset` may follow."""
        self._episodes.state = None

    def _observe(self) -> Any:
        return each(lambda seen: seen[0].cpu().numpy(), self._episodes.observe())


class GoalEnv(Env):
    """A goal variant: dictionary observations, and rewards of relabelled goals.

    What goal-conditioned agents expect (Plappert et al., 2018; Gymnasium-Robotics).
    """

    def compute_reward(self, achieved_goal: Array, desired_goal: Array, info: Any) -> Array:
        """Rewards (...) for goals (..., G)."""
        return compute_reward(self._episodes.functional, achieved_goal, desired_goal)

    def set_goal_source(self, source: GoalSource | None) -> None:
        """Let `source` choose the goals of the episodes to come; None: the task draws them.

        The source is called with the numbers (n,) of the environments that restart, and gives
        their goals (n, G). Resets with the option `target` do not ask it.

        Raises:
            ConfigurationError: the task has no goals.
        """
        self._episodes.set_goal_source(source)


def compute_reward(functional: Functional, achieved: Array, desired: Array) -> Array:
    """Rewards (...) of a goal variant as float32; achieved and desired goals (..., G).

    Raises:
        ConfigurationError: not a goal variant.
    """
    if functional.variant != "goal":
        raise ConfigurationError("compute_reward belongs to the -Goal ids")
    goals = (torch.as_tensor(np.asarray(goal, dtype=np.float32)) for goal in (achieved, desired))
    return functional.goal_reward(*goals).numpy()


def check_render_mode(mode: str | None) -> None:
    """Raise unless the mode is None or "rgb_array"."""
    if mode not in (None, "rgb_array"):
        raise ConfigurationError(f"render_mode {mode!r} is not None or 'rgb_array'")
