"""Imitation of one demonstration by ILD, behavioural cloning and GAIL; how far it carries.

    python -m benchmarks.imitation [--tasks walker rope] [--methods ild gail] [--seeds 0 1 2]
                                    [--jobs 2] [--out FOLDER] [--dry-run]

The demonstration is an episode of an optimised gait on the walker, and the suite's baseline on the
rope, from the start of seed 0. Every policy is played deterministically for 20 episodes on each of
three kinds of starts: the task's own, with the bodies moved (`pose`), and with materials of other
stiffness (`material`). A score is the mean return, counted from random actions (0) to the
demonstrator (100); a cell is the mean over seeds, with the range. The same command goes on where it
was stopped; what has been played is played again if the policy, its demonstration or the way of
playing is another one. Writes rows.csv and table.md into --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from agents import BC
from agents.checkpoints import file_digest
from agents.demonstrations import read_demonstration
from agents.environments import make_vec
from agents.evaluation import collect_episodes
from agents.files import write_json
from agents.training import load_agent
from benchmarks import jobs
from benchmarks.comparison import head, line
from benchmarks.processes import Job, add_options, command, write_results
from simenv.listing import load_scores
from simenv.registry import find


class Task(NamedTuple):
    """A task of the benchmark.

    Attributes:
        id: of the task.
        searched: whether a gait is optimised to demonstrate; else the suite's baseline does.
        ild: flags of `simenv train ild`.
        ild_steps: environment steps that it gets.
        gail_steps: those of `simenv train gail`.
    """

    id: str
    searched: bool
    ild: str
    ild_steps: int
    gail_steps: int = 20_000


TASKS = {
    "walker": Task("simenv/SoftWalker2D-v0", True, "--num-envs 8 --learning-rate 1e-4", 25_600),
    "rope": Task("simenv/RopePush-v0", False, "--num-envs 8 --learning-rate 1e-4", 19_200),
}
STARTS: dict[str, dict[str, bool]] = {
    "own": {},
    "pose": {"pose": True},
    "material": {"material": True},
}
METHODS = ("ild", "gail")
"""Beside behavioural cloning."""
CLONING = 2_000
"""Updates of behavioural cloning."""
EPISODES, SEED = 20, 20_000
"""Of an evaluation."""


# ------------------------------------------------------------------------------- jobs


@dataclass(frozen=True)
class Search(jobs.Search):
    """The search for a demonstrator."""

    task: str
    out: Path
    group: str = "search"
    guess: float = 150.0
    iterations: int = 60

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.task}-search"

    def words(self) -> list[str]:
        """The command."""
        flags = ["--iterations", str(self.iterations), "--out", str(self.run.path)]
        return ["optimise", TASKS[self.task].id, *flags]


@dataclass(frozen=True)
class Show:
    """The episode that is imitated, from the start of seed 0."""

    task: str
    out: Path
    group: str = "show"
    guess: float = 10.0

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.task}-demonstration"

    @property
    def file(self) -> Path:
        """The demonstration."""
        return self.out / self.name / "demonstration.npz"

    @property
    def search(self) -> Search | None:
        """Where the demonstrator comes from; None: from the suite's baselines."""
        return Search(self.task, self.out) if TASKS[self.task].searched else None

    @property
    def needs(self) -> tuple[str, ...]:
        """The search, if there is one."""
        return () if self.search is None else (self.search.name,)

    def done(self) -> bool:
        """Whether the file is there."""
        return self.file.is_file()

    def seconds(self) -> None:
        """Not measured."""

    def words(self) -> list[str]:
        """The command."""
        player = TASKS[self.task].id if self.search is None else str(self.search.run.path)
        where = ["--width", "64", "--out", str(self.file.parent)]
        return ["record", player, "--demo", "--seed", "0", *where]


@dataclass(frozen=True)
class Training(jobs.Training):
    """An imitator with a seed."""

    task: str
    method: str
    seed: int
    out: Path

    @property
    def group(self) -> str:
        """Trainings that take equally long."""
        return f"{self.task}-{self.method}"

    @property
    def name(self) -> str:
        """Of the run's folder: another command is another run."""
        return f"{self.group}-{jobs.digest(self.command())}-seed{self.seed}"

    @property
    def guess(self) -> float:
        """Seconds that it takes."""
        return 400.0

    @property
    def show(self) -> Show:
        """What is imitated."""
        return Show(self.task, self.out)

    @property
    def needs(self) -> tuple[str, ...]:
        """The demonstration."""
        return (self.show.name,)

    @property
    def steps(self) -> int:
        """Environment steps."""
        task = TASKS[self.task]
        return task.ild_steps if self.method == "ild" else task.gail_steps

    def command(self) -> list[str]:
        """The command without its files."""
        task, every = TASKS[self.task], str(self.steps // 4)
        words = ["train", self.method, task.id]
        words += ["--steps", str(self.steps), "--eval-every", every, "--save-every", every]
        words += task.ild.split() if self.method == "ild" else []
        return [*words, "--seed", str(self.seed)]

    def begin(self) -> list[str]:
        """The command."""
        return [*self.command(), "--demo", str(self.show.file)]

    def told(self) -> dict[str, Any]:
        """What makes it the agent that it is: its last checkpoint, options included."""
        return {"checkpoint": file_digest(self.run.checkpoints()[-1] / "manifest.json")}

    def agent(self) -> Any:
        """What was learnt."""
        return load_agent(self.run, "cpu")


@dataclass(frozen=True)
class Cloning:
    """Behavioural cloning with a seed: seconds of work, so it is done here and kept nowhere."""

    task: str
    seed: int
    out: Path
    method: str = "bc"

    @property
    def name(self) -> str:
        """Of the file of its scores."""
        return f"{self.task}-bc-seed{self.seed}"

    def done(self) -> bool:
        """Whether there is something to clone."""
        return Show(self.task, self.out).done()

    def told(self) -> dict[str, Any]:
        """What makes it the agent that it is."""
        return {"seed": self.seed, "updates": CLONING}

    def agent(self) -> Any:
        """What was learnt."""
        demonstration = read_demonstration(Show(self.task, self.out).file)
        torch.set_num_threads(1)
        clone = BC(demonstration.transitions(), TASKS[self.task].id, seed=self.seed)
        return clone.learn(CLONING)


def plan(options: argparse.Namespace) -> tuple[list[Job], list[Training | Cloning]]:
    """All jobs in the order in which they are begun, and those that the table is made of."""
    shows = [Show(task, options.out) for task in dict.fromkeys(options.tasks)]
    searches = [show.search for show in shows if show.search is not None]
    seeds = dict.fromkeys(options.seeds)
    trainings = [
        Training(show.task, method, seed, options.out)
        for seed in seeds
        for show in shows
        for method in dict.fromkeys(options.methods)
    ]
    clones = [Cloning(show.task, seed, options.out) for show in shows for seed in seeds]
    return [*searches, *shows, *trainings], [*clones, *trainings]


# ------------------------------------------------------------------------------- results


def report(wanted: Sequence[Training | Cloning], out: Path) -> list[dict[str, Any]]:
    """Play what is finished, and write rows.csv and table.md; the rows."""
    rows = [row(job, out) for job in wanted if job.done()]
    write_results(out, rows, partial(table, out=out))
    return rows


def row(job: Training | Cloning, out: Path) -> dict[str, Any]:
    """Mean returns of a policy on each kind of start; they are kept with what they depend on."""
    kept, settings = out / f"{job.name}.json", told(job)
    found = json.loads(kept.read_text()) if kept.is_file() else {}
    if found.get("settings") != settings:
        found = {"settings": settings, "returns": played(job)}
        write_json(kept, found)
    return {"task": job.task, "method": job.method, "seed": job.seed, **found["returns"]}


def told(job: Training | Cloning) -> dict[str, Any]:
    """What scores depend on, as JSON gives it back."""
    shown = read_demonstration(Show(job.task, job.out).file)
    evaluation = {"episodes": EPISODES, "seed": SEED, "starts": STARTS}
    told = {"policy": job.told(), "demonstration": shown.seal(), "evaluation": evaluation}
    plain: dict[str, Any] = json.loads(json.dumps(told))
    return plain


def played(job: Training | Cloning) -> dict[str, float]:
    """Mean returns over `EPISODES`, by kind of start; all pursue the demonstration's goal."""
    agent, found = job.agent(), {}
    goal = read_demonstration(Show(job.task, job.out).file).start_options()
    for name, options in STARTS.items():
        task_id, chosen = TASKS[job.task].id, {"reset_options": options | goal}
        with closing(make_vec(task_id, EPISODES, **chosen)) as env:
            score = collect_episodes(env, lambda seen: agent.predict(seen)[0], EPISODES, SEED)
        found[name] = float(score.returns.mean())
    return found


def table(rows: Sequence[dict[str, Any]], out: Path) -> str:
    """Markdown: mean returns and scores by task and kind of start."""
    lines = head(["task", "method", *(f"{name} starts" for name in STARTS)])
    for task, method in dict.fromkeys((row["task"], row["method"]) for row in rows):
        low, high = references(task, out)
        cells = []
        for name in STARTS:
            returns = [r[name] for r in rows if (r["task"], r["method"]) == (task, method)]
            scores = 100.0 * (np.array(returns) - low) / (high - low)
            # Zero has no sign here.
            mean, least, most = (f"{round(f()) + 0}" for f in (scores.mean, scores.min, scores.max))
            cells.append(f"{np.mean(returns):.1f}: {mean} ({least} – {most})")
        lines.append(line(task, [method, *cells]))
    return "\n".join(lines) + "\n"


def references(task: str, out: Path) -> tuple[float, float]:
    """Returns of random actions, and of the demonstration."""
    random = load_scores()[find(TASKS[task].id).family]["random"]["return_mean"]
    return random, read_demonstration(Show(task, out).file).total


# ------------------------------------------------------------------------------- the command


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add_options(parser, "runs/imitation")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Demonstrate, imitate and tabulate; the exit code (see `processes.command`)."""
    options = parse(words)
    todo, wanted = plan(options)
    if not options.dry_run:
        jobs.clear(todo)
    return command(options, todo, partial(report, wanted, options.out))


if __name__ == "__main__":
    sys.exit(main())
