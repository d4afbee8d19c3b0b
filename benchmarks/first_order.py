"""SHAC on the soft walker beside SAC, which gets five times as many steps.

    python -m benchmarks.first_order [--agents sac shac] [--seeds 0 1 2] [--jobs 2] [--out FOLDER]
                                      [--dry-run]

Each agent is trained with its presets. The same command goes on where it was stopped. Writes
rows.csv (a line per run), table.md and curves.png into --out. Steps are those of forward
simulation. A run's best return is that of its best evaluation, the mean of sixteen episodes: both
agents are held against the same sixteen starts, and SAC has twice as many evaluations to be best
in. `reached` is the first evaluation that is as good as the best one of SAC's run with that seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agents.plots import COLORS, band
from benchmarks import jobs
from benchmarks.comparison import head, line
from benchmarks.processes import add_options, command, write_results

ID = "simenv/SoftWalker2D-v0"
RIVAL = "sac"
STEPS = {RIVAL: 100_000, "shac": 20_000}
EVALUATIONS = {RIVAL: 20, "shac": 10}


@dataclass(frozen=True)
class Training(jobs.Training):
    """An agent with a seed.

    Attributes:
        agent: key of `STEPS`.
        seed: of the training.
        out: folder of all runs.
    """

    agent: str
    seed: int
    out: Path
    guess: float = 900.0

    @property
    def group(self) -> str:
        """Runs that take equally long."""
        return self.agent

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.agent}-seed{self.seed}"

    @property
    def steps(self) -> int:
        """Environment steps."""
        return STEPS[self.agent]

    def begin(self) -> list[str]:
        """The command."""
        every = str(self.steps // EVALUATIONS[self.agent])
        flags = ["--steps", str(self.steps), "--eval-every", every, "--save-every", every]
        return ["train", self.agent, ID, *flags, "--seed", str(self.seed)]

    def row(self) -> dict[str, Any]:
        """For rows.csv."""
        found = self.run.metrics()
        best = int(np.argmax(found["return_mean"]))
        return {
            "agent": self.agent,
            "seed": self.seed,
            "steps": int(found["step"][-1]),
            "best": found["return_mean"][best],
            "at": int(found["step"][best]),
            "last": found["return_mean"][-1],
            "seconds": self.seconds(),
        }


def reached(job: Training, rows: Sequence[Mapping[str, Any]]) -> int | str:
    """Steps until it was as good as the rival's best with the same seed; "" if it never was."""
    goals = [r["best"] for r in rows if (r["agent"], r["seed"]) == (RIVAL, job.seed)]
    found = job.run.metrics()
    pairs = zip(found["step"], found["return_mean"], strict=True)
    return next((int(step) for step, value in pairs if goals and value >= goals[0]), "")


def report(wanted: Sequence[Training], out: Path) -> list[dict[str, Any]]:
    """Write rows.csv, table.md and curves.png of the runs that are finished; the rows."""
    done = [job for job in wanted if job.done()]
    rows = [job.row() for job in done]
    for job, row in zip(done, rows, strict=True):
        row["reached"] = reached(job, rows)
    write_results(out, rows, table, partial(draw, done))
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, a line per run."""
    columns = ("seed", "steps", "best", "at", "last", "reached", "seconds")
    lines = head(["agent", *columns])
    for row in rows:
        lines.append(line(row["agent"], [_cell(row[column]) for column in columns]))
    return "\n".join(lines) + "\n"


def _cell(value: float | str) -> str:
    if value == "":
        return "–"
    return f"{value:.1f}" if isinstance(value, float) else f"{value:,}"


def draw(done: Sequence[Training], path: Path) -> None:
    """Evaluations against steps: means over seeds, with intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    for agent, color in zip(STEPS, COLORS, strict=False):
        runs = [job.run.metrics() for job in done if job.agent == agent]
        if runs:
            found = band(runs, "return_mean")
            axes.plot(found.steps, found.middle, color=color, label=agent.upper())
            axes.fill_between(found.steps, found.low, found.high, color=color, alpha=0.15, lw=0)
    axes.set(xlabel="simulated environment steps", ylabel="return of evaluations")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def plan(agents: Iterable[str], seeds: Iterable[int], out: Path) -> list[Training]:
    """Trainings of some agents, each its first seed before any its second."""
    return [
        Training(agent, seed, out)
        for seed in dict.fromkeys(seeds)
        for agent in dict.fromkeys(agents)
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Train and tabulate; the exit code (see `processes.command`)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add_options(parser, "runs/first_order")
    options = parser.parse_args(words)
    wanted = plan(options.agents, options.seeds, options.out)
    # What the other agent has done with these seeds stays in the table.
    every = plan(STEPS, options.seeds, options.out)
    return command(options, wanted, partial(report, every, options.out))


if __name__ == "__main__":
    sys.exit(main())
