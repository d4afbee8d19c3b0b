"""GoalFeed: connects a goal sampler to the environments that any agent trains in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from agents.goals.sampler import Episode, GoalSampler
from simenv.errors import ConfigurationError


class GoalFeed(BaseCallback):
    """Lets a sampler choose the goals of training episodes, and tells it how they went.

    A callback for `learn` of any Stable-Baselines3 agent. From its construction on, environments
    take their goals from the sampler, at the first reset and at every automatic one.

    Args:
        sampler: who chooses goals.
        env: the training environments: `agents.environments.make_vec` of a -Goal id, wrapped at
            will.

    Raises:
        ConfigurationError: the observations are no dictionaries with goals, or normalised.
    """

    def __init__(self, sampler: GoalSampler, env: VecEnv) -> None:
        super().__init__()
        space = env.observation_space
        if not (isinstance(space, spaces.Dict) and "achieved_goal" in space.spaces):
            raise ConfigurationError(
                f"observations {space} hold no goals; take a '-Goal' id with a goal sampler"
            )
        if unwrap_vec_normalize(env) is not None:
            raise ConfigurationError(
                "VecNormalize would show the sampler normalised goals; leave it out and let "
                "agents.goals.features.GoalFeatures scale them"
            )
        self.sampler = sampler
        self._achieved: list[list[np.ndarray]] = [[] for _ in range(env.num_envs)]
        # The environments share one source, so the first of them sets it for all.
        env.env_method("set_goal_source", self._choose, indices=[0])

    def get_state(self) -> dict[str, Any]:
        """The sampler's state, and the running episodes'."""
        running = {str(i): np.array(goals) for i, goals in enumerate(self._achieved) if goals}
        return {"achieved": running, "sampler": self.sampler.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.sampler.set_state(state["sampler"])
        running = state["achieved"]
        self._achieved = [
            list(np.asarray(running.get(str(i), ()))) for i in range(len(self._achieved))
        ]

    # ------------------------------------------------------------------ the callback

    def _on_training_start(self) -> None:
        """`learn` has reset the environments, unless it goes on with running episodes."""
        if self.num_timesteps == 0 or not all(self._achieved):
            seen = self._last_observation()["achieved_goal"]
            self._achieved = [[goal.copy()] for goal in seen]

    def _on_step(self) -> bool:
        """One step of every environment: finished episodes go to the sampler."""
        names = ("new_obs", "rewards", "dones", "infos")
        seen, rewards, dones, infos = (self.locals[name] for name in names)
        for i, info in enumerate(infos):
            last = info["terminal_observation"] if dones[i] else _row(seen, i)
            self._achieved[i].append(last["achieved_goal"].copy())
            if dones[i]:
                # A sparse reward of 0 says that the goal is held, which is what hindsight teaches;
                # the task may ask for more. A dense one says nothing: the task's word counts.
                held = bool(rewards[i] == 0.0 or info.get("success", info.get("is_success")))
                self._finish(i, last["desired_goal"], held, seen["achieved_goal"][i])
        self.sampler.advance(len(infos))
        return True

    def _finish(self, i: int, desired: np.ndarray, held: bool, fresh: np.ndarray) -> None:
        goals = np.array(self._achieved[i])
        self.sampler.observe(Episode(goals[0], desired.copy(), goals[1:], held))
        self._achieved[i] = [fresh.copy()]

    def _last_observation(self) -> Any:
        return self.model._last_obs  # what all of its agents call it

    def _choose(self, environments: np.ndarray) -> np.ndarray:
        return self.sampler.draw(len(environments))


def _row(observation: Mapping[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    return {name: part[i] for name, part in observation.items()}
