"""Environments to learn in, as Stable-Baselines3 wants them, with a state that can be saved."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper

import simenv  # noqa: F401  (registers the ids)
from agents.runs import require_id
from agents.spaces import same
from agents.vector import GymnasiumVecEnv
from simenv.envs.wrappers import COSTS, WithCost
from simenv.errors import ConfigurationError
from simenv.registry import TASKS


def make_vec(
    task_id: str, num_envs: int = 1, *, cost: str | None = None, **options: Any
) -> EpisodeMonitor:
    """N environments of a registered id: the native ones of simenv, or plain Gymnasium ones.

    Args:
        task_id: "simenv/SoftWalker2D-v0", "Pendulum-v1", …
        num_envs: N.
        cost: name of a cost to add (`simenv.envs.wrappers.COSTS`) to a plain environment.
        options: of the environment; `size` and `device` concern simenv's ids alone.

    Raises:
        UnknownTaskError: no such id.
        ConfigurationError: an unknown cost, or one for an id of simenv (-Safe ids have theirs).
    """
    require_id(task_id)
    if cost is not None and cost not in COSTS:
        raise ConfigurationError(f"cost {cost!r} is not one of {sorted(COSTS)}")
    if task_id in TASKS:
        if cost is not None:
            raise ConfigurationError(f"{task_id} takes no cost option; its -Safe id has its own")
        from simenv.envs.sb3 import SB3VecEnv

        return EpisodeMonitor(SB3VecEnv(task_id, num_envs, **options))
    options = {k: v for k, v in options.items() if k not in ("size", "device")}

    def make() -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(task_id, **options)
        return Remember(env if cost is None else WithCost(env, COSTS[cost]))

    return EpisodeMonitor(DummyVecEnv([make] * num_envs))


def as_vec_env(env: Any, *, num_envs: int = 1, **options: Any) -> VecEnv:
    """Whatever one may learn in as a `VecEnv` that counts episodes: ids, environments, vectors."""
    if isinstance(env, str):
        return make_vec(env, num_envs, **options)
    if isinstance(env, gymnasium.vector.VectorEnv):
        return GymnasiumVecEnv(env, options.get("device", "cpu"))
    if isinstance(env, VecEnv):
        return env if isinstance(env, EpisodeMonitor | GymnasiumVecEnv) else EpisodeMonitor(env)
    return EpisodeMonitor(DummyVecEnv([lambda: Remember(env)]))


class Remember(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Remembers how the running episode came about, so that it can be played again.

    Plain Gymnasium environments cannot save their state. Their resets depend on the generator
    `np_random` alone, and their steps on the actions, so generator and actions are enough.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._origin: dict[str, Any] = {}
        self._actions: list[np.ndarray] = []
        self._seen: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode, noting what it starts from."""
        generator = None if seed is not None else self._generator().bit_generator.state
        self._origin = {"seed": seed, "options": options, "generator": generator}
        self._actions = []
        self._seen, info = self.env.reset(seed=seed, options=options)
        return self._seen, info

    def step(self, action: Any) -> Any:
        """Take a step, noting the action."""
        self._actions.append(np.array(action))
        self._seen, *rest = self.env.step(action)
        return self._seen, *rest

    def get_state(self) -> dict[str, Any]:
        """What the episode started from, its actions so far (T, A), and where they led."""
        actions = np.array(self._actions)
        return {"origin": self._origin, "actions": actions, "observation": self._seen}

    def set_state(self, state: dict[str, Any]) -> None:
        """Play the episode up to where it was.

        Raises:
            ConfigurationError: it led elsewhere: the environment is not deterministic.
        """
        origin = dict(state["origin"])
        generator = origin.pop("generator")
        if generator is not None:
            self._generator().bit_generator.state = generator
        self.reset(**origin)
        for action in state["actions"]:
            self.step(action)
        if not same(state["observation"], self._seen):
            raise ConfigurationError(
                f"{self.env} played the same actions from the same start and saw something else; "
                "what is not deterministic cannot be resumed exactly"
            )

    def _generator(self) -> np.random.Generator:
        return self.env.unwrapped.np_random


class EpisodeMonitor(VecEnvWrapper):
    """Adds up return, length and cost of every episode, and the cost of the whole training.

    A finished episode's info has `episode = {"r": return, "l": length, "c": cost}`, the cost only
    where the environment gives one.

    Attributes:
        total_cost: cost of all steps so far.
        episodes: episodes finished so far.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.total_cost, self.episodes, self.has_costs = 0.0, 0, False
        self._sums = np.zeros((3, self.num_envs))

    def reset(self) -> Any:
        """Start every episode."""
        self._sums[:] = 0.0
        observations = self.venv.reset()
        self.has_costs |= any("cost" in info for info in self.venv.reset_infos)
        return observations

    def step_wait(self) -> Any:
        """One step of every environment."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self.has_costs |= "cost" in infos[0]
        costs = np.array([info.get("cost", 0.0) for info in infos])
        self._sums += np.stack([rewards, np.ones(self.num_envs), costs])
        self.total_cost += float(costs.sum())
        for i in np.flatnonzero(dones):
            total, length, cost = self._sums[:, i].tolist()
            infos[i]["episode"] = {"r": total, "l": int(length)}
            if self.has_costs:
                infos[i]["episode"]["c"] = cost
            self._sums[:, i] = 0.0
            self.episodes += 1
        return observations, rewards, dones, infos

    def get_state(self) -> dict[str, Any]:
        """The sums so far and the environments' own state.

        Raises:
            ConfigurationError: the environments cannot save theirs.
        """
        return {
            "sums": self._sums.copy(),
            "total_cost": self.total_cost,
            "episodes": self.episodes,
            "has_costs": self.has_costs,
            "environments": _environments_state(self.venv),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self._sums[:] = np.asarray(state["sums"])
        self.total_cost, self.episodes = state["total_cost"], state["episodes"]
        self.has_costs = state["has_costs"]
        _restore_environments(self.venv, state["environments"])


def _environments_state(venv: VecEnv) -> Any:
    """State of the innermost environments."""
    stateful = _stateful(venv)
    return [env.get_state() for env in stateful]


def _restore_environments(venv: VecEnv, states: list[Any]) -> None:
    for env, state in zip(_stateful(venv), states, strict=True):
        env.set_state(state)


def _stateful(venv: VecEnv) -> list[Any]:
    """The objects that hold the environments' state, each with get_state and set_state."""
    found = getattr(venv, "envs", None)
    members = found if isinstance(found, list) else [found]
    if all(hasattr(env, "get_state") and hasattr(env, "set_state") for env in members):
        return members
    raise ConfigurationError(
        f"{type(venv).__name__} cannot save the state of its environments, so training in it "
        "cannot be resumed exactly; pass an id or a Gymnasium environment instead"
    )
