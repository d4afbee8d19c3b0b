"""Saving and loading agents: the policy alone, or everything that the coming updates depend on."""

from __future__ import annotations

import copy
import inspect
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from stable_baselines3.common.save_util import recursive_getattr

import simenv
from agents import checkpoints
from agents.environments import as_vec_env
from agents.randomness import random_state, set_random_state
from agents.spaces import Spaces, describe_space, same, show_space, space_from
from simenv.errors import CheckpointError

COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_current_progress_remaining",
)
RUNNING = ("_last_obs", "_last_original_obs", "_last_episode_starts")
UNSAVED = (
    "env",
    "device",
    "verbose",
    "tensorboard_log",
    "replay_buffer_class",
    "replay_buffer_kwargs",
)
"""Arguments of an agent that belong to where it was made, not to what it is."""


class Persistent:
    """Four verbs for agents of Stable-Baselines3's kind, without a pickle.

    `save` and `load` keep the networks, optimisers and multipliers; `save_checkpoint` and
    `load_checkpoint` also replay, counters, random generators and the environments' state, so that
    training goes on to the last bit (on the CPU).
    """

    _arguments: dict[str, Any]
    unsaved: ClassVar[tuple[str, ...]] = UNSAVED

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments, to make the agent again when it is loaded."""
        self = super().__new__(cls)
        given = inspect.signature(cls).bind(*args, **kwargs).arguments
        given |= given.pop("options", {})
        # Stable-Baselines3 writes into the dictionaries that it is given.
        self._arguments = {k: dict(v) if isinstance(v, dict) else v for k, v in given.items()}
        return self

    # ------------------------------------------------------------------ the policy

    def save(self: Any, path: str | Path) -> None:
        """Write the agent, without its replay, to the folder `path`; an older one is replaced."""
        checkpoints.write(Path(path), {"about": self.about(), "parameters": self._parameters()})

    @classmethod
    def load(cls: Any, path: str | Path, env: Any = None, device: str = "cpu") -> Any:
        """The agent that `save` wrote.

        Args:
            path: the folder.
            env: an environment to go on learning in; None: the agent can only predict.
            device: where its networks go.

        Raises:
            CheckpointError: no such folder, a damaged one, another class of agent, or an
                environment with other spaces.
        """
        saved = checkpoints.read(Path(path), parts=("about", "parameters"))
        try:
            return cls._made_from(saved, env, device, path)
        except CheckpointError:
            raise
        except (*checkpoints.NONSENSE, RuntimeError, AssertionError) as error:
            _refuse(path, error)

    @classmethod
    def _made_from(cls: Any, saved: Mapping[str, Any], env: Any, device: str, path: Any) -> Any:
        about = saved["about"]
        if about["agent"] != cls.__name__:
            raise CheckpointError(f"{path} holds a {about['agent']}; load it with that class")
        arguments = {k: v for k, v in about["arguments"].items() if k not in cls.unsaved}
        if env is None:
            env = Spaces(space_from(about["observation"]), space_from(about["action"]))
        env = as_vec_env(env, num_envs=arguments.get("num_envs", 1), device=device)
        agent = cls(env=env, device=device, **arguments)
        agent.check_belongs(about, path)
        agent._set_parameters(saved["parameters"], path)
        return agent

    def about(self: Any) -> dict[str, Any]:
        """What the agent is: class, arguments and spaces."""
        return {
            "agent": type(self).__name__,
            "simenv": simenv.__version__,
            "arguments": {k: v for k, v in self.arguments().items() if k not in self.unsaved},
            "observation": describe_space(self.observation_space),
            "action": describe_space(self.action_space),
        }

    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor that make the same agent again."""
        return dict(self._arguments)

    def check_belongs(self: Any, about: Mapping[str, Any], path: Any) -> None:
        """Raise `CheckpointError` unless a saved agent has this one's class and spaces."""
        mine = self.about()
        for what in ("agent", "observation", "action"):
            if not same(about[what], mine[what]):
                owner = "agent" if what == "agent" else "environment"
                raise CheckpointError(
                    f"checkpoint {path} belongs to another {owner}: "
                    f"its {what} is {show_space(about[what])}, here it is {show_space(mine[what])}"
                )

    # ------------------------------------------------------------------ everything

    def save_checkpoint(self: Any, path: str | Path, **more: Any) -> None:
        """Write everything that training depends on to the folder `path`; `more` rides along."""
        checkpoints.write(Path(path), {**self.get_state(), **more})

    def load_checkpoint(self: Any, path: str | Path) -> dict[str, Any]:
        """Go on from `save_checkpoint`, on an agent made with the same arguments; what rode along.

        Raises:
            CheckpointError: a missing or damaged checkpoint, or one of another agent or
                environment.
        """
        state = checkpoints.read(Path(path))
        try:
            self.check_belongs(state["about"], path)
            self.set_state(state, path)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            _refuse(path, error)
        return state

    def get_state(self: Any) -> dict[str, Any]:
        """The state by parts, as `checkpoints.write` takes it."""
        return {
            "about": self.about(),
            "parameters": self._parameters(),
            "replay": self.replay_buffer.get_state(),
            "environment": self.env.get_state(),
            "random": {**random_state(self.device), "actions": self._action_generator().state},
            "loop": self._loop(),
        }

    def set_state(self: Any, state: Mapping[str, Any], path: Any = "state") -> None:
        """Go on from what `get_state` gave; random generators come last."""
        self._set_parameters(state["parameters"], path)
        self.replay_buffer.set_state(state["replay"])
        loop = state["loop"]
        for name in (*COUNTERS, *RUNNING):
            setattr(self, name, loop[name])
        self._init_episode_buffers(loop["episodes"], loop["successes"])
        self.set_extra_state(loop["extra"])
        self.env.set_state(state["environment"])
        self._action_generator().state = state["random"]["actions"]
        set_random_state(state["random"], self.device)

    def get_extra_state(self) -> dict[str, Any]:
        """Plain numbers of an algorithm beside its networks, optimisers and multipliers."""
        return {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `get_extra_state` gave."""

    def _loop(self: Any) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in (*COUNTERS, *RUNNING)},
            "episodes": list(self.ep_info_buffer or ()),
            "successes": [bool(done) for done in self.ep_success_buffer or ()],
            "extra": self.get_extra_state(),
        }

    def _init_episode_buffers(self: Any, episodes: list[Any], successes: list[bool]) -> None:
        self.ep_info_buffer = deque(episodes, maxlen=self._stats_window_size)
        self.ep_success_buffer = deque(successes, maxlen=self._stats_window_size)

    def _parameters(self: Any) -> dict[str, Any]:
        modules, variables = self._get_torch_save_params()
        return {
            "modules": {name: recursive_getattr(self, name).state_dict() for name in modules},
            "variables": {name: recursive_getattr(self, name).detach() for name in variables},
        }

    def _set_parameters(self: Any, saved: Mapping[str, Any], path: Any) -> None:
        modules, variables = self._get_torch_save_params()
        try:
            for name in modules:
                # Optimisers keep the tensors that they are given.
                own = copy.deepcopy(saved["modules"][name])
                recursive_getattr(self, name).load_state_dict(own)
            for name in variables:
                recursive_getattr(self, name).data.copy_(saved["variables"][name])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            _refuse(path, error)

    def _action_generator(self: Any) -> Any:
        return self.action_space.np_random.bit_generator


def _refuse(path: Any, error: Exception) -> NoReturn:
    # Torch names every tensor that differs, on a line each; the first one tells.
    words = " ".join(line.strip() for line in str(error).splitlines()[:2])
    raise CheckpointError(f"checkpoint {path} does not fit this agent: {words}") from error
