"""Commands of `simenv` side by side, in an order that they ask for, ended and gone on with.

What the benchmarks share that train or search often: their common options, and the loop that works
on the jobs, reports, and ends with an exit code.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agents.files import write_text
from agents.interruption import Terminated


class Job(Protocol):
    """Something that a command of `simenv` does.

    Attributes:
        name: of this job alone.
        needs: names of jobs that come before.
        group: what jobs have in common that take equally long.
        guess: seconds that it takes, as long as none of its group has been measured.
    """

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...
    @property
    def group(self) -> str: ...
    @property
    def guess(self) -> float: ...

    def done(self) -> bool:
        """Whether what it makes is there."""

    def seconds(self) -> float | None:
        """What it took once it is done, over all its processes; None: nobody knows."""

    def words(self) -> list[str]:
        """The command that begins it, or goes on with it."""


@dataclass(frozen=True)
class Running:
    """A job in its process."""

    job: Job
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)


@dataclass
class Pool:
    """Runs jobs in processes, each once what it needs is done; a failure costs what needs it.

    Attributes:
        slots: processes side by side.
        logs: folder of what they print.
        changed: called whenever a job is done.
        failed: names of jobs that failed, and of those that needed them.
    """

    slots: int
    logs: Path
    changed: Callable[[], object]
    failed: list[str] = field(default_factory=list)
    _waiting: list[Job] = field(default_factory=list)
    _running: list[Running] = field(default_factory=list)
    _seconds: dict[str, list[float]] = field(default_factory=dict)

    def work(self, jobs: Sequence[Job]) -> None:
        """Run what is not done; whatever ends it, processes save and end first."""
        for job in jobs:
            if job.done():
                self._measure(job)
            else:
                self._waiting.append(job)
        print(f"{len(jobs) - len(self._waiting)} of {len(jobs)} jobs are done", flush=True)
        try:
            while self._waiting or self._running:
                self._begin()
                time.sleep(0.1)
                self._collect()
        finally:
            for running in self._running:
                running.process.terminate()
            for running in self._running:
                running.process.wait()

    def _begin(self) -> None:
        """Start the first jobs that nothing stands in the way of, as far as there are slots."""
        if len(self._running) >= self.slots:
            return
        for job in list(self._waiting):
            open_jobs = {j.name for j in (*self._waiting, *(r.job for r in self._running))}
            lost = [name for name in job.needs if name in self.failed]
            if lost:
                self._waiting.remove(job)
                self._lose(job, f"there is no {lost[0]}")
            elif len(self._running) < self.slots and not open_jobs.intersection(job.needs):
                self._waiting.remove(job)
                self._running.append(Running(job, self._spawn(job)))

    def _spawn(self, job: Job) -> subprocess.Popen[bytes]:
        words = job.words()
        print(f"+ simenv {shlex.join(words)}", flush=True)
        with self._log(job).open("ab") as log:
            # In a session of its own: Ctrl-C reaches it once, through this process.
            return subprocess.Popen(
                [sys.executable, "-m", "agents.cli", *words],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def _collect(self) -> None:
        for running in list(self._running):
            code, job = running.process.poll(), running.job
            if code is None:
                continue
            self._running.remove(running)
            if code or not job.done():
                self._lose(job, f"exit code {code}, see {self._log(job)}")
            else:
                self._measure(job)
                self.changed()
                print(f"{job.name} is done", flush=True)
            print(self._left(), flush=True)

    def _lose(self, job: Job, why: str) -> None:
        self.failed.append(job.name)
        print(f"{job.name} FAILED: {why}", flush=True)

    def _log(self, job: Job) -> Path:
        return self.logs / f"{job.name.replace('/', '-')}.log"

    def _measure(self, job: Job) -> None:
        if (seconds := job.seconds()) is not None:
            self._seconds.setdefault(job.group, []).append(seconds)

    def _left(self) -> str:
        now = time.monotonic()
        total = sum(self._expect(job) for job in self._waiting)
        total += sum(max(0.0, self._expect(r.job) - (now - r.began)) for r in self._running)
        number = len(self._waiting) + len(self._running)
        return f"{number} jobs left, about {total / self.slots / 3600:.1f} h"

    def _expect(self, job: Job) -> float:
        known = self._seconds.get(job.group)
        return sum(known) / len(known) if known else job.guess


# ------------------------------------------------------------------------------- commands


def add_options(parser: argparse.ArgumentParser, out: str) -> None:
    """--jobs, --out (default `out`) and --dry-run."""
    parser.add_argument("--jobs", type=at_least_one, default=2, help="processes side by side")
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")


def at_least_one(text: str) -> int:
    """The type of an option that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return int(text)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file with the columns of the first row, whole or not at all."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def write_results(
    out: Path,
    rows: Sequence[Mapping[str, Any]],
    table: Callable[[Any], str],
    draw: Callable[[Path], object] | None = None,
) -> None:
    """Write rows.csv, table.md and, if something is drawn, curves.png; nothing without rows."""
    if not rows:
        return
    write_rows(out / "rows.csv", rows)
    (out / "table.md").write_text(table(rows))
    if draw is not None:
        draw(out / "curves.png")


def command(options: argparse.Namespace, jobs: Sequence[Job], report: Callable[[], object]) -> int:
    """Work on jobs and report whenever one is done, and at the end; or print what is to be done.

    Args:
        options: those of `add_options`.
        jobs: in the order in which they are begun.
        report: writes what has been found so far; something true, if there is anything.

    Returns:
        The exit code: 1 if a job failed, 130 or 143 if it was stopped.
    """
    if options.dry_run:
        print("\n".join(f"simenv {shlex.join(job.words())}" for job in jobs if not job.done()))
        return 0
    logs = options.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _terminated)
    pool = Pool(options.jobs, logs, report)
    try:
        pool.work(jobs)
    except KeyboardInterrupt as stop:
        print("stopped; the same command goes on from here", flush=True)
        return 143 if isinstance(stop, Terminated) else 130
    finally:
        if report():
            print((options.out / "table.md").read_text())
    return 1 if pool.failed else 0


def _terminated(number: int, frame: object) -> None:
    """End as after Ctrl-C."""
    raise Terminated
