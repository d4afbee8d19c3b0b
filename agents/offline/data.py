"""Transitions of a dataset, kept and sampled on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from agents.datasets.episodes import first_not_finite
from agents.spaces import to_unit
from simenv.errors import DatasetError, expect_shape
from simenv.mpm.device import resolve_device


class Batch(NamedTuple):
    """B transitions.

    Attributes:
        observations: (B, O).
        actions: (B, A), scaled to [-1, 1].
        rewards: (B, 1).
        next_observations: (B, O).
        terminated: (B, 1), one where the episode ended by its own rules, not by a time limit.
        costs: (B, 1); None where the dataset has none.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    costs: Tensor | None = None


@dataclass(frozen=True)
class Source:
    """Where transitions come from.

    Attributes:
        name: of the dataset.
        env_id: of the environment to evaluate in; None where the dataset names none.
        env_options: of that environment, such as `size`.
        reference: returns (low, high) of scores 0 and 100; None where the dataset gives none.
    """

    name: str = "arrays"
    env_id: str | None = None
    env_options: dict[str, Any] | None = None
    reference: tuple[float, float] | None = None


class Transitions:
    """T transitions in preallocated tensors, in the order of their episodes.

    A transition of O observations and A actions takes 4 (2 O + A + 2) + 10 bytes, 4 more with a
    cost: observations are kept twice, so that a batch is an index and nothing else.

    Args:
        size: T.
        observation_space: a Box; its observations are kept flat.
        action_space: a bounded Box.
        with_costs: keep costs.
        device: where the tensors live.
        source: where they come from.

    Attributes:
        observations: float32 (T, O).
        actions: float32 (T, A), scaled to [-1, 1] by the bounds of the action space.
        rewards: float32 (T, 1).
        next_observations: float32 (T, O).
        terminated: float32 (T, 1), one at true ends only; a time limit is none.
        truncated: bool (T,), whether the episode was cut off here.
        costs: float32 (T, 1); None where there are none.
        episodes: int64 (T,), number of the episode.
        initial: bool (T,), whether the observation is the first of its episode.
        observation_space: as given.
        action_space: as given.
        source: as given.

    Raises:
        DatasetError: other spaces.
        DeviceError: no such device on this machine.
    """

    TENSORS = (
        "observations",
        "actions",
        "rewards",
        "next_observations",
        "terminated",
        "truncated",
        "costs",
        "episodes",
        "initial",
    )

    costs: Tensor | None

    def __init__(
        self,
        size: int,
        observation_space: spaces.Box,
        action_space: spaces.Box,
        *,
        with_costs: bool = False,
        device: torch.device | str = "cpu",
        source: Source | None = None,
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.source, self.device = source or Source(), torch.device(resolve_device(device))
        require_boxes(self.source.name, observation_space, action_space)
        seen, acted = int(np.prod(observation_space.shape)), int(np.prod(action_space.shape))

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(size, *shape, dtype=dtype, device=self.device)

        self.observations, self.next_observations = empty(seen), empty(seen)
        self.actions, self.rewards, self.terminated = empty(acted), empty(1), empty(1)
        self.costs = empty(1) if with_costs else None
        self.truncated, self.initial = empty(dtype=torch.bool), empty(dtype=torch.bool)
        self.episodes = empty(dtype=torch.int64)

    @classmethod
    def from_arrays(
        cls,
        observations: Any,
        actions: Any,
        rewards: Any,
        next_observations: Any,
        terminated: Any,
        *,
        truncated: Any = None,
        costs: Any = None,
        observation_space: spaces.Box | None = None,
        action_space: spaces.Box | None = None,
        device: torch.device | str = "cpu",
        source: Source | None = None,
    ) -> Transitions:
        """Transitions from arrays or tensors, in the order in which they happened.

        Args:
            observations: (T, …).
            actions: (T, …), in the units of the action space.
            rewards: (T,).
            next_observations: (T, …).
            terminated: (T,), true ends.
            truncated: (T,), where episodes were cut off; None: nowhere.
            costs: (T,), or None.
            observation_space: a Box; None: one without bounds.
            action_space: a Box; None: [-1, 1].
            device: where the tensors live.
            source: where they come from.

        Raises:
            DatasetError: no transitions, numbers that float32 cannot hold, or other spaces.
            ShapeError: arrays of other shapes than these.
        """
        seen, acted = _array(observations), _array(actions)
        observation_space = observation_space or _box(np.inf, seen.shape[1:])
        action_space = action_space or _box(1.0, acted.shape[1:])
        size = len(seen)
        self = cls(
            size,
            observation_space,
            action_space,
            with_costs=costs is not None,
            device=device,
            source=source,
        )
        ended = _array(terminated).astype(bool)
        cut = np.zeros(size, bool) if truncated is None else _array(truncated).astype(bool)
        given = {
            "observations": seen,
            "actions": acted,
            "rewards": _array(rewards),
            "next_observations": _array(next_observations),
            "terminated": ended,
            "truncated": cut,
        }
        if costs is not None:
            given["costs"] = _array(costs)
        # Before scaling, which would clip infinity to a bound.
        self._require_arrays(given)
        given["actions"] = to_unit(acted, action_space)
        starts = np.concatenate([[True], (ended | cut)[:-1]])[:size]
        given |= {"initial": starts, "episodes": np.cumsum(starts) - 1}
        for name, values in given.items():
            self._fill(name, values)
        self.require_some()
        return self

    def _require_arrays(self, given: Mapping[str, np.ndarray]) -> None:
        """Raise unless arrays are of the spaces' shapes, or a number each, and finite."""
        seen, acted = self.observation_space.shape, self.action_space.shape
        shapes = {"observations": seen, "actions": acted, "next_observations": seen}
        for name, values in given.items():
            expect_shape(name, values.shape, (len(self), *shapes.get(name, ())))
            self._require_finite(name, values)

    def _fill(self, name: str, values: np.ndarray) -> None:
        tensor = getattr(self, name)
        tensor.copy_(torch.as_tensor(values).reshape(tensor.shape))

    def _require_finite(self, name: str, values: np.ndarray) -> None:
        if (bad := first_not_finite(values)) is not None:
            raise DatasetError(
                f"dataset {self.source.name}, {name}: row {bad} is not finite, or beyond the range "
                "of float32; leave it out"
            )

    def __len__(self) -> int:
        return len(self.rewards)

    def require_some(self) -> None:
        """Raise `DatasetError` unless there is a transition."""
        if not len(self):
            raise DatasetError(f"dataset {self.source.name} is empty; there is nothing to learn")

    def cut(self, size: int) -> None:
        """Keep the first `size` transitions."""
        for name, tensor in self._tensors():
            setattr(self, name, tensor[:size])

    def sample(
        self, batch_size: int, generator: torch.Generator, rows: Tensor | None = None
    ) -> Batch:
        """Transitions drawn uniformly, with replacement.

        Args:
            batch_size: B.
            generator: on the device of the transitions.
            rows: (R,), those to draw from; None: all.
        """
        size, shape = len(self) if rows is None else len(rows), (batch_size,)
        chosen = torch.randint(size, shape, generator=generator, device=self.device)
        return self.at(chosen if rows is None else rows[chosen])

    def at(self, index: Tensor) -> Batch:
        """The transitions of an index (B,)."""
        return Batch(
            self.observations[index],
            self.actions[index],
            self.rewards[index],
            self.next_observations[index],
            self.terminated[index],
            None if self.costs is None else self.costs[index],
        )

    def digest(self) -> str:
        """SHA-256 of all tensors, by which a checkpoint knows its dataset."""
        found = hashlib.sha256()
        for name, tensor in self._tensors():
            found.update(f"{name}{tuple(tensor.shape)}".encode())
            found.update(tensor.cpu().contiguous().numpy().data)
        return found.hexdigest()

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name in self.TENSORS:
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor


def _array(values: Any) -> np.ndarray:
    """Values of any kind; numpy itself takes no tensor that lies on a GPU or has a gradient."""
    return values.detach().cpu().numpy() if torch.is_tensor(values) else np.asarray(values)


def require_boxes(name: str, observation_space: Any, action_space: Any) -> None:
    """Raise `DatasetError` unless observations are a Box and actions a bounded Box."""
    if isinstance(observation_space, spaces.Dict):
        raise DatasetError(
            f"dataset {name} has dictionary observations {sorted(observation_space)}; make it from "
            "gymnasium.wrappers.FlattenObservation(env), these agents learn from vectors"
        )
    if not isinstance(observation_space, spaces.Box):
        raise DatasetError(f"dataset {name} has observations {observation_space}; a Box is needed")
    bounded = isinstance(action_space, spaces.Box) and action_space.is_bounded()
    if not bounded or not (action_space.low < action_space.high).all():
        raise DatasetError(f"dataset {name} has actions {action_space}; a bounded Box is needed")


def require_fit(name: str, mine: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    """Raise `DatasetError` unless a dataset's spaces (observations, actions) fit an environment's.

    Bounds of observations may differ; those of actions say what an action means and may not.
    """
    (seen, acts), (shown, taken) = mine, theirs
    alike = isinstance(shown, spaces.Box) and seen.shape == shown.shape
    alike &= isinstance(taken, spaces.Box) and acts.shape == taken.shape
    if not alike or not (np.allclose(acts.low, taken.low) and np.allclose(acts.high, taken.high)):
        raise DatasetError(
            f"dataset {name} does not fit the environment: its observations are {seen} and actions "
            f"{acts}, the environment's are {shown} and {taken}; take the environment it is from"
        )


def _box(bound: float, shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-bound, bound, shape, np.float32)
