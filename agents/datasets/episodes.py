"""Episodes of local Minari datasets, and what may be wrong with one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from agents.datasets.names import HDF5
from simenv.errors import DatasetError

UNREADABLE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    IndexError,
    OverflowError,
    RuntimeError,
)
"""What Minari and its storages raise at damaged files."""
LARGEST = float(np.finfo(np.float32).max)
FLAGS = ("terminations", "truncations")


def require_minari() -> Any:
    """Minari.

    Raises:
        DatasetError: it is not installed.
    """
    try:
        import h5py  # noqa: F401  which Minari asks for when it opens a file
        import minari
    except ImportError as error:
        raise DatasetError(
            f"reading datasets needs Minari: pip install minari h5py ({error})"
        ) from error
    return minari


def open_folder(name: str, folder: Path) -> Any:
    """The Minari dataset in a folder.

    Raises:
        DatasetError: its metadata cannot be read.
    """
    minari = require_minari()
    try:
        return minari.MinariDataset(folder / "data")
    except UNREADABLE as error:
        raise DatasetError(f"dataset {name}: its metadata cannot be read: {error!r}") from error


def spaces_of(data: Any) -> tuple[Any, Any]:
    """Observation and action space of an open dataset."""
    return data.observation_space, data.action_space


def stored_episodes(data: Any) -> int:
    """How many episodes the files of a dataset hold, whatever its metadata say.

    Raises:
        OSError: the file is damaged.
    """
    import h5py

    file = data.storage.data_path.parent / HDF5
    if not file.is_file():  # Minari's other formats have a folder for each episode
        return sum(part.is_dir() for part in data.storage.data_path.iterdir())
    with h5py.File(file, "r") as content:
        return len(content)


def load_episode(data: Any, number: int) -> dict[str, Any]:
    """The fields of an episode of an open dataset.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        found: dict[str, Any] = next(iter(data.storage.get_episodes([number])))
    except (*UNREADABLE, StopIteration) as error:
        raise DatasetError(f"cannot be read: {error!r}") from error
    return found


def episode_faults(
    episode: Mapping[str, Any], observation_space: Any, action_space: Any, *, own: bool
) -> Iterator[tuple[str, str]]:
    """Field and fault of everything that is wrong with an episode.

    Args:
        episode: from `load_episode`.
        observation_space: of the dataset.
        action_space: of the dataset.
        own: hold it also against what simenv writes: kinds and bounds of the spaces, an end at the
            last step, T + 1 of every info. Others may leave out an end, keep actions that the
            environment clips, or whatever they like as infos besides a cost.
    """
    steps = len(episode["rewards"])
    if steps == 0:
        yield "rewards", "is empty"
        return
    yield from _space("observations", episode["observations"], observation_space, steps + 1, own)
    yield from _space("actions", episode["actions"], action_space, steps, own)
    yield from _numbers("rewards", episode["rewards"], (steps,))
    yield from _ends(episode, steps, own)
    yield from _infos(episode.get("infos") or {}, steps, own)


def first_not_finite(values: np.ndarray) -> int | None:
    """First row that float32 cannot hold: NaN, infinity, or beyond its range."""
    if values.dtype.kind != "f" or not values.size:
        return None
    # The usual case needs no array of the same size; NaN fails every comparison.
    if values.max() <= LARGEST and values.min() >= -LARGEST:
        return None
    bad = ~(np.abs(values) <= LARGEST)
    return int(bad.reshape(len(values), -1).any(axis=1).argmax())


def _space(field: str, found: Any, space: Any, rows: int, own: bool) -> Iterator[tuple[str, str]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for key, part in inner:
            try:
                values = found[key]
            except (KeyError, IndexError):
                yield f"{field}/{key}", "is missing"
            else:
                yield from _space(f"{field}/{key}", values, part, rows, own)
    elif not isinstance(space, spaces.Text):
        faults = list(_numbers(field, found, (rows, *(space.shape or ()))))
        yield from faults
        if own and not faults:
            yield from _outside(field, np.asarray(found), space)


def _outside(field: str, values: np.ndarray, space: Any) -> Iterator[tuple[str, str]]:
    if not np.can_cast(values.dtype, space.dtype):
        yield field, f"is {values.dtype}, expected {space.dtype}"
    if isinstance(space, spaces.Box):
        outside = (values < space.low) | (values > space.high)
        if outside.any():
            step = int(outside.reshape(len(values), -1).any(axis=1).argmax())
            yield field, f"leaves the space's bounds at step {step}"


def _ends(episode: Mapping[str, Any], steps: int, own: bool) -> Iterator[tuple[str, str]]:
    sound = True
    for field in FLAGS:
        faults = list(_numbers(field, episode[field], (steps,)))
        yield from faults
        sound &= not faults
        if not faults and np.any(episode[field][:-1]):
            yield field, f"is set at step {int(np.argmax(episode[field] != 0))}, before the end"
    if own and sound and not any(episode[field][-1] for field in FLAGS):
        yield "truncations", "is not set at the last step, and neither is terminations"


def _infos(infos: Mapping[str, Any], steps: int, own: bool) -> Iterator[tuple[str, str]]:
    if own:
        yield from _rows("infos", infos, steps + 1)
    elif "cost" in infos:
        # Some keep the cost of the reset in front, some do not.
        rows = steps + (np.shape(infos["cost"]) == (steps + 1,))
        yield from _numbers("infos/cost", infos["cost"], (rows,))


def _rows(field: str, infos: Mapping[str, Any], rows: int) -> Iterator[tuple[str, str]]:
    for key, found in infos.items():
        if isinstance(found, Mapping):
            yield from _rows(f"{field}/{key}", found, rows)
        else:
            yield from _numbers(f"{field}/{key}", found, (rows,))


def _numbers(field: str, found: Any, shape: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    values = np.asarray(found)
    if values.dtype.kind not in "biuf":
        yield field, f"is {values.dtype}, not numbers"
    elif values.shape != shape:
        yield field, f"has shape {values.shape}, expected {shape}"
    elif (step := first_not_finite(values)) is not None:
        yield field, f"is not finite at step {step}"
