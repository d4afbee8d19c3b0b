"""Every agent that learns from a dataset alone, on four datasets, with three seeds each: one table.

    python -m benchmarks.offline_table [--agents bc iql] [--datasets pendulum] [--seeds 0 1 2]
                                        [--steps N] [--jobs 2] [--out FOLDER] [--dry-run]

Makes the datasets that are missing, trains what is not trained yet, --jobs processes side by side
with one torch thread each, and writes rows.csv (a line per run) and table.md into --out whenever a
run is finished. Each job is a command of `simenv`, which --dry-run prints. Ctrl-C and SIGTERM let
the running ones save; the same command goes on from there. Hopper wants the extra `mujoco`.

A run's score is the mean return of its last three evaluations of twenty episodes, normalised by
the reference returns of the environment as they are known now, not when the run was trained. Of
three and not of ten, as is usual, since trainings are short: there are five evaluations in all,
and the first two are of agents that have not learnt for half their time. The best of the five is
in a column, and a table, of its own; it is what one would have by stopping at the right moment,
which needs the environment.

A cell is the interquartile mean over seeds (of three: their mean), the 95 % interval of a
stratified bootstrap, whether the mean lies above (↑), within (=) or below (↓) BC's interval, and
the number of runs. CDSA adjusts the finished BC of the same seed; its step sizes are chosen at the
very end, so that one evaluation of forty episodes is both its score and its best.

With the budgets below a seed of all agents is some 35 minutes of a core per dataset, so that the
table wants about four hours of two cores, and the datasets one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.datasets import normalized_score
from agents.datasets.names import dataset_name, local_names
from benchmarks import jobs
from benchmarks.comparison import tables
from benchmarks.processes import add_options, at_least_one, command, write_results
from simenv.registry import TASKS

EVALUATIONS = 5
"""Of a run, equally far apart, beside that of the untrained agent."""


class Agent(NamedTuple):
    """How an agent is trained here.

    Attributes:
        algorithm: of `simenv train`.
        steps: updates; of ogsrl, iterations.
        milliseconds: of an update on the walkers; the first estimate of the time left.
        fit: seconds before the first update, about.
        flags: beside those of the presets.
        last: evaluations that the score is the mean of.
        tried: the last evaluations that the best one is of.
        episodes: of an evaluation.
        on: agent whose finished run it adjusts.
    """

    algorithm: str
    steps: int
    milliseconds: float
    fit: float = 0.0
    flags: tuple[str, ...] = ()
    last: int = 3
    tried: int = EVALUATIONS
    episodes: int = 20
    on: str | None = None


COCOA_CQL = (
    "--base cql --transduction-arch 64 64 --rank 4 --num-samples 5 --conservative-weight 1 "
    "--actor-learning-rate 3e-4 --temperature-learning-rate 3e-4"
)
AGENTS = {
    "bc": Agent("bc", 10_000, 1.7),
    "td3bc": Agent("td3bc", 15_000, 4.8),
    "iql": Agent("iql", 15_000, 6.7),
    "cql": Agent("cql", 8_000, 34),
    "mopo": Agent("mopo", 10_000, 7.9, 90),
    "mobile": Agent("mobile", 5_000, 40, 90),
    "cocoa-iql": Agent("cocoa", 8_000, 23, 80),
    "cocoa-cql": Agent("cocoa", 4_000, 60, 80, tuple(COCOA_CQL.split())),
    "cdsa": Agent("cdsa", 5_000, 8.7, last=1, tried=1, episodes=40, on="bc"),
    "odice": Agent("odice", 8_000, 21),
    "ogsrl": Agent("ogsrl", 200, 1_500, 100),
}


class Data(NamedTuple):
    """A dataset.

    Attributes:
        id: of its environment.
        transitions: how many.
        seconds: that it takes to make, about, its expert included.
        split: as of `simenv dataset make`.
    """

    id: str
    transitions: int
    seconds: float
    split: str = "medium-expert"


DATASETS = {
    "pendulum": Data("Pendulum-v1", 60_000, 300),
    "hopper": Data("Hopper-v5", 40_000, 3_000),
    "walker": Data("simenv/SoftWalker2D-v0", 60_000, 240),
    "walker-safe": Data("simenv/SoftWalker2D-Safe-v0", 60_000, 330),
}


# ------------------------------------------------------------------------------- jobs


@dataclass(frozen=True)
class Make:
    """A dataset to be made."""

    data: Data
    needs: tuple[str, ...] = ()
    group: str = "dataset"

    @property
    def name(self) -> str:
        """Of the dataset."""
        return dataset_name(self.data.id, self.data.split)

    @property
    def guess(self) -> float:
        """Seconds that it takes."""
        return self.data.seconds

    def done(self) -> bool:
        """Whether it is there."""
        return self.name in local_names()

    def seconds(self) -> None:
        """Nobody knows: every dataset is made once."""

    def words(self) -> list[str]:
        """The command: it goes on by itself with what was begun."""
        asked = ["--split", self.data.split, "--transitions", str(self.data.transitions)]
        return ["dataset", "make", self.data.id, *asked, "--no-progress-bar"]


@dataclass(frozen=True)
class Training(jobs.Training):
    """An agent to be trained on a dataset with a seed.

    Attributes:
        label: of the agent.
        data_label: of the dataset.
        seed: of the training.
        out: folder of all runs.
        wanted: updates, instead of those in AGENTS.
    """

    label: str
    data_label: str
    seed: int
    out: Path
    wanted: int | None = None

    @property
    def agent(self) -> Agent:
        """How it is trained."""
        return AGENTS[self.label]

    @property
    def steps(self) -> int:
        """Updates."""
        return self.wanted or self.agent.steps

    @property
    def group(self) -> str:
        """Runs that take equally long; other budgets are other runs."""
        return f"{self.data_label}-{self.label}-{self.steps}"

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.group}-seed{self.seed}"

    @property
    def data(self) -> Data:
        """What it learns from."""
        return DATASETS[self.data_label]

    @property
    def base(self) -> Training | None:
        """The training whose policy this one adjusts, if any."""
        return None if self.agent.on is None else replace(self, label=self.agent.on)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the jobs that come before."""
        return (Make(self.data).name, *(() if self.base is None else (self.base.name,)))

    @property
    def guess(self) -> float:
        """Seconds that it takes."""
        return self.agent.fit + self.steps * self.agent.milliseconds / 1000.0

    def begin(self) -> list[str]:
        """The command."""
        every = str(max(1, self.steps // EVALUATIONS))
        words = ["train", self.agent.algorithm, "--dataset", Make(self.data).name]
        words += ["--seed", str(self.seed), "--steps", str(self.steps)]
        words += ["--eval-every", every, "--save-every", every]
        words += ["--eval-episodes", str(self.agent.episodes), *self.agent.flags]
        if self.base is not None:
            words += ["--policy", str(self.base.run.path)]
        return words

    def row(self) -> dict[str, Any]:
        """What came of it; score and cost are means of the last evaluations.

        Scores are made of returns, so that all rows have one scale whenever they were trained.

        Raises:
            DatasetError: no reference of the environment is known.
        """
        found, last = self.run.metrics(), self.agent.last
        scores = normalized_score(self.data.id, np.array(found["return_mean"]))
        costs = found.get("cost_mean", [])[-last:]
        return {
            "dataset": self.data_label,
            "agent": self.label,
            "seed": self.seed,
            "steps": self.steps,
            "score": float(np.mean(scores[-last:])),
            "best": float(np.max(scores[-self.agent.tried :])),
            "cost": float(np.mean(costs)) if costs else "",
            "seconds": self.seconds(),
        }


def plan(options: argparse.Namespace) -> tuple[list[Make | Training], list[Training]]:
    """All jobs in the order in which they are begun, and those that the table is made of.

    Every agent has its first seed on every dataset before any has its second.
    """
    # What is named twice is begun once.
    seeds, datasets, agents = (
        dict.fromkeys(names) for names in (options.seeds, options.datasets, options.agents)
    )
    wanted = [
        Training(label, data, seed, options.out, options.steps)
        for seed in seeds
        for data in datasets
        for label in agents
    ]
    bases = [job.base for job in wanted if job.base is not None and job.base not in wanted]
    return [*(Make(DATASETS[name]) for name in datasets), *bases, *wanted], wanted


# ------------------------------------------------------------------------------- results


def report(wanted: Sequence[Training], out: Path) -> list[dict[str, Any]]:
    """Write rows.csv and table.md of the runs that are finished; the rows."""
    rows = [job.row() for job in wanted if job.done()]
    write_results(out, rows, partial(tables, limits=limits()))
    return rows


def limits() -> dict[str, float | None]:
    """Of an episode's cost, by dataset, as the suite suggests them."""
    tasks = {label: TASKS.get(data.id) for label, data in DATASETS.items()}
    return {label: task.cost_limit for label, task in tasks.items() if task is not None}


# ------------------------------------------------------------------------------- the command


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", choices=AGENTS, default=list(AGENTS))
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=at_least_one, help="updates of every agent; default AGENTS")
    add_options(parser, "runs/offline_table")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Make, train and tabulate; the exit code (see `processes.command`)."""
    options = parse(words)
    root = options.out / "datasets"
    os.environ["MINARI_DATASETS_PATH"] = str(root.resolve())
    todo, wanted = plan(options)
    if not options.dry_run:
        root.mkdir(parents=True, exist_ok=True)
    return command(options, todo, partial(report, wanted, options.out))


if __name__ == "__main__":
    sys.exit(main())
