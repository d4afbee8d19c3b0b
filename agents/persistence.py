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
from simenv.errors import CheckpointError, ConfigurationError

COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_current_progress_remaining",
)
RUNNING = ("_last_obs", "_last_original_obs", "_last_episode_starts")
OWN = ("about", "parameters", "extra")
"""Parts that make up the agent itself."""
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
    """Four verbs for agents, without a pickle.

    `save` and `load` keep the networks, optimisers and multipliers; `save_checkpoint` and
    `load_checkpoint` also everything else that training depends on (`get_state`), so that it goes
    on to the last bit (on the CPU). A family of agents says what that is, what `load` makes an
    agent from (`_remade`), and where its tensors are (`_get_torch_save_params`).
    """

    _arguments: dict[str, Any]
    unsaved: ClassVar[tuple[str, ...]] = UNSAVED

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments, to make the agent again when it is loaded."""
        self = super().__new__(cls)
        self._arguments = _bound(cls, args, kwargs)
        return self

    # ------------------------------------------------------------------ the policy

    def save(self: Any, path: str | Path) -> None:
        """Write the agent, without its replay, to the folder `path`; an older one is replaced.

        Raises:
            CheckpointError: the folder holds something else.
        """
        checkpoints.write(Path(path), self._own_state())

    @classmethod
    def load(
        cls: Any, path: str | Path, env: Any = None, device: str = "cpu", **arguments: Any
    ) -> Any:
        """The agent that `save` wrote.

        Args:
            path: the folder.
            env: an environment to go on learning in; None: the agent can only predict.
            device: where its networks go.
            arguments: of the class, in place of those that it was made with; needed for those
                that cannot be saved, such as functions.

        Raises:
            CheckpointError: no such folder, a damaged one, another class of agent, an
                environment with other spaces, or an argument that could not be saved.
        """
        saved = checkpoints.read(Path(path), parts=OWN)
        try:
            return cls._made_from(saved, env, device, arguments, path)
        except CheckpointError:
            raise
        except (*checkpoints.NONSENSE, RuntimeError, AssertionError) as error:
            _refuse(path, error)

    @classmethod
    def _made_from(
        cls: Any, saved: Mapping[str, Any], env: Any, device: str, given: dict[str, Any], path: Any
    ) -> Any:
        about = saved["about"]
        if about["agent"] != cls.__name__:
            raise CheckpointError(f"{path} holds a {about['agent']}; load it with that class")
        if missing := [name for name in about["omitted"] if name not in given]:
            words = ", ".join(f"{name}=…" for name in missing)
            raise CheckpointError(
                f"{path} could not keep {missing}; pass them: load(path, {words})"
            )
        arguments = {k: v for k, v in about["arguments"].items() if k not in cls.unsaved} | given
        agent = cls._remade(about, env, device, arguments)
        agent._arguments = arguments
        agent.check_belongs(about, path)
        agent._set_parameters(saved["parameters"], path, keep_options=True)
        agent.set_extra_state(saved["extra"])
        return agent

    def _own_state(self: Any) -> dict[str, Any]:
        """What the agent is, beside what it has seen."""
        mine = {"about": self.about(), "parameters": self._parameters()}
        return {**mine, "extra": self.get_extra_state()}

    def about(self: Any) -> dict[str, Any]:
        """What the agent is: class, arguments and spaces."""
        arguments = {k: v for k, v in self.arguments().items() if k not in self.unsaved}
        omitted = sorted(k for k, v in arguments.items() if not checkpoints.holds(v))
        return {
            "agent": type(self).__name__,
            "simenv": simenv.__version__,
            "arguments": {k: v for k, v in arguments.items() if k not in omitted},
            "omitted": omitted,
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

    def check_continues(self: Any, about: Mapping[str, Any], path: Any) -> None:
        """Raise `CheckpointError` unless training can go on exactly: same version and arguments."""
        self.check_belongs(about, path)
        if about["simenv"] != simenv.__version__:
            raise CheckpointError(
                f"checkpoint {path} was written by simenv {about['simenv']}, this is "
                f"{simenv.__version__}; install that version to go on, or load it to predict"
            )
        theirs, mine = about["arguments"], self.about()["arguments"]
        for name in sorted({*theirs, *mine}):
            if not same(theirs.get(name), mine.get(name)):
                raise CheckpointError(
                    f"checkpoint {path} does not fit this agent: it was made with "
                    f"{name} = {theirs.get(name)!r}, this one with {mine.get(name)!r}"
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
            self.check_continues(state["about"], path)
            self.set_state(state, path)
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            _refuse(path, error)
        return state

    def get_extra_state(self) -> dict[str, Any]:
        """Plain numbers of an algorithm beside its networks, optimisers and multipliers."""
        return {}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `get_extra_state` gave."""

    def _parameters(self: Any) -> dict[str, Any]:
        modules, variables = self._get_torch_save_params()
        return {
            "modules": {name: recursive_getattr(self, name).state_dict() for name in modules},
            "variables": {name: recursive_getattr(self, name).detach() for name in variables},
        }

    def _set_parameters(
        self: Any, saved: Mapping[str, Any], path: Any, keep_options: bool = False
    ) -> None:
        """Take saved weights; with `keep_options`, optimisers keep this agent's step sizes."""
        modules, variables = self._get_torch_save_params()
        try:
            for name in modules:
                # Optimisers keep the tensors that they are given.
                own = copy.deepcopy(saved["modules"][name])
                module = recursive_getattr(self, name)
                mine = group_options(module) if keep_options else []
                module.load_state_dict(own)
                for group, options in zip(getattr(module, "param_groups", ()), mine, strict=False):
                    group.update(options)
            for name in variables:
                recursive_getattr(self, name).data.copy_(saved["variables"][name])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            _refuse(path, error)


class PersistentLearner(Persistent):
    """`Persistent` for agents of Stable-Baselines3's kind, which learn in environments.

    Checkpoints hold replay, counters, random generators and the environments' state as well.
    """

    @classmethod
    def _remade(
        cls: Any, about: Mapping[str, Any], env: Any, device: str, arguments: dict[str, Any]
    ) -> Any:
        # Without an environment nothing will be stored.
        room = {"buffer_size": 1} if env is None else {}
        if env is None:
            env = Spaces(space_from(about["observation"]), space_from(about["action"]))
        env = as_vec_env(env, num_envs=arguments.get("num_envs", 1), device=device)
        return cls(env=env, device=device, **{**arguments, **room})

    def get_state(self: Any) -> dict[str, Any]:
        """The state by parts, as `checkpoints.write` takes it.

        Raises:
            ConfigurationError: learning has not begun, or the environment or the replay cannot
                save its state.
        """
        if self._last_obs is None:
            raise ConfigurationError("there is nothing to go on from yet; call learn first")
        if not hasattr(self.replay_buffer, "get_state"):
            raise ConfigurationError(
                f"{type(self.replay_buffer).__name__} cannot save its state; use "
                "agents.replay.TensorReplayBuffer or agents.goals.her.HerBuffer"
            )
        return {
            **self._own_state(),
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
        self.set_extra_state(state["extra"])
        self.env.set_state(state["environment"])
        self._action_generator().state = state["random"]["actions"]
        set_random_state(state["random"], self.device)

    def save_replay_buffer(self, path: Any) -> NoReturn:
        """Not offered: Stable-Baselines3's would be a pickle."""
        raise ConfigurationError("a replay is saved with everything else: save_checkpoint(folder)")

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> NoReturn:
        """Not offered: Stable-Baselines3's would be a pickle."""
        raise ConfigurationError("a replay is loaded with everything else: load_checkpoint(folder)")

    def set_parameters(self, parameters: Any, *args: Any, **options: Any) -> None:
        """As Stable-Baselines3's, from a dictionary; not from a file, which would be a pickle."""
        if not isinstance(parameters, Mapping):
            raise ConfigurationError(f"{parameters} is no dictionary; read files with load(folder)")
        super().set_parameters(parameters, *args, **options)  # type: ignore[misc]

    def _loop(self: Any) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in (*COUNTERS, *RUNNING)},
            "episodes": list(self.ep_info_buffer or ()),
            "successes": [bool(done) for done in self.ep_success_buffer or ()],
        }

    def _init_episode_buffers(self: Any, episodes: list[Any], successes: list[bool]) -> None:
        self.ep_info_buffer = deque(episodes, maxlen=self._stats_window_size)
        self.ep_success_buffer = deque(successes, maxlen=self._stats_window_size)

    def _action_generator(self: Any) -> Any:
        return self.action_space.np_random.bit_generator


def _bound(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, whatever classes in between pass on as *args and **kwargs."""
    kinds = inspect.Parameter
    for owner in cls.__mro__:
        signature = inspect.signature(owner.__init__)
        parameters = list(signature.parameters.values())
        if not any(p.kind is kinds.VAR_POSITIONAL for p in parameters):
            break
    given = signature.bind_partial(None, *args, **kwargs).arguments
    rest = [p.name for p in parameters if p.kind is kinds.VAR_KEYWORD]
    given |= {k: v for name in rest for k, v in given.pop(name, {}).items()}
    given.pop(parameters[0].name)
    # Stable-Baselines3 writes into the dictionaries that it is given.
    return {k: dict(v) if isinstance(v, dict) else v for k, v in given.items()}


def _refuse(path: Any, error: Exception) -> NoReturn:
    # Torch names every tensor that differs, on a line each; the first one tells.
    words = " ".join(line.strip() for line in str(error).splitlines()[:2])
    raise CheckpointError(f"checkpoint {path} does not fit this agent: {words}") from error


def group_options(module: Any) -> list[dict[str, Any]]:
    """Options of an optimiser's groups, such as step sizes; none of anything else."""
    groups = getattr(module, "param_groups", ())
    return [{k: v for k, v in group.items() if k != "params"} for group in groups]
