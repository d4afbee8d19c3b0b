"""Gradients, samplers and SAC at equal simulated steps on soft tasks, and what helps gradients.

    python -m benchmarks.optimiser_study [--tasks dough sand] [--methods adam cem] [--seeds 0 1 2]
                                          [--jobs 2] [--out FOLDER] [--dry-run]

Every job is a command of `simenv`, which --dry-run prints. The same command goes on where it was
stopped: SAC from its last checkpoint, a search that was broken off from its beginning. Whenever a
job is done curves.csv (what its best return was after how many steps), rows.csv (a line per run),
table.md and curves.png are written into --out. A run that is in curves.csv is not done again: its
folder may be removed, and the file of another study's folder be brought here to extend it.

A search optimises the return from the one start that its seed draws; its curve is the best return
so far. SAC learns a policy for all starts; its curve is the best evaluation so far, a mean of
episodes (16 on the walker, 8 elsewhere). Steps are those of forward simulation; backward, which
takes some three times as long, steps once more and is not counted (benchmarks/identification.py
counts it). Scores are normalised: 0 is the mean return of random actions and 100 that of the
suite's baseline, both over five starts (`simenv list`). Seconds are those of the clock, with --jobs
processes side by side on the cores that there are: they say what a study takes, not what a method
costs.
"""

from __future__ import annotations

import argparse
import sys
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import jobs
from benchmarks.optimiser_results import (
    REACHED,
    Curve,
    draw,
    reached,
    read_curves,
    tables,
    write_curves,
)
from benchmarks.processes import add_options, command, write_results
from simenv.listing import load_scores
from simenv.registry import TASKS as IDS
from simenv.registry import find


class Task(NamedTuple):
    """A task of the study.

    Attributes:
        id: of the task.
        policy: flags that say what a search optimises, the same for all of them.
        steps: environment steps that each method may simulate: whole iterations of
            searches, and the answer of a sampler, that is tried at last.
    """

    id: str
    policy: str
    steps: int = 10_000


TASKS = {
    "walker": Task("simenv/SoftWalker2D-v0", "--policy gait"),
    "latte": Task("simenv/LatteStir-v0", "--policy plan --knots 15", 6_150),
    "dough": Task("simenv/DoughRoll-v0", "--policy plan --knots 10", 10_100),
    "sand": Task("simenv/SandSmooth-v0", "--policy plan --knots 15", 6_150),
}


class Method(NamedTuple):
    """How a search is done.

    Attributes:
        rollouts: of the horizon, that an iteration takes.
        flags: of `simenv optimise`.
        last: rollouts after the last iteration.
        toolless: whether it means anything on a task without tools.
        times: by which it has the steps of the others.
    """

    rollouts: int
    flags: str
    last: int = 0
    toolless: bool = True
    times: int = 1


CBO = "--method cbo --population 9 --diffusion 1.1 --time-step 1 --inverse-temperature 0.5"
METHODS = {
    "adam": Method(2, "--method adam --population 2"),
    "lbfgs": Method(2, "--method lbfgs --population 2"),
    "cem": Method(10, "--method cem --population 9 --elites 3", last=1),
    "cmaes": Method(10, "--method cmaes --population 9", last=1),
    "mppi": Method(10, "--method mppi --population 9 --temperature 2 --std 0.3", last=1),
    # Few populations want long steps.
    "cbo": Method(10, CBO, last=1),
}
"""Of samplers an iteration takes the population and the answer so far, and there is one at last."""
ABLATIONS = {
    "adam, whole episode": Method(2, "--method adam --population 2 --window 0"),
    "adam, expanding": Method(
        2, "--method adam --population 2 --loss-start 30 --loss-growth 30 --patience 1"
    ),
    # What is soft is judged by a hard rollout more.
    "adam, softness 100": Method(4, "--method adam --population 2 --softness 100", toolless=False),
    "adam, attraction 1": Method(2, "--method adam --population 2 --attraction 1", toolless=False),
}
EQUAL_TIME = {"cbo, steps x 4": Method(10, CBO, last=1, times=4)}
"""A gradient's step takes four to five times as long as a sampler's."""
SEARCHES = METHODS | ABLATIONS | EQUAL_TIME
SAC = "sac"


# ------------------------------------------------------------------------------- jobs


@dataclass(frozen=True)
class Trial(jobs.RunJob):
    """A method on a task with a seed.

    Attributes:
        task: key of `TASKS`.
        method: key of `SEARCHES`, or `SAC`.
        seed: of the start and of all that is random.
        out: folder of all runs.
    """

    task: str
    method: str
    seed: int
    out: Path
    guess: float = 180.0

    @property
    def group(self) -> str:
        """Trials that take equally long."""
        return f"{self.task}-{self.method.replace(', ', '-').replace(' ', '')}"

    @property
    def name(self) -> str:
        """Of the run's folder: another command is another run."""
        return f"{self.group}-{jobs.digest(self.command())}-seed{self.seed}"

    @abstractmethod
    def command(self) -> list[str]:
        """The command that begins it, without its folder."""

    def done(self) -> bool:
        """Whether its curve is kept, or its run finished."""
        return self.name in read_curves(self.out) or super().done()

    def found(self) -> Curve:
        """The best return so far: as it is kept, or of the run."""
        return read_curves(self.out).get(self.name) or self._measured()

    def _measured(self) -> Curve:
        found = self.run.metrics()
        best = found["return_mean"] if self.method == SAC else found["return_best"]
        steps = [int(step) for step in found["step"]]
        return Curve(super().seconds(), steps, np.maximum.accumulate(best).tolist())

    def seconds(self) -> float:
        """What it took, over all resumes."""
        return self.found().seconds

    def curve(self) -> dict[str, list[float]]:
        """Steps and the best score so far."""
        found = self.found()
        random, baseline = references(TASKS[self.task].id)
        scores = 100.0 * (np.array(found.returns) - random) / (baseline - random)
        return {"step": list(found.steps), "score": scores.tolist()}

    def row(self) -> dict[str, Any]:
        """For rows.csv."""
        curve = self.curve()
        row: dict[str, Any] = {"task": self.task, "method": self.method, "seed": self.seed}
        row |= {"steps": int(curve["step"][-1]), "score": curve["score"][-1]}
        for bound in REACHED:
            row[f"reached {bound:g}"] = reached(curve, bound)
        return row | {"seconds": self.seconds()}


class Search(Trial, jobs.Search):
    """One by `simenv optimise`."""

    @property
    def iterations(self) -> int:
        """As many as the steps allow."""
        task, search = TASKS[self.task], SEARCHES[self.method]
        episodes = search.times * task.steps // IDS[task.id].horizon
        return (episodes - search.last) // search.rollouts

    def command(self) -> list[str]:
        """Method, policy, iterations and seed."""
        task, search = TASKS[self.task], SEARCHES[self.method]
        flags = f"{search.flags} {task.policy} --iterations {self.iterations}".split()
        return ["optimise", task.id, *flags, "--seed", str(self.seed)]

    def words(self) -> list[str]:
        """The command."""
        return [*self.command(), "--out", str(self.run.path)]


class Training(Trial, jobs.Training):
    """One by `simenv train sac`."""

    @property
    def steps(self) -> int:
        """Of the study."""
        return TASKS[self.task].steps

    def begin(self) -> list[str]:
        """The command."""
        return self.command()

    def command(self) -> list[str]:
        """With ten evaluations."""
        every = str(self.steps // 10)
        flags = ["--steps", str(self.steps), "--eval-every", every, "--save-every", every]
        return ["train", SAC, TASKS[self.task].id, *flags, "--seed", str(self.seed)]


def references(task_id: str) -> tuple[float, float]:
    """Mean returns of random actions and of the baseline."""
    scores = load_scores()[find(task_id).family]
    return scores["random"]["return_mean"], scores["baseline"]["return_mean"]


def plan(
    seeds: Iterable[int], out: Path, tasks: Iterable[str] = (), methods: Iterable[str] = ()
) -> list[Search | Training]:
    """Trials of some tasks and methods, or all: each its first seed before any its second."""
    return [
        (Training if method == SAC else Search)(task, method, seed, out)
        for seed in dict.fromkeys(seeds)
        for task in dict.fromkeys(tasks or TASKS)
        for method in dict.fromkeys(methods or (*SEARCHES, SAC))
        if method not in ABLATIONS or ABLATIONS[method].toolless or task != "walker"
    ]


def report(trials: Sequence[Search | Training], out: Path) -> list[dict[str, Any]]:
    """Write what the trials that are done have found (see the module's docstring); their rows."""
    done = [trial for trial in trials if trial.done()]
    write_curves(out, {trial.name: trial.found() for trial in done})
    rows = [trial.row() for trial in done]
    curves = [(trial.task, trial.method, trial.curve()) for trial in done]
    sets = [[*METHODS, SAC], ["adam", *ABLATIONS]]
    write_results(out, rows, tables, partial(draw, curves, sets))
    return rows


# ------------------------------------------------------------------------------- the command


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    methods = [*SEARCHES, SAC]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    add_options(parser, "runs/optimiser_study")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Search, train and tabulate; the exit code (see `processes.command`)."""
    options = parse(words)
    trials = plan(options.seeds, options.out, options.tasks, options.methods)
    if not options.dry_run:
        jobs.clear(trials)
    # What others have found with these seeds stays in the tables.
    every = plan(options.seeds, options.out)
    return command(options, trials, partial(report, every, options.out))


if __name__ == "__main__":
    sys.exit(main())
