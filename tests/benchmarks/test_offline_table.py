"""The table of offline agents: its jobs, what an interruption leaves, and what its cells say."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents import cli
from agents.algorithms import ALGORITHMS
from agents.datasets.references import COMMITTED
from agents.statistics import Estimate
from agents.train_options import preset
from agents.training import Trainer
from benchmarks import offline_table
from benchmarks.comparison import tables, verdict
from benchmarks.processes import Pool
from tests.agents.offline.sets import pendulum

ARGUMENTS = ("--datasets", "pendulum", "--seeds", "0", "--steps", "40", "--jobs", "1")


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    """A folder with the dataset, a tiny one, in place."""
    # Kept as it was: `main` says where datasets lie for all that follows.
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    (tmp_path / "datasets").mkdir()
    pendulum("pendulum/medium-expert-v0", ref_min_score=-1200.0, ref_max_score=-150.0)
    monkeypatch.setattr(signal, "signal", lambda number, handler: signal.SIG_DFL)
    return tmp_path


class Finished:
    """Stands in for a process: the command has run here, before anybody asks."""

    def __init__(self, words: list[str]) -> None:
        self.returncode = cli.main(words)

    def poll(self) -> int:
        """Its exit code."""
        return self.returncode


@pytest.fixture
def commands(monkeypatch) -> list[list[str]]:
    """Commands in the order in which they were begun, in this process."""
    begun: list[list[str]] = []

    def spawn(pool: Pool, job: offline_table.Make | offline_table.Training) -> Finished:
        begun.append(job.words())
        return Finished(begun[-1])

    monkeypatch.setattr(Pool, "_spawn", spawn)
    return begun


def rows(out: Path) -> list[dict[str, str]]:
    """Of rows.csv."""
    with (out / "rows.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_interrupted_table_goes_on_and_repeats_nothing(out, commands, monkeypatch):
    """BC, stopped half-way, is resumed; TD3+BC, finished before, is not run again."""
    save, arguments = Trainer.save, ["--agents", "td3bc", "bc", *ARGUMENTS, "--out", str(out)]

    def stop_half_way(trainer: Trainer) -> None:
        save(trainer)
        if trainer.run.config["command"] == "bc" and trainer.num_timesteps == 16:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "save", stop_half_way)
    assert offline_table.main(arguments) == 1
    assert [row["agent"] for row in rows(out)] == ["td3bc"]
    monkeypatch.setattr(Trainer, "save", save)
    assert offline_table.main(arguments) == 0
    assert [words[:2] for words in commands] == [
        ["train", "td3bc"],
        ["train", "bc"],
        ["train", "--resume"],
    ]
    assert [row["agent"] for row in rows(out)] == ["td3bc", "bc"]
    assert offline_table.main(arguments) == 0
    assert len(commands) == 3


def score_of(value: float) -> float:
    """Of a return in Pendulum-v1, by the committed reference."""
    known = json.loads(COMMITTED.read_text())["Pendulum-v1"]
    return 100 * (value - known["random"]) / (known["expert"] - known["random"])


def test_row_is_the_mean_of_the_last_three_evaluations(out, commands):
    """Of six, every eight updates from the first to the last; the best is of five.

    On the committed scale, not on the dataset's, which the column `score` of the run has.
    """
    offline_table.main(["--agents", "bc", *ARGUMENTS, "--out", str(out)])
    job = offline_table.Training("bc", "pendulum", 0, out, 40)
    metrics = job.run.metrics()
    assert metrics["step"] == [0, 8, 16, 24, 32, 40]
    # What they came to may be anything here: the best of all was before the training.
    returns = [-100.0, -500.0, -200.0, -400.0, -300.0, -600.0]
    changed = [
        {"step": step, "seconds": 1.0, "return_mean": value, "score": 7.0}
        for step, value in zip(metrics["step"], returns, strict=True)
    ]
    (job.run.path / "metrics.csv").unlink()
    job.run.write_metrics(changed)
    assert offline_table.main(["--agents", "bc", *ARGUMENTS, "--out", str(out)]) == 0
    assert job.row()["score"] == pytest.approx(score_of(-1300.0 / 3))
    assert job.row()["best"] == pytest.approx(score_of(-200.0))
    assert float(rows(out)[0]["best"]) == job.row()["best"]
    assert float(rows(out)[0]["score"]) == job.row()["score"]
    assert job.row()["cost"] == ""


def test_the_best_of_cdsa_is_its_last(tmp_path):
    """Step sizes are chosen at the end: the evaluations before are of another policy."""
    job = offline_table.Training("cdsa", "pendulum", 0, tmp_path)
    job.run.path.mkdir()
    job.run.write_metrics(
        [{"step": s, "seconds": 1.0, "return_mean": r} for s, r in ((0.0, -9.0), (8.0, -300.0))]
    )
    assert job.row()["score"] == job.row()["best"] == pytest.approx(score_of(-300.0))


def test_what_needs_a_failed_job_is_left_out(out, commands, monkeypatch):
    """Without BC there is no CDSA, and the rest of the table is made."""
    monkeypatch.setattr(
        Finished,
        "__init__",
        lambda self, words: setattr(self, "returncode", 1 if words[1] == "bc" else cli.main(words)),
    )
    code = offline_table.main(["--agents", "cdsa", "bc", "td3bc", *ARGUMENTS, "--out", str(out)])
    assert code == 1
    assert [words[1] for words in commands] == ["bc", "td3bc"]
    assert [row["agent"] for row in rows(out)] == ["td3bc"]


def test_jobs_come_after_what_they_need():
    """Datasets first, then what others adjust, though nobody asked for it in the table."""
    options = offline_table.parse(["--agents", "cdsa", "--datasets", "walker", "--seeds", "0"])
    jobs, wanted = offline_table.plan(options)
    assert [job.name for job in jobs] == [
        "simenv/SoftWalker2D/medium-expert-v0",
        "walker-bc-10000-seed0",
        "walker-cdsa-5000-seed0",
    ]
    assert wanted == jobs[2:]
    assert jobs[2].needs == (jobs[0].name, jobs[1].name)


def test_what_is_named_twice_is_begun_once():
    """Two processes would write into one folder of a run."""
    once, twice = (
        offline_table.parse(
            ["--agents", *["cdsa"] * n, "--datasets", *["walker"] * n, "--seeds", *["0"] * n]
        )
        for n in (1, 2)
    )
    assert offline_table.plan(twice) == offline_table.plan(once)


@pytest.mark.parametrize("data", offline_table.DATASETS)
@pytest.mark.parametrize("label", offline_table.AGENTS)
def test_commands_are_understood_with_the_presets(label, data, tmp_path):
    """The command line takes every command of the table on top of the id's preset."""
    import tyro

    job = offline_table.Training(label, data, 0, tmp_path)
    kind = ALGORITHMS[job.agent.algorithm].options
    start = kind(dataset="any", **preset(job.agent.algorithm, job.data.id))
    options = tyro.cli(kind, args=job.words()[2:], default=start)
    assert (options.steps, options.seed, options.out) == (job.steps, 0, tmp_path / job.name)
    assert options.net_arch == (128, 128)
    limited = (label, data) == ("ogsrl", "walker-safe")
    assert getattr(options, "cost_limit", None) == (20.0 if limited else None)


def test_table_says_who_beats_bc():
    """Means and intervals of three runs, worked out by hand; costs where there are some."""
    scores = {"bc": (10.0, 20.0, 30.0), "iql": (40.0, 40.0, 40.0), "cql": (15.0, 15.0, 15.0)}
    found = [
        {
            "agent": agent,
            "dataset": "walker-safe",
            "score": score,
            "best": 2 * score,
            "cost": score / 10,
        }
        for agent, three in scores.items()
        for score in three
    ]
    lines = tables(found, {"walker-safe": 20.0}).splitlines()
    assert lines[0] == "| agent | walker-safe |"
    # All of 27 equally likely resamples of BC: more than 2.5 % draw the least run three times.
    assert lines[2:6] == [
        "| BC's interval | [10.0, 30.0] |",
        "| bc | 20.0 [10.0, 30.0] (3) |",
        "| iql | 40.0 [40.0, 40.0] ↑ (3) |",
        "| cql | 15.0 [15.0, 15.0] = (3) |",
    ]
    assert lines[7] == "| agent | walker-safe: cost, limit 20 |"
    assert lines[10] == "| iql | 4.0 [4.0, 4.0] (3) |"
    assert lines[12:16] == ["", "Best evaluation of a run:", "", "| agent | walker-safe |"]
    assert lines[17:] == [
        "| BC's interval | [20.0, 60.0] |",
        "| bc | 40.0 [20.0, 60.0] (3) |",
        "| iql | 80.0 [80.0, 80.0] ↑ (3) |",
        "| cql | 30.0 [30.0, 30.0] = (3) |",
    ]


def test_mean_over_datasets_needs_all_of_them():
    """An agent that is missing on one has no figure for all; a single run of BC is no rival."""
    found = [
        {"agent": agent, "dataset": data, "score": score, "best": score, "cost": ""}
        for agent, data, score in (("bc", "a", 1.0), ("bc", "b", 3.0), ("iql", "a", 9.0))
    ]
    lines = tables(found, {}).splitlines()
    assert lines[0] == "| agent | a | b | all |"
    assert lines[3].startswith("| bc | 1.0 [1.0, 1.0] (1) | 3.0 [3.0, 3.0] (1) | 2.0 ")
    assert lines[4] == "| iql | 9.0 [9.0, 9.0] (1) | – | – |"


@pytest.mark.parametrize(("value", "said"), [(0.9, "↓"), (1.0, "="), (3.0, "="), (3.1, "↑")])
def test_verdict_has_its_bounds_inside(value, said):
    """The interval is closed."""
    assert verdict(value, Estimate(2.0, 1.0, 3.0)) == said


def test_time_left_is_that_of_runs_of_the_same_kind(tmp_path, capsys):
    """Two hours of measured runs and a guess, on two processes."""
    known = offline_table.Training("iql", "pendulum", 1, tmp_path)
    guessed = offline_table.Training("cql", "pendulum", 1, tmp_path)
    pool = Pool(2, tmp_path, lambda: None)
    pool._waiting, pool._seconds = [known, guessed], {known.group: [6000.0, 8400.0]}
    assert guessed.guess == pytest.approx(8_000 * 0.034)
    assert pool._left() == f"2 jobs left, about {(7200 + 272) / 2 / 3600:.1f} h"


@pytest.mark.slow
def test_sigterm_lets_every_process_save(out):
    """Of real processes: they end with their checkpoints, and the same command finishes them."""
    words = [*ARGUMENTS[:-3], "2000", "--agents", "bc", "td3bc", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.offline_table", *words]
    process = subprocess.Popen(command, start_new_session=True)
    run = offline_table.Training("bc", "pendulum", 0, out, 2000).run
    deadline = time.monotonic() + 120
    while not run.checkpoints() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    before = run.checkpoints()[-1].name
    assert before < "step-0000002000"
    # No process holds the folder any longer.
    with run.locked():
        pass
    assert subprocess.run(command, check=False).returncode == 0
    assert {row["agent"] for row in rows(out)} == {"bc", "td3bc"}
