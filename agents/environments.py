"""Environments to learn in, as Stable-Baselines3 wants them, with a state that can be saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)

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
        ConfigurationError: an unknown cost, or one for an id of simenv (-Safe ids have theirs); a
            package that the environment needs is not installed.
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

    with installed(task_id):
        return EpisodeMonitor(DummyVecEnv([make] * num_envs))


@contextmanager
def installed(task_id: str) -> Iterator[None]:
    """Around what makes environments of an id: name the package that one of Gymnasium's lacks.

    Raises:
        ConfigurationError: a package is missing; the message says how to get it.
    """
    try:
        yield
    except DependencyNotInstalled as error:
        # Gymnasium's own advice would bring versions that were not tried here.
        mujoco = "mujoco" in str(gymnasium.spec(task_id).entry_point)
        remedy = "pip install -c constraints.txt '.[mujoco]'" if mujoco else str(error)
        raise ConfigurationError(
            f"{task_id} needs a package that is not installed: {remedy}"
        ) from error


def as_vec_env(env: Any, *, num_envs: int = 1, **options: Any) -> VecEnv:
    """Whatever one may learn in as a `VecEnv` that counts episodes: ids, environments, vectors.

    A `VecEnv` in wrappers (`VecNormalize` around `make_vec`, say) gets the monitor on the outside,
    where it answers for the state of them all.
    """
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
        self._rewards: list[float] = []
        self._seen: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode, noting what it starts from."""
        generator = None if seed is not None else self._generator().bit_generator.state
        self._origin = {"seed": seed, "options": options, "generator": generator}
        self._actions, self._rewards = [], []
        self._seen, info = self.env.reset(seed=seed, options=options)
        return self._seen, info

    def step(self, action: Any) -> Any:
        """Take a step, noting the action and what it earned."""
        self._actions.append(np.array(action))
        self._seen, reward, *rest = self.env.step(action)
        self._rewards.append(float(reward))
        return self._seen, reward, *rest

    def get_state(self) -> dict[str, Any]:
        """What the episode started from, its actions so far (T, A), and where they led."""
        return {
            "origin": self._origin,
            "actions": np.array(self._actions),
            "rewards": np.array(self._rewards),
            "observation": self._seen,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Play the episode up to where it was.

        Raises:
            ConfigurationError: it led elsewhere, or earned something else: the environment is not
                deterministic, or keeps something from one episode to the next.
        """
        origin = dict(state["origin"])
        generator = origin.pop("generator")
        if generator is not None:
            self._generator().bit_generator.state = generator
        self.reset(**origin)
        for action in state["actions"]:
            self.step(action)
        earned = np.array(self._rewards)
        if not same(state["observation"], self._seen):
            raise ConfigurationError(self._differs("saw"))
        if not np.array_equal(state["rewards"], earned, equal_nan=True):
            raise ConfigurationError(self._differs("earned"))

    def _differs(self, verb: str) -> str:
        return (
            f"{self.env} played the same actions from the same start and {verb} something else; "
            "what is not deterministic, or depends on episodes before, cannot be resumed exactly"
        )

    def _generator(self) -> np.random.Generator:
        return self.env.unwrapped.np_random


class EpisodeMonitor(VecEnvWrapper):
    """Adds up return, length and cost of every episode, and the cost of the whole training.

    A finished episode's info has `episode = {"r": return, "l": length, "c": cost}`, the cost only
    where the environment gives one. Returns are of true rewards, also where a `VecNormalize` is
    among the environments' wrappers.

    Attributes:
        total_cost: cost of all steps so far.
        episodes: episodes finished so far.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.total_cost, self.episodes, self.has_costs = 0.0, 0, False
        self._sums = np.zeros((3, self.num_envs))
        self._normalizer = unwrap_vec_normalize(venv)

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
        normalizer = self._normalizer
        earned = rewards if normalizer is None else normalizer.get_original_reward()
        self._sums += np.stack([earned, np.ones(self.num_envs), costs])
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
        """The sums so far, and the state of all wrappers and environments inside.

        Raises:
            ConfigurationError: one of them cannot save its own.
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


# ------------------------------------------------------------------------------- state

STATELESS = (VecTransposeImage, VecCheckNan, VecExtractDictObs)
"""Wrappers of Stable-Baselines3 that keep nothing from one step to the next."""
SWITCHES = ("training", "norm_obs", "norm_reward")


def _environments_state(venv: VecEnv) -> Any:
    """State of environments and of every wrapper around them, from the outside in."""
    if _answers_for_all(venv):
        return venv.get_state()  # type: ignore[attr-defined]
    if isinstance(venv, VecEnvWrapper):
        return {"wrapper": _wrapper_state(venv), "inside": _environments_state(venv.venv)}
    return [env.get_state() for env in _members(venv)]


def _restore_environments(venv: VecEnv, state: Any) -> None:
    if _answers_for_all(venv):
        venv.set_state(state)  # type: ignore[attr-defined]
    elif isinstance(venv, VecEnvWrapper):
        _restore_wrapper(venv, state["wrapper"])
        _restore_environments(venv.venv, state["inside"])
    else:
        for env, saved in zip(_members(venv), state, strict=True):
            env.set_state(saved)


def _keeps_state(env: Any) -> bool:
    """Whether an object's own class can save and restore its state.

    Stable-Baselines3's wrappers answer for attributes of what is inside them, so that to ask the
    object would find another's.
    """
    return all(hasattr(type(env), verb) for verb in ("get_state", "set_state"))


def _answers_for_all(venv: VecEnv) -> bool:
    """Whether its state includes that of everything inside."""
    if isinstance(venv, VecEnvWrapper):
        return isinstance(venv, EpisodeMonitor)
    return _keeps_state(venv)


def _wrapper_state(wrapper: VecEnvWrapper) -> Any:
    if isinstance(wrapper, VecNormalize):
        return _normalizer_state(wrapper)
    if isinstance(wrapper, STATELESS):
        return None
    if _keeps_state(wrapper):
        return wrapper.get_state()
    raise ConfigurationError(
        f"{type(wrapper).__name__} cannot save its state, so training in it cannot be resumed "
        "exactly; give it get_state and set_state (of its own state alone), or leave it out"
    )


def _restore_wrapper(wrapper: VecEnvWrapper, state: Any) -> None:
    if isinstance(wrapper, VecNormalize):
        _restore_normalizer(wrapper, state)
    elif state is not None:
        wrapper.set_state(state)


def _normalizer_state(wrapper: VecNormalize) -> dict[str, Any]:
    """Statistics by name, discounted returns (N,) and switches."""
    statistics = {k: (v.mean, v.var, v.count) for k, v in _statistics(wrapper).items()}
    switches = {name: getattr(wrapper, name) for name in SWITCHES}
    return {"statistics": statistics, "returns": wrapper.returns.copy(), "switches": switches}


def _restore_normalizer(wrapper: VecNormalize, state: dict[str, Any]) -> None:
    for name, value in state["switches"].items():
        setattr(wrapper, name, value)
    for name, kept in _statistics(wrapper).items():
        mean, var, kept.count = state["statistics"][name]
        kept.mean, kept.var = np.array(mean), np.array(var)
    wrapper.returns = np.array(state["returns"])


def _statistics(wrapper: VecNormalize) -> dict[str, RunningMeanStd]:
    """Of the rewards, and of the observations or their parts."""
    seen: Any = wrapper.obs_rms if wrapper.norm_obs else {}
    parts = seen if isinstance(seen, dict) else {"": seen}
    return {"rewards": wrapper.ret_rms} | {f"observations {k}": v for k, v in parts.items()}


def _members(venv: VecEnv) -> list[Any]:
    """The objects that hold the environments' state, each with get_state and set_state."""
    found = getattr(venv, "envs", None)
    members = found if isinstance(found, list) else [found]
    if all(map(_keeps_state, members)):
        return members
    raise ConfigurationError(
        f"{type(venv).__name__} cannot save the state of its environments, so training in it "
        "cannot be resumed exactly; pass an id or a Gymnasium environment instead"
    )
