"""What may be wrong with a dataset: damage, gaps, numbers that are none, another environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium

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
from agents.datasets.metadata import made_here, metadata_faults
from agents.datasets.names import HDF5, MANIFEST, METADATA, folder_of, read_metadata
from simenv.errors import DatasetError

MOST = 10
"""Problems told of one dataset."""
AGAIN = "delete its folder and make it again with 'simenv dataset make'"
FOREIGN = "mend it where it comes from; '--skip-bad-episodes' of 'simenv train' leaves episodes out"
MOVE = "move it back, or give the name it has now as dataset_id"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        name: of the dataset.
        where: file, and episode and field where it is in one.
        what: what is wrong there.
        remedy: what to do about it.
    """

    name: str
    where: str
    what: str
    remedy: str = AGAIN

    def __str__(self) -> str:
        """One line."""
        return f"{self.name}: {self.where}: {self.what}; {self.remedy}"


def check(name: str) -> list[Problem]:
    """Everything that is wrong with a local dataset, the first few of it; empty if it is sound.

    Checked are the SHA-256 of each file against the manifest, the metadata, spaces as the
    environment has them, and of every episode lengths, shapes, finite numbers, actions within
    their bounds, and one end, at its end. A foreign dataset is held against what an agent needs
    that learns from it: counts, lengths, shapes, finite numbers, no end but at the end.

    Raises:
        DatasetError: no such dataset, or Minari is not installed.
    """
    require_minari()
    return list(islice(_Checked(name, folder_of(name)).problems(), MOST))


class _Checked:
    """A dataset being checked.

    Args:
        name: of the dataset.
        folder: it is in.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.own = made_here(folder, {})

    def problems(self) -> Iterator[Problem]:
        """All; what rests on metadata that are broken is not looked at."""
        for file, what in changes(self.folder):
            yield self._problem(file, what)
        try:
            metadata = read_metadata(self.name)
            self.own = made_here(self.folder, metadata)
            yield from self._identity(metadata)
            faults = list(metadata_faults(metadata, self.own))
            yield from (self._problem(METADATA, f"{field} {what}") for field, what in faults)
            if faults:
                return
            data = open_folder(self.name, self.folder)
        except DatasetError as error:
            yield self._problem(METADATA, str(error))
            return
        if self.own:
            yield from self._other_environment(data, metadata["env_spec"])
        yield from self._content(data, metadata)

    def _problem(self, where: str, what: str, remedy: str | None = None) -> Problem:
        return Problem(self.name, where, what, remedy or (AGAIN if self.own else FOREIGN))

    def _identity(self, metadata: dict[str, Any]) -> Iterator[Problem]:
        if self.own and not (self.folder / MANIFEST).is_file():
            yield self._problem(MANIFEST, "is missing, so that nobody knows what has changed")
        found = metadata.get("dataset_id", self.name)
        if found != self.name:
            yield self._problem(METADATA, f"dataset_id is {found!r}: it was moved", MOVE)

    def _other_environment(self, data: Any, spec: str) -> Iterator[Problem]:
        try:
            env = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(spec))
        except Exception as error:  # whatever an environment of any package raises
            what = f"the environment cannot be made: {error}"
            yield self._problem(METADATA, what, "install what it needs (metadata 'requirements')")
            return
        with closing(env):
            for which in ("observation_space", "action_space"):
                mine, theirs = getattr(env, which), getattr(data, which)
                if mine != theirs:
                    what = f"{which} is {theirs}, but {env.spec and env.spec.id} has {mine}"
                    remedy = "use the versions in metadata 'requirements'"
                    yield self._problem(METADATA, what, remedy)

    def _content(self, data: Any, metadata: dict[str, Any]) -> Iterator[Problem]:
        try:
            stored = stored_episodes(data)
        except UNREADABLE as error:
            yield self._problem(HDF5, f"cannot be read: {error!r}")
            return
        steps = 0
        for number in range(stored):
            try:
                episode = load_episode(data, number)
            except DatasetError as error:
                yield self._problem(HDF5, f"episode {number} {error}")
                continue
            steps += len(episode["rewards"])
            for field, what in episode_faults(episode, *spaces_of(data), own=self.own):
                yield self._problem(HDF5, f"episode {number}: {field}: {what}")
        if steps == 0:
            yield self._problem(HDF5, "is empty: it holds no transition")
        for field, found in (("total_episodes", stored), ("total_steps", steps)):
            if metadata[field] != found:
                what = f"{field} is {metadata[field]}, but there are {found}"
                yield self._problem(METADATA, what)
