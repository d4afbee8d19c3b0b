"""Run folders: config, versions, metrics and checkpoints, written so that a crash tears nothing.

config.json      command, task id, options
versions.json    Python, packages, machine
metrics.csv      one row per iteration or evaluation
result.json      what `simenv identify` found
checkpoints/     of `optimise` NAME.safetensors; of `train` a folder per step (see checkpoints.py)
tensorboard/     curves of `train`
video/           what `simenv record` wrote, and demonstration.npz with --demo
"""

from __future__ import annotations

import csv
import fcntl
import importlib.metadata
import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import simenv
from agents.files import write_json, write_text
from simenv.envs.functional import Functional
from simenv.errors import RunError
from simenv.registry import TASKS, find, unknown

PACKAGES = ("warp-lang", "torch", "gymnasium", "stable-baselines3", "numpy")


class Run:
    """One run folder."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(
        cls,
        command: str,
        /,
        options: Any,
        seed: int,
        require: Callable[[str], object] | None = None,
        **told: Any,
    ) -> Run:
        """Make the folder of a command's options and write config and versions.

        Args:
            command: verb or algorithm; the folder is called by it.
            options: of the command.
            seed: of the run.
            require: raises `UnknownTaskError` for an id that the command does not take; default
                `require_id`.
            told: what config.json is to say beside the options.

        Raises:
            UnknownTaskError: no such task; nothing is written.
            RunError: the folder holds a run already.
        """
        dataset = getattr(options, "dataset", None)
        if options.id is not None or dataset is None:
            (require or require_id)(options.id)
        stem = options.id.split("/")[-1] if dataset is None else dataset.replace("/", "-")
        run = cls(options.out or fresh_folder(f"{stem}-{command}-{seed}"))
        if (run.path / "config.json").exists():
            raise RunError(
                f"{run.path} holds a run already; choose another folder with --out, or go on with "
                f"a training by 'simenv train --resume {run.path}'"
            )
        (run.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        config = {"command": command, **asdict(options), **told}
        run.write_json("config.json", {k: _plain(v) for k, v in config.items()})
        run.write_json("versions.json", versions())
        return run

    @property
    def config(self) -> dict[str, Any]:
        """What the run was started with.

        Raises:
            RunError: no such run, or its config.json is damaged.
        """
        file = self.path / "config.json"
        if not file.is_file():
            raise RunError(f"{self.path} is no run folder: it has no config.json")
        try:
            config: dict[str, Any] = json.loads(file.read_text())
        except ValueError as error:
            raise RunError(f"{file} is damaged: {error}") from error
        return config

    def functional(self, *, num_envs: int, device: str | None = None) -> Functional:
        """The run's task, on `device` or the run's own.

        Raises:
            UnknownTaskError: the config names none of simenv's ids.
        """
        config = self.config
        # An id, never "module:Class": a config from elsewhere must not choose code to import.
        find(config["id"])
        return Functional(
            config["id"], num_envs=num_envs, size=config["size"], device=device or config["device"]
        )

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file in one piece."""
        write_json(self.path / name, content)

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Append rows to metrics.csv; a new column is "nan" in the rows before it."""
        file = self.path / "metrics.csv"
        before = self._rows() if file.is_file() else []
        columns = list(before[0]) if before else []
        if set(rows[0]) <= set(columns):
            with file.open("a", newline="") as stream:
                csv.DictWriter(stream, columns, restval="nan").writerows(rows)
                stream.flush()
                os.fsync(stream.fileno())
            return
        self._write_rows([*before, *rows], [*columns, *(k for k in rows[0] if k not in columns)])

    def metrics(self) -> dict[str, list[float]]:
        """Columns of metrics.csv.

        Raises:
            RunError: nothing has been written yet.
        """
        file = self.path / "metrics.csv"
        if not file.is_file():
            raise RunError(f"{self.path} has no metrics.csv")
        rows = self._rows()
        return {key: [float(row[key]) for row in rows] for key in rows[0]} if rows else {}

    def forget_after(self, step: int) -> None:
        """Drop metrics and checkpoints of a later step than `step`: they will be made again."""
        for folder in self.checkpoints():
            if int(folder.name[5:]) > step:
                _remove(folder)
        file = self.path / "metrics.csv"
        if not file.is_file():
            return
        rows = [row for row in self._rows() if float(row["step"]) <= step]
        self._write_rows(rows, list(rows[0]) if rows else [])

    def _write_rows(self, rows: Sequence[Mapping[str, Any]], columns: list[str]) -> None:
        """Write metrics.csv anew."""
        with io.StringIO(newline="") as text:
            writer = csv.DictWriter(text, columns, restval="nan")
            if columns:
                writer.writeheader()
            writer.writerows(rows)
            write_text(self.path / "metrics.csv", text.getvalue())

    def _rows(self) -> list[dict[str, str]]:
        """Rows of metrics.csv; a last one that was broken off is left out."""
        with (self.path / "metrics.csv").open(newline="") as stream:
            lines = stream.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()
        return list(csv.DictReader(lines))

    def checkpoints(self) -> list[Path]:
        """Folders of the checkpoints of `simenv train`, the newest last."""
        folders = (self.path / "checkpoints").glob("step-*")
        return sorted(f for f in folders if f.is_dir() and f.name[5:].isdigit())

    def prune_checkpoints(self, keep: int) -> None:
        """Remove all but the newest checkpoints."""
        for folder in self.checkpoints()[:-keep]:
            _remove(folder)
        # What a killed process left half written or half removed.
        for leftover in (self.path / "checkpoints").glob(".step-*"):
            shutil.rmtree(leftover)

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint: to a temporary file first, then in its place.

        Raises:
            OSError: the disk is full, or not writable.
        """
        file = self.path / "checkpoints" / f"{name}.safetensors"
        partial = file.with_suffix(".partial")
        try:
            save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, partial)
        except SafetensorError as error:
            raise OSError(f"{partial} could not be written: {error}") from error
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(partial, file)

    def load(self, name: str) -> dict[str, Tensor]:
        """Read a checkpoint.

        Raises:
            RunError: no such checkpoint, or the file is damaged.
        """
        file = self.path / "checkpoints" / f"{name}.safetensors"
        if not file.is_file():
            have = sorted(p.stem for p in file.parent.glob("*.safetensors"))
            raise RunError(f"{self.path} has no checkpoint {name!r}; it has {have}")
        try:
            return dict(load_file(file))
        except (SafetensorError, OSError) as error:
            raise RunError(f"checkpoint {file} is damaged: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the same folder.

        Raises:
            RunError: one does already.
        """
        with (self.path / ".lock").open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(f"another process is training in {self.path}") from error
            yield


def _remove(folder: Path) -> None:
    # Out of the way in one step first: half removed, it would look like a damaged checkpoint.
    hidden = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(hidden, ignore_errors=True)
    os.replace(folder, hidden)
    shutil.rmtree(hidden)


def require_id(task_id: str) -> None:
    """Raise `UnknownTaskError` unless simenv or Gymnasium has registered an id."""
    if task_id not in TASKS and task_id not in gymnasium.registry:
        raise unknown(task_id, [*TASKS, *gymnasium.registry])


def reset_options(config: Mapping[str, Any], goals: str) -> dict[str, Any]:
    """What the episodes of a run start from, beside what the task draws.

    Args:
        config: of the run.
        goals: "run": those that it was trained for, if any; "task": the task draws them.
    """
    return dict(config.get("reset_options", {})) if goals == "run" else {}


def fresh_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3, … that is not there yet."""
    path, number = Path("runs") / name, 2
    while path.exists():
        path, number = Path("runs") / f"{name}-{number}", number + 1
    return path


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["simenv"] = simenv.__version__
    for package in PACKAGES:
        found[package] = importlib.metadata.version(package)
    found["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return found


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
