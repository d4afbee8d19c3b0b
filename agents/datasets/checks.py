"""What may be wrong with a dataset: damage, gaps, numbers that are none, another environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from agents.checkpoints import file_digest
from agents.datasets.names import HDF5, MANIFEST, METADATA, folder_of, read_metadata
from simenv.errors import DatasetError

MOST = 10
"""Problems told of one dataset."""
AGAIN = "delete its folder and make it again with 'simenv dataset make'"
REQUIRED = ("dataset_id", "total_episodes", "total_steps", "env_spec", "algorithm_name", "simenv")
ABOUT = ("version", "id", "split", "size", "seed", "parts", "reference", "statistics")


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
    their bounds, and one end, at its end.

    Raises:
        DatasetError: no such dataset.
    """
    folder_of(name)
    return list(islice(_problems(name), MOST))


def _problems(name: str) -> Iterator[Problem]:
    yield from _damage(name)
    try:
        metadata = read_metadata(name)
    except DatasetError as error:
        yield Problem(name, METADATA, str(error))
        return
    lacking = list(_lacking(name, metadata))
    yield from lacking
    if lacking:
        return
    yield from _other_environment(name, metadata)
    yield from _content(name, metadata)


# ------------------------------------------------------------------------------- files


def _damage(name: str) -> Iterator[Problem]:
    folder = folder_of(name)
    file = folder / MANIFEST
    if not file.is_file():
        remedy = "only datasets made by 'simenv dataset make' can be checked"
        yield Problem(name, MANIFEST, "is missing: the dataset is foreign, or damaged", remedy)
        return
    try:
        digests = dict(json.loads(file.read_text())["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        yield Problem(name, MANIFEST, f"is damaged: {error!r}")
        return
    for part in (HDF5, METADATA):
        if not (folder / part).is_file():
            yield Problem(name, part, "is missing")
        elif file_digest(folder / part) != digests.get(part):
            yield Problem(name, part, f"its SHA-256 is not that of {MANIFEST}: it has changed")


def _lacking(name: str, metadata: Mapping[str, Any]) -> Iterator[Problem]:
    if metadata.get("dataset_id") != name:
        found = metadata.get("dataset_id")
        yield Problem(name, METADATA, f"dataset_id is {found!r}: it was moved, or is another's")
    for field in REQUIRED:
        if field not in metadata:
            yield Problem(name, METADATA, f"{field} is missing")
    own = metadata.get("simenv")
    if isinstance(own, dict):
        lacking = [field for field in ABOUT if field not in own]
        yield from (Problem(name, METADATA, f"simenv.{field} is missing") for field in lacking)


def _other_environment(name: str, metadata: Mapping[str, Any]) -> Iterator[Problem]:
    from minari.serialization import deserialize_space

    try:
        env = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(metadata["env_spec"]))
    except Exception as error:  # whatever an environment of any package raises
        what = f"the environment cannot be made: {error}"
        yield Problem(name, METADATA, what, "install what it needs (metadata 'requirements')")
        return
    for which in ("observation_space", "action_space"):
        mine, theirs = getattr(env, which), deserialize_space(metadata[which])
        if mine != theirs:
            what = f"{which} is {theirs}, but {env.spec and env.spec.id} has {mine}"
            yield Problem(name, METADATA, what, "use the versions in metadata 'requirements'")
    env.close()


# ------------------------------------------------------------------------------- episodes


def _content(name: str, metadata: Mapping[str, Any]) -> Iterator[Problem]:
    import h5py
    from minari.serialization import deserialize_space

    kinds = {w: deserialize_space(metadata[f"{w}_space"]) for w in ("observation", "action")}
    episodes, steps = 0, 0
    try:
        with h5py.File(folder_of(name) / HDF5, "r") as file:
            for number in range(len(file)):
                group = file[f"episode_{number}"]
                for field, what in _episode(group, kinds):
                    yield Problem(name, HDF5, f"episode {number}: {field}: {what}")
                episodes, steps = episodes + 1, steps + len(group["rewards"])
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        yield Problem(name, HDF5, f"episode {episodes} cannot be read: {error}")
        return
    if steps == 0:
        yield Problem(name, HDF5, "is empty: it holds no transition")
    for field, found in (("total_episodes", episodes), ("total_steps", steps)):
        if metadata[field] != found:
            yield Problem(name, METADATA, f"{field} is {metadata[field]}, but there are {found}")


def _episode(group: Any, kinds: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Field and fault of everything that is wrong with an episode."""
    missing = [
        field
        for field in ("observations", "actions", "rewards", "terminations", "truncations")
        if field not in group
    ]
    yield from ((field, "is missing") for field in missing)
    if missing:
        return
    steps = len(group["rewards"])
    if steps == 0:
        yield "rewards", "is empty"
        return
    yield from _space("observations", group["observations"], kinds["observation"], steps + 1)
    yield from _space("actions", group["actions"], kinds["action"], steps)
    yield from _numbers("rewards", group["rewards"][()], steps, ())
    for field in ("terminations", "truncations"):
        flags = group[field][()]
        if flags.shape != (steps,):
            yield field, f"has shape {flags.shape}, expected {(steps,)}"
        elif flags[:-1].any():
            yield field, f"is set at step {int(flags.argmax())}, before the end"
    if not (group["terminations"][-1] or group["truncations"][-1]):
        yield "truncations", "is not set at the last step, and neither is terminations"
    if "infos" in group:
        yield from _infos("infos", group["infos"], steps + 1)


def _space(field: str, found: Any, space: Any, rows: int) -> Iterator[tuple[str, str]]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.items():
            if key not in found:
                yield f"{field}/{key}", "is missing"
            else:
                yield from _space(f"{field}/{key}", found[key], inner, rows)
        return
    values = found[()]
    faults = list(_numbers(field, values, rows, space.shape))
    yield from faults
    if faults:
        return
    if not np.can_cast(values.dtype, space.dtype):
        yield field, f"is {values.dtype}, expected {space.dtype}"
    if isinstance(space, spaces.Box):
        outside = ((values < space.low) | (values > space.high)).reshape(rows, -1).any(axis=1)
        if outside.any():
            yield field, f"leaves the space's bounds at step {int(outside.argmax())}"


def _infos(field: str, group: Any, rows: int) -> Iterator[tuple[str, str]]:
    for key, found in group.items():
        if hasattr(found, "items"):
            yield from _infos(f"{field}/{key}", found, rows)
        else:
            yield from _numbers(f"{field}/{key}", found[()], rows, ())


def _numbers(
    field: str, values: Any, rows: int, shape: tuple[int, ...]
) -> Iterator[tuple[str, str]]:
    if np.shape(values) != (rows, *shape):
        yield field, f"has shape {np.shape(values)}, expected {(rows, *shape)}"
    elif not np.isfinite(values).all():
        step = int((~np.isfinite(values)).reshape(rows, -1).any(axis=1).argmax())
        yield field, f"is not finite at step {step}"
