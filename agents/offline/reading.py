"""Minari datasets from the local disk into `Transitions`, an episode at a time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.datasets.episodes import (
    UNREADABLE,
    episode_faults,
    load_episode,
    open_folder,
    require_minari,
    spaces_of,
    stored_episodes,
)
from agents.datasets.manifest import changes
from agents.datasets.metadata import made_here, require_sound
from agents.datasets.names import folder_of, read_metadata
from agents.datasets.references import dataset_reference
from agents.offline.data import Source, Transitions, require_boxes, require_fit
from agents.spaces import to_unit
from simenv.errors import DatasetError

SKIP = "skip_bad_episodes (--skip-bad-episodes)"
"""What the option is called, in Python and on the command line."""


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
    require_minari()
    require_sound(dataset, read_metadata(dataset), own=False)
    return open_folder(dataset, folder_of(dataset))


def source_of(dataset: Any) -> Source:
    """Name, environment and reference scores of an open Minari dataset.

    Raises:
        DatasetError: the metadata are damaged.
    """
    try:
        metadata = dataset.storage.metadata
        spec = json.loads(metadata.get("eval_env_spec") or metadata.get("env_spec") or "null") or {}
        options = dict(spec.get("kwargs") or {})
        found = dataset_reference(metadata)
        returns = None if found is None else (found.random, found.height)
        return Source(dataset.id, spec.get("id"), options, returns)
    except UNREADABLE as error:
        raise DatasetError(
            f"dataset {dataset.id}: its metadata cannot be read: {error!r}"
        ) from error


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
        skip_bad_episodes: leave out episodes that are damaged, empty or not finite, take files
            that have changed since they were made as they are, and warn of both.

    Raises:
        DatasetError: dictionary observations, unbounded actions, other spaces than the
            environment's, episodes or steps that the metadata do not count, costs in some episodes
            only, no good episode, or (unless skipped) a bad one, by number and field, or files
            that have changed.
    """
    if isinstance(dataset, str):
        _require_unchanged(dataset, skip_bad_episodes)
    data = open_dataset(dataset)
    source = source_of(data)
    require_boxes(source.name, *spaces_of(data))
    if env_spaces is not None:
        require_fit(source.name, spaces_of(data), env_spaces)
    own = _require_counts(data)
    filler, numbers, bad = _Filler(data, source, device), data.episode_indices.tolist(), []
    for number in numbers:
        try:
            episode = read_episode(data, number, own)
        except BadEpisodeError as error:
            if not skip_bad_episodes:
                raise DatasetError(f"{error}; {SKIP} leaves such episodes out") from error
            bad.append(error)
        else:
            filler.add(episode)
    if bad:
        _report(source.name, bad, len(numbers))
    return filler.finished(whole=not bad)


def _require_unchanged(name: str, go_on: bool) -> None:
    """Raise `DatasetError`, or warn, where a dataset is not what was made under this name."""
    found = [f"{file}: {what}" for file, what in changes(folder_of(name))]
    if (theirs := read_metadata(name).get("dataset_id")) != name:
        found.append(f"its metadata call it {theirs!r}")
    if not found:
        return
    words = f"dataset {name} is not what was made: {'; '.join(found)}"
    if not go_on:
        raise DatasetError(f"{words}; make it again, or take it as it is with {SKIP}")
    warnings.warn(words, RuntimeWarning, stacklevel=3)


def _require_counts(data: Any) -> bool:
    """Whether simenv made the dataset, after a look at what its metadata count.

    Raises:
        DatasetError: counts that are none, or fewer episodes than the files hold.
    """
    try:
        metadata = data.storage.read_raw_metadata(data.storage.data_path)
    except UNREADABLE as error:
        raise DatasetError(f"dataset {data.id}: its metadata cannot be read: {error!r}") from error
    require_sound(data.id, metadata, own=False)
    try:
        stored = stored_episodes(data)
    except UNREADABLE:
        stored = 0  # as a missing one, every episode is named when its turn comes
    if stored > (counted := metadata["total_episodes"]):
        raise DatasetError(
            f"dataset {data.id} is damaged: total_episodes is {counted}, but there are {stored}"
        )
    return made_here(data.storage.data_path.parent, metadata)


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
        try:
            self.steps = data.total_steps
        except UNREADABLE as error:
            raise DatasetError(f"dataset {source.name}: no count of steps: {error!r}") from error
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

    def finished(self, whole: bool) -> Transitions:
        """What has been filled; whether that should be all that the metadata count."""
        into = self.into or self._allocate(with_costs=False)
        into.cut(self.size)
        into.require_some()
        if whole and self.size < self.steps:
            raise DatasetError(
                f"dataset {self.source.name} holds {self.size} steps, but its metadata count "
                f"{self.steps}; it is damaged, make it again"
            )
        return into

    def _allocate(self, with_costs: bool) -> Transitions:
        try:
            return Transitions(
                self.steps,
                *spaces_of(self.data),
                with_costs=with_costs,
                device=self.device,
                source=self.source,
            )
        except UNREADABLE as error:
            raise DatasetError(
                f"dataset {self.source.name}: no room for {self.steps} steps: {error}"
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


def read_episode(data: Any, number: int, own: bool) -> Episode:
    """An episode of an open dataset, checked as `simenv dataset check` does.

    Args:
        data: the dataset.
        number: of the episode.
        own: simenv made it.

    Raises:
        BadEpisodeError: it cannot be read, or something is wrong with it.
    """
    try:
        found = load_episode(data, number)
    except DatasetError as error:
        raise BadEpisodeError(f"dataset {data.id}, episode {number} {error}") from error
    for field, what in episode_faults(found, *spaces_of(data), own=own):
        raise BadEpisodeError(f"dataset {data.id}, episode {number}: {field}: {what}")
    steps, costs = len(found["rewards"]), (found["infos"] or {}).get("cost")
    return Episode(
        np.asarray(found["observations"]).astype(np.float32).reshape(steps + 1, -1),
        to_unit(found["actions"], data.action_space).reshape(steps, -1),
        found["rewards"].astype(np.float32),
        found["terminations"].astype(bool),
        found["truncations"].astype(bool),
        # Minari keeps the cost of the reset in front of those of the steps.
        None if costs is None else np.asarray(costs)[-steps:].astype(np.float32),
    )
