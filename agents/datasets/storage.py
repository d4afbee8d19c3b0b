"""Writing datasets: chunks of episodes while they are collected, then a Minari dataset at once."""

from __future__ import annotations

import fcntl
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from agents import checkpoints
from agents.checkpoints import sync
from agents.datasets.collection import Episode
from agents.datasets.manifest import write_manifest
from agents.datasets.names import HDF5, MANIFEST, METADATA, digest, root, work
from agents.runs import Run
from simenv.errors import DatasetError

Labelled = tuple[str, list[Episode]]
"""What the behaviour is called, and some episodes of it."""


class Workshop:
    """Folder in which a dataset comes about; the same request finds its chunks again.

    Args:
        name: of the dataset.
        request: everything that the data depend on, JSON-able.
    """

    def __init__(self, name: str, request: Mapping[str, Any]) -> None:
        self.path = work("making", f"{name.replace('/', '-')}-{digest(request)}")
        self.request = dict(request)

    @contextmanager
    def open(self) -> Iterator[Workshop]:
        """Make the folder, and keep other processes out of it.

        Raises:
            DatasetError: one is at work there already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        Run(self.path).write_json("request.json", self.request)
        with (self.path / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DatasetError(f"another process is at work in {self.path}") from error
            yield self

    def chunk(self, part: str, number: int) -> list[Episode] | None:
        """Episodes of a chunk; None where it is not there whole."""
        folder = self._chunk(part, number)
        if not checkpoints.whole(folder):
            return None
        return [Episode(**row) for row in checkpoints.read(folder)["episodes"]]

    def keep(self, part: str, number: int, episodes: list[Episode]) -> None:
        """Write a chunk, whole or not at all."""
        names = [f.name for f in fields(Episode)]
        rows = [{name: getattr(episode, name) for name in names} for episode in episodes]
        folder = self._chunk(part, number)
        # What is there is torn: had it been whole, it would not have been collected again.
        shutil.rmtree(folder, ignore_errors=True)
        checkpoints.write(folder, {"episodes": rows})

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _chunk(self, part: str, number: int) -> Path:
        return self.path / f"{part}-{number:06d}"


# ------------------------------------------------------------------------------- Minari


def require_absent(name: str) -> None:
    """Raise `DatasetError` if a dataset is there already."""
    if (root() / name).exists():
        raise DatasetError(
            f"there is a dataset {name!r} already, in {root() / name}; make another version "
            "(--version), or delete that folder first"
        )


def publish(
    name: str,
    spec: Any,
    chunks: Iterable[Labelled],
    about: Mapping[str, Any],
    stage: Path,
) -> Path:
    """Write a Minari dataset, whole or not at all; returns its folder.

    Args:
        name: of the dataset.
        spec: Gymnasium's `EnvSpec` of the environment.
        chunks: the episodes, read one chunk at a time; at least one.
        about: metadata under "simenv", and the arguments of Minari under "minari".
        stage: a folder on the same disk, for this alone.

    Raises:
        DatasetError: a dataset of that name is there already.
        OSError: the disk is full, or not writable.
    """
    shutil.rmtree(stage, ignore_errors=True)
    try:
        _fill(name, spec, chunks, about, stage)
        _seal(stage / name)
        return _put_in_place(name, stage)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _fill(
    name: str, spec: Any, chunks: Iterable[Labelled], about: Mapping[str, Any], stage: Path
) -> None:
    import minari

    statistics, dataset = Statistics(), None
    with _datasets_in(stage), warnings.catch_warnings():
        # Minari recommends an e-mail address and a link for datasets that are published.
        warnings.simplefilter("ignore", UserWarning)
        for label, episodes in chunks:
            buffers = [_buffer(episode) for episode in episodes]
            if dataset is None:
                given = {"env": spec, "eval_env": spec, "data_format": "hdf5", **about["minari"]}
                dataset = minari.create_dataset_from_buffers(
                    name, buffers, jpeg_encoding=False, **given
                )
            else:
                dataset.update_dataset_from_buffer(buffers)
            total = dataset.storage.total_episodes
            labels = [{"behaviour": label}] * len(episodes)
            dataset.storage.update_episode_metadata(labels, range(total - len(episodes), total))
            statistics.add(episodes)
        assert dataset is not None
        own = {**about["simenv"], "statistics": statistics.summary()}
        dataset.storage.update_metadata({"simenv": own})


def _buffer(episode: Episode) -> Any:
    from minari.data_collector import EpisodeBuffer

    terminations, truncations = (np.zeros(len(episode), dtype=bool) for _ in range(2))
    terminations[-1], truncations[-1] = episode.terminated, episode.truncated
    return EpisodeBuffer(
        seed=episode.seed,
        observations=episode.observations,
        actions=episode.actions,
        rewards=episode.rewards,
        terminations=terminations,
        truncations=truncations,
        infos=episode.infos or None,
    )


@contextmanager
def _datasets_in(folder: Path) -> Iterator[None]:
    """Let Minari write somewhere else; it asks the environment variable every time."""
    name, before = "MINARI_DATASETS_PATH", os.environ.get("MINARI_DATASETS_PATH")
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _seal(folder: Path) -> None:
    write_manifest(folder)
    for file in (HDF5, METADATA, MANIFEST, "data", "."):
        sync(folder / file)


def _put_in_place(name: str, stage: Path) -> Path:
    from minari.namespace import create_namespace, list_local_namespaces

    namespace, _, _ = name.rpartition("/")
    if namespace not in list_local_namespaces():
        create_namespace(namespace)
    require_absent(name)
    os.replace(stage / name, root() / name)
    sync((root() / name).parent)
    return root() / name


class Statistics:
    """Numbers of all episodes, gathered chunk by chunk."""

    def __init__(self) -> None:
        self._rows: dict[str, list[float]] = {"return": [], "length": []}
        self._ends = {"terminated": 0, "truncated": 0}

    def add(self, episodes: list[Episode]) -> None:
        """Count some episodes."""
        for episode in episodes:
            self._rows["return"].append(float(episode.rewards.sum()))
            self._rows["length"].append(len(episode))
            if "cost" in episode.infos:
                costs = self._rows.setdefault("cost", [])
                costs.append(float(np.sum(episode.infos["cost"])))
            self._ends["terminated"] += episode.terminated
            self._ends["truncated"] += episode.truncated

    def summary(self) -> dict[str, Any]:
        """Mean, deviation and quartiles by name, and how many episodes ended in which way."""
        return {name: spread_of(values) for name, values in self._rows.items()} | self._ends


def spread_of(values: list[float]) -> dict[str, float]:
    """Mean, standard deviation, least, quartiles and greatest of some numbers."""
    names = ("min", "lower_quartile", "median", "upper_quartile", "max")
    ranks = np.quantile(values, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    moments = {"mean": float(np.mean(values)), "std": float(np.std(values))}
    return moments | dict(zip(names, ranks, strict=True))
