"""Kinds of jobs that leave run folders: trainings, which are gone on with, and searches."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from agents.datasets.experts import finished
from agents.runs import Run


def digest(command: Sequence[str]) -> str:
    """Six digits by which runs of other commands have other folders."""
    return hashlib.sha256(shlex.join(command).encode()).hexdigest()[:6]


class RunJob(ABC):
    """A command of `simenv` whose run folder bears the job's name.

    Attributes:
        out: folder of all runs.
        needs: names of jobs that come before.
    """

    out: Path
    needs: tuple[str, ...] = ()

    @property
    @abstractmethod
    def group(self) -> str:
        """What jobs have in common that take equally long."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the run's folder."""

    @property
    def run(self) -> Run:
        """The run, whether it has begun or not."""
        return Run(self.out / self.name)

    @abstractmethod
    def done(self) -> bool:
        """Whether the run is finished."""

    def seconds(self) -> float:
        """What it took, over all resumes."""
        return self.run.metrics()["seconds"][-1]


class Training(RunJob):
    """A job of `simenv train`."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """When it ends."""

    @abstractmethod
    def begin(self) -> list[str]:
        """The command that begins it; --out and --no-progress-bar are added."""

    def done(self) -> bool:
        """Whether its last checkpoint is there."""
        return finished(self.run, self.steps)

    def words(self) -> list[str]:
        """The command that begins it or goes on with it."""
        if (self.run.path / "config.json").exists():
            return ["train", "--resume", str(self.run.path), "--no-progress-bar"]
        return [*self.begin(), "--out", str(self.run.path), "--no-progress-bar"]


class Search(RunJob):
    """A job of `simenv optimise` with a row of metrics per iteration."""

    @property
    @abstractmethod
    def iterations(self) -> int:
        """When it ends."""

    def done(self) -> bool:
        """Whether its last iteration has been written."""
        # Without a best one nothing was finite.
        needed = ("metrics.csv", "checkpoints/best.safetensors")
        if not all((self.run.path / name).is_file() for name in needed):
            return False
        return len(self.run.metrics().get("iteration", [])) == self.iterations


def clear(jobs: Iterable[object]) -> None:
    """Remove what searches have left that were broken off: they cannot be gone on with."""
    for job in jobs:
        if isinstance(job, RunJob) and not isinstance(job, Training) and not job.done():
            shutil.rmtree(job.run.path, ignore_errors=True)
