"""Minari datasets from the local disk into `Transitions`, an episode at a time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.offline.data import Source, Transitions, require_boxes, require_fit
from agents.spaces import to_unit
from simenv.errors import DatasetError

UNREADABLE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    IndexError,
    RuntimeError,
)
"""What Minari and its storages raise at damaged files."""


class BadEpisodeError(DatasetError):
    """What is wrong is a matter of one episode alone."""


class Episode(NamedTuple):
    """One episode of n steps, checked and scaled.

    Attributes:
        observations: float32 (n + 1, O).
        actions: float32 (n, A) in [-1, 1].
        rewards: float32 (n,).
        terminated: bool (n,).
        truncated: bool (n,).
        costs: float32 (n,), or None.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    costs: np.ndarray | None


def open_dataset(dataset: Any) -> Any:
    """The Minari dataset of a name, from the local disk alone; a dataset is returned as it is.

    Raises:
        DatasetError: there is none of this name, or its metadata cannot be read.
    """
    if not isinstance(dataset, str):
        return dataset
    try:
        import minari
    except ImportError as error:
        raise DatasetError(
            f"reading datasets needs Minari: pip install minari h5py ({error})"
        ) from error
    try:
        return minari.load_dataset(dataset, download=False)
    except FileNotFoundError as error:
        raise DatasetError(
            f"no dataset {dataset!r} on this machine; datasets live under MINARI_DATASETS_PATH or "
            "~/.minari/datasets, and nothing is downloaded"
        ) from error
    except UNREADABLE as error:
        raise DatasetError(f"dataset {dataset}: its metadata cannot be read: {error!r}") from error


def source_of(dataset: Any) -> Source:
    """Name, environment and reference scores of an open Minari dataset.

    Raises:
        DatasetError: the metadata are damaged.
    """
    try:
        metadata = dataset.storage.metadata
        spec = json.loads(metadata.get("eval_env_spec") or metadata.get("env_spec") or "null") or {}
        options = dict(spec.get("kwargs") or {})
        return Source(dataset.id, spec.get("id"), options, _reference(metadata))
    except UNREADABLE as error:
        raise DatasetError(
            f"dataset {dataset.id}: its metadata cannot be read: {error!r}"
        ) from error


def _reference(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    """Returns of scores 0 and 100, where they make a scale."""
    low, high = (metadata.get(name) for name in ("ref_min_score", "ref_max_score"))
    if low is None or high is None or not float(low) < float(high):
        return None
    return float(low), float(high)


def read(
    dataset: Any,
    *,
    device: torch.device | str = "cpu",
    env_spaces: tuple[Any, Any] | None = None,
    skip_bad_episodes: bool = False,
) -> Transitions:
    """Read a dataset; the peak of memory is one copy and one episode.

    Args:
        dataset: a name, or an open Minari dataset.
        device: where the transitions go.
        env_spaces: observation and action space of the environment that it must fit.
        skip_bad_episodes: leave out episodes that are damaged, empty or not finite, and warn.

    Raises:
        DatasetError: dictionary observations, unbounded actions, other spaces than the
            environment's, more steps than the metadata count, costs in some episodes only, no good
            episode, or (unless skipped) a bad one, by number and field.
    """
    data = open_dataset(dataset)
    source = source_of(data)
    spaces = (data.observation_space, data.action_space)
    require_boxes(source.name, *spaces)
    if env_spaces is not None:
        require_fit(source.name, spaces, env_spaces)
    filler, numbers, bad = _Filler(data, source, device), data.episode_indices.tolist(), []
    for number in numbers:
        try:
            episode = read_episode(data, number)
        except BadEpisodeError as error:
            if not skip_bad_episodes:
                raise DatasetError(
                    f"{error}; skip_bad_episodes leaves such episodes out"
                ) from error
            bad.append(error)
        else:
            filler.add(episode)
    if bad:
        _report(source.name, bad, len(numbers))
    return filler.finished()


def _report(name: str, bad: list[BadEpisodeError], count: int) -> None:
    """Warn of the episodes left out; raise `DatasetError` where these are all."""
    if len(bad) == count:
        raise DatasetError(
            f"dataset {name}: all of its {count} episodes are bad, the last one since: {bad[-1]}"
        ) from bad[-1]
    warnings.warn(
        f"{len(bad)} of {count} episodes of dataset {name} are left out, the last one since: "
        f"{bad[-1]}",
        RuntimeWarning,
        stacklevel=3,
    )


class _Filler:
    """Transitions being filled, allocated when the first episode shows whether there are costs."""

    def __init__(self, data: Any, source: Source, device: torch.device | str) -> None:
        self.data, self.source, self.device = data, source, device
        self.into: Transitions | None = None
        self.size = self.episodes = 0

    def add(self, episode: Episode) -> None:
        """Append an episode."""
        into = self.into = self.into or self._allocate(episode.costs is not None)
        begin, end = self.size, self.size + len(episode.rewards)
        if end > len(into):
            raise DatasetError(
                f"dataset {self.source.name} holds more than the {len(into)} steps that its "
                "metadata count; it is damaged, make it again"
            )
        if (episode.costs is None) != (into.costs is None):
            raise DatasetError(f"dataset {self.source.name}: only some episodes have costs")
        for name, values in _columns(episode, self.episodes):
            tensor = getattr(into, name)[begin:end]
            tensor.copy_(torch.as_tensor(values).reshape(tensor.shape))
        self.size, self.episodes = end, self.episodes + 1

    def finished(self) -> Transitions:
        """What has been filled."""
        into = self.into or self._allocate(with_costs=False)
        into.cut(self.size)
        into.require_some()
        return into

    def _allocate(self, with_costs: bool) -> Transitions:
        try:
            return Transitions(
                self.data.total_steps,
                self.data.observation_space,
                self.data.action_space,
                with_costs=with_costs,
                device=self.device,
                source=self.source,
            )
        except UNREADABLE as error:
            raise DatasetError(
                f"dataset {self.source.name}: no room for {self.data.total_steps} steps: {error}"
            ) from error


def _columns(episode: Episode, number: int) -> Iterator[tuple[str, Any]]:
    """Names and rows (n, …) of an episode's transitions."""
    steps = len(episode.rewards)
    yield "observations", episode.observations[:-1]
    yield "next_observations", episode.observations[1:]
    yield from zip(Episode._fields[1:5], episode[1:5], strict=True)
    if episode.costs is not None:
        yield "costs", episode.costs
    yield "episodes", np.full(steps, number)
    yield "initial", np.arange(steps) == 0


# ------------------------------------------------------------------------------- one episode


def read_episode(data: Any, number: int) -> Episode:
    """An episode of an open dataset, checked.

    Raises:
        BadEpisodeError: it cannot be read, is empty, has fields of other shapes, numbers that are
            not finite, or goes on after its end.
    """
    try:
        found = next(iter(data.iterate_episodes([number])))
    except (*UNREADABLE, StopIteration) as error:
        raise _bad(data, number, "data", f"cannot be read: {error!r}") from error
    steps = len(found.rewards)
    if steps == 0:
        raise _bad(data, number, "rewards", "are empty")
    seen, acts = data.observation_space, data.action_space
    values = {
        "observations": _field(data, number, "observations", found, (steps + 1, *seen.shape)),
        "actions": _field(data, number, "actions", found, (steps, *acts.shape)),
        "rewards": _field(data, number, "rewards", found, (steps,)),
        "terminations": _field(data, number, "terminations", found, (steps,)),
        "truncations": _field(data, number, "truncations", found, (steps,)),
    }
    ends = (values["terminations"] + values["truncations"])[:-1]
    if ends.any():
        step = int(np.flatnonzero(ends)[0])
        raise _bad(data, number, "terminations", f"end the episode at step {step} of {steps}")
    return Episode(
        values["observations"].astype(np.float32).reshape(steps + 1, -1),
        to_unit(values["actions"], acts).reshape(steps, -1),
        values["rewards"].astype(np.float32),
        values["terminations"].astype(bool),
        values["truncations"].astype(bool),
        _costs(data, number, found, steps),
    )


def _field(data: Any, number: int, name: str, episode: Any, shape: tuple[int, ...]) -> np.ndarray:
    return _checked(data, number, name, getattr(episode, name), shape)


def _checked(data: Any, number: int, name: str, found: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a field, if they are finite numbers of the wanted shape."""
    values = np.asarray(found)
    if values.dtype.kind not in "biuf":
        raise _bad(data, number, name, f"are {values.dtype}, not numbers")
    if values.shape != shape:
        raise _bad(data, number, name, f"have shape {values.shape}, expected {shape}")
    # What float32 cannot hold is as bad as infinity.
    large = ~(np.abs(values) <= np.finfo(np.float32).max) if values.dtype.kind == "f" else None
    if large is not None and large.any():
        row = int(np.argwhere(large)[0, 0])
        raise _bad(data, number, name, f"are not finite at row {row}")
    return values


def _costs(data: Any, number: int, episode: Any, steps: int) -> np.ndarray | None:
    """Costs (n,) of the steps; Minari keeps that of the reset in front of them."""
    if not episode.infos or "cost" not in episode.infos:
        return None
    found = np.asarray(episode.infos["cost"])
    found = found[1:] if found.shape == (steps + 1,) else found
    return _checked(data, number, "infos['cost']", found, (steps,)).astype(np.float32)


def _bad(data: Any, number: int, field: str, words: str) -> BadEpisodeError:
    return BadEpisodeError(f"dataset {data.id}, episode {number}: {field} {words}")
