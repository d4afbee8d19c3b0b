"""Demonstrations: one recorded episode, for agents that imitate it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from agents.archives import read_arrays
from agents.episodes import Step, episode
from agents.files import replacing
from agents.spaces import same
from simenv.envs.start import Start
from simenv.errors import CheckpointError, DatasetError, SimenvError
from simenv.mpm import State
from simenv.registry import TASKS, find

if TYPE_CHECKING:
    from agents.controllers import Player
    from agents.offline.data import Transitions
    from simenv.envs.functional import Functional

FORMAT = 1
"""Of the file."""
SEEN = ("x", "v", "pose", "twist")
"""Fields of a state that are kept: where everything is and how it moves, not what it is made of."""
ARRAYS = ("features", "actions", "rewards", "goal")


@dataclass(frozen=True, eq=False)
class Demonstration:
    """One episode of T steps.

    States hold places and velocities of all particles, tools and rigid bodies, so that what is
    matched can be chosen afterwards; affine velocities and deformations, three quarters of a state,
    are left out: the start follows from the seed. A demonstration of the walker takes 0.6 MB.

    Attributes:
        task_id: registered id that it was recorded in; another environment's name does as well.
        size: of the task.
        seed: of the start state.
        features: (T + 1, O), what a policy sees before each step and after the last.
        actions: (T, A), in [-1, 1].
        rewards: (T,).
        goal: (G,), that the episode pursued; empty for a task without goals.
        states: (T + 1, …) for each of `SEEN`; empty where there is no simulator.

    Raises:
        DatasetError: arrays of other shapes than these, or numbers that are not finite.
    """

    task_id: str
    size: str
    seed: int
    features: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    goal: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    states: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Networks and states are in float32.
        for name in ARRAYS:
            values = getattr(self, name)
            if values.dtype == np.float64:
                object.__setattr__(self, name, values.astype(np.float32))
        steps = len(self)
        if self.actions.ndim != 2 or not steps:
            raise DatasetError(f"actions have shape {self.actions.shape}, expected (T, A), T >= 1")
        if self.features.ndim != 2 or len(self.features) != steps + 1:
            raise DatasetError(f"features have shape {self.features.shape}, not ({steps + 1}, O)")
        if self.rewards.shape != (steps,):
            raise DatasetError(f"rewards have shape {self.rewards.shape}, expected ({steps},)")
        if self.states and set(self.states) != set(SEEN):
            raise DatasetError(f"states hold {sorted(self.states)}, expected {sorted(SEEN)}")
        for name, values in self.arrays().items():
            if name in self.states and len(values) != steps + 1:
                raise DatasetError(f"{name} has {len(values)} rows, expected {steps + 1}")
            if values.dtype.kind != "f" or not np.isfinite(values).all():
                raise DatasetError(f"{name} must hold finite numbers")
        if np.abs(self.actions).max() > 1.0:
            raise DatasetError("actions must lie in [-1, 1]")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total(self) -> float:
        """Its return, undiscounted."""
        return float(self.rewards.sum(dtype=np.float64))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything but the words, by name."""
        return {name: getattr(self, name) for name in ARRAYS} | dict(self.states)

    # ------------------------------------------------------------------ views

    def trajectory(self, like: Tensor | None = None) -> State:
        """Its states as one `State` of T + 1 environments, of the kind of tensor of `like`.

        What is not kept is zero, or rest.

        Raises:
            DatasetError: it has none.
        """
        if not self.states:
            raise DatasetError(f"the demonstration of {self.task_id} has no states; record another")
        seen = {name: torch.as_tensor(self.states[name]) for name in SEEN}
        if like is not None:
            seen = {name: values.to(like) for name, values in seen.items()}
        rows, count, dim = seen["x"].shape
        flat, time = seen["x"].new_zeros(rows, count, dim, dim), torch.arange(rows)
        goal = torch.as_tensor(self.goal).to(seen["x"]).expand(rows, -1)
        time = time.to(seen["x"].device)
        return State(
            **seen, C=flat, F=flat, time=time, fault=torch.zeros_like(time).int(), context=goal
        )

    def transitions(self, device: torch.device | str = "cpu") -> Transitions:
        """A dataset of this one episode, for the agents of `agents.offline`.

        Example:
            >>> BC(read_demonstration("run/demonstration.npz").transitions(), seed=0).learn(2_000)
        """
        from agents.offline.data import Source, Transitions

        last = np.arange(len(self)) == len(self) - 1
        return Transitions.from_arrays(
            self.features[:-1],
            self.actions,
            self.rewards,
            self.features[1:],
            np.zeros(len(self), bool),
            truncated=last,
            device=device,
            source=Source(f"demonstration of {self.task_id}"),
        )

    # ------------------------------------------------------------------ whose it is

    def require_task(self, task_id: str) -> None:
        """Raise `DatasetError` unless it was recorded in a task, or in a variant of it."""
        if self.task_id == task_id:
            return
        if {self.task_id, task_id} <= set(TASKS) and (
            find(self.task_id).family == find(task_id).family
        ):
            return
        raise DatasetError(
            f"the demonstration was recorded in {self.task_id}, not in {task_id}; record one there"
        )

    def require_size(self, size: str) -> None:
        """Raise `DatasetError` unless it was recorded with a size of the task, if it has any."""
        if self.size not in ("", size):
            raise DatasetError(
                f"the demonstration of {self.task_id} has the size {self.size!r}, not {size!r}; "
                "record one there"
            )

    def start_options(self) -> dict[str, Any]:
        """Reset options of environments that are to pursue its goal; none without a goal."""
        return {"target": self.goal} if len(self.goal) else {}

    def require_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Raise `DatasetError` unless it has as many features and actions as these spaces."""
        mine = (self.features.shape[1], self.actions.shape[1])
        theirs = tuple(int(spaces.flatdim(s)) for s in (observation_space, action_space))
        if mine != theirs:
            raise DatasetError(
                f"the demonstration of {self.task_id} has {mine[0]} features and {mine[1]} "
                f"actions, the environment {theirs[0]} and {theirs[1]}; record one there"
            )

    def digest(self) -> str:
        """SHA-256 of its arrays, in hexadecimal digits."""
        found = hashlib.sha256()
        for name, values in sorted(self.arrays().items()):
            found.update(f"{name} {values.shape} {values.dtype}".encode())
            found.update(np.ascontiguousarray(values).tobytes())
        return found.hexdigest()

    # ------------------------------------------------------------------ the file

    def seal(self) -> str:
        """SHA-256 of all that its file holds, in hexadecimal digits."""
        words = f"{self.task_id} {self.size} {self.seed} {self.digest()}"
        return hashlib.sha256(words.encode()).hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write it as .npz, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        words = {"format": FORMAT, "task_id": self.task_id, "size": self.size, "seed": self.seed}
        words["sha256"] = self.seal()
        with replacing(path) as file:
            np.savez_compressed(file, **words, **self.arrays())  # type: ignore[arg-type]
        return path


def read_demonstration(path: str | Path) -> Demonstration:
    """The demonstration in a file; nothing is unpickled.

    Raises:
        DatasetError: no such file, a damaged one, or one of another kind.
    """
    if Path(path).is_dir():
        raise DatasetError(
            f"{path} is a folder; name the file that 'simenv record {path} --demo' writes there, "
            "demonstration.npz"
        )
    try:
        found = read_arrays(path)
    except FileNotFoundError:
        raise DatasetError(
            f"{path} does not exist; record a demonstration with 'simenv record RUN --demo'"
        ) from None
    except ValueError as error:
        raise DatasetError(f"{path} is damaged, or no demonstration ({error})") from error
    return _from_arrays(path, found)


def _from_arrays(path: str | Path, found: dict[str, np.ndarray]) -> Demonstration:
    try:
        if (written := int(found.pop("format"))) != FORMAT:
            raise DatasetError(f"it has format {written}; this version reads format {FORMAT}")
        digest, task_id, size = (str(found.pop(name)) for name in ("sha256", "task_id", "size"))
        seed = int(found.pop("seed"))
        features, actions, rewards, goal = (found.pop(name) for name in ARRAYS)
        demonstration = Demonstration(task_id, size, seed, features, actions, rewards, goal, found)
        if demonstration.seal() != digest:
            raise DatasetError("it does not hold what its SHA-256 was made of")
        return demonstration
    except (KeyError, TypeError, ValueError, DatasetError) as error:
        words_of = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{path} is damaged, or no demonstration: {words_of}") from error


def as_demonstration(given: Demonstration | str | Path | None) -> Demonstration | None:
    """What an agent was given, read if it is a file."""
    return read_demonstration(given) if isinstance(given, (str, Path)) else given


def require_continued(saved: str | None, demonstration: Demonstration | None) -> None:
    """Raise `CheckpointError` where a saved agent learnt from another demonstration's digest."""
    if demonstration is not None and not same(saved, demonstration.digest()):
        raise CheckpointError(
            f"the checkpoint belongs to another demonstration than this one of "
            f"{demonstration.task_id}"
        )


# ------------------------------------------------------------------------------- recording


@torch.no_grad()
def demonstrate(
    functional: Functional,
    player: Player,
    seed: int = 0,
    task_id: str = "",
    start: Start | None = None,
    watch: Callable[[Step], object] | None = None,
) -> Demonstration:
    """Play one episode and keep it.

    Args:
        functional: the task, with one environment.
        player: (state, t) -> action (1, A).
        seed: of the start state.
        task_id: that `functional` was made from.
        start: see `episode`.
        watch: told of every step beside.

    Raises:
        SimenvError: a step broke.
    """
    steps: list[Step] = []
    for step in episode(functional, player, seed, start):
        if bool(step.after.failed[0]):
            raise SimenvError(f"step {step.t} of the demonstration broke; take another seed")
        steps.append(step)
        if watch is not None:
            watch(step)
        if bool(functional.terminal(step.after)[0]):
            break
    states = [steps[0].state, *(step.after for step in steps)]
    task = functional.task
    return Demonstration(
        task_id,
        getattr(task, "size", ""),
        seed,
        _rows([task.features(s) for s in states]),
        _rows([step.action for step in steps]),
        _rows([step.reward for step in steps]),
        states[0].context[0, : getattr(task, "num_goals", 0)].float().cpu().numpy(),
        {name: _rows([getattr(s, name) for s in states]) for name in SEEN},
    )


def _rows(tensors: list[Tensor]) -> np.ndarray:
    """(1, …) of every step as one array (steps, …)."""
    return torch.cat(tensors).float().cpu().numpy()
