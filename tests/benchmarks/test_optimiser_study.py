"""The study of optimisers: its jobs, what an interruption leaves, and what its table says."""

from __future__ import annotations

import csv
import shutil
import signal
from pathlib import Path

import pytest
import tyro

from agents import cli
from agents.optimise_options import GRADIENT, Optimise
from agents.runs import Run
from agents.trajopt import LossWindow
from benchmarks import optimiser_results as results
from benchmarks import optimiser_study as study
from benchmarks.jobs import clear
from benchmarks.processes import Pool
from simenv.errors import ConfigurationError

WALKER, FINGER = "simenv/SoftWalker2D-v0", "simenv/FingerReach2D-v0"
BUDGET = 240
"""Steps: three episodes of the walker."""


@pytest.fixture
def begun(monkeypatch) -> list[list[str]]:
    """Commands in the order in which they were begun, run in this process; budgets are tiny."""
    words: list[list[str]] = []

    class Finished:
        def __init__(self, command: list[str]) -> None:
            words.append(command)
            self.returncode = cli.main(command)

        def poll(self) -> int:
            return self.returncode

    monkeypatch.setattr(Pool, "_spawn", lambda pool, job: Finished(job.words()))
    monkeypatch.setattr(signal, "signal", lambda number, handler: signal.SIG_DFL)
    monkeypatch.setattr(study, "TASKS", {"walker": study.Task(WALKER, "--policy gait", BUDGET)})
    tiny = {
        "adam": study.Method(1, "--method adam --population 1"),
        "cem": study.Method(2, "--method cem --population 1 --elites 1", last=1),
    }
    monkeypatch.setattr(study, "SEARCHES", tiny)
    return words


def test_a_study_goes_on_and_repeats_nothing(begun, tmp_path):
    """A search broken off is begun anew, a finished one is not; all is written at the end."""
    words = ["--tasks", "walker", "--methods", "adam", "cem", "--seeds", "0", "--jobs", "1"]
    words += ["--out", str(tmp_path)]
    broken = study.Search("walker", "adam", 0, tmp_path).run.path
    assert cli.main(["optimise", WALKER, "--iterations", "1", "--out", str(broken)]) == 0
    assert study.main(words) == 0
    assert [command[3] for command in begun] == ["adam", "cem"]
    with (tmp_path / "rows.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["steps"]) for row in rows] == [("adam", "240"), ("cem", "240")]
    assert len(Run(broken).metrics()["iteration"]) == 3
    assert (tmp_path / "curves.png").stat().st_size > 1_000
    assert "| adam |" in (tmp_path / "table.md").read_text()
    assert study.main(words) == 0
    assert len(begun) == 2


def test_what_was_found_outlives_its_folder(begun, tmp_path):
    """A run in curves.csv is not done again, nor lost where other methods are asked for."""
    words = ["--seeds", "0", "--jobs", "1", "--out", str(tmp_path), "--methods"]
    assert study.main([*words, "adam"]) == 0
    names = [study.Search("walker", method, 0, tmp_path).name for method in ("adam", "cem")]
    shutil.rmtree(tmp_path / names[0])
    assert study.main([*words, "cem"]) == 0
    assert study.main([*words, "adam"]) == 0
    assert [command[3] for command in begun] == ["adam", "cem"]
    with (tmp_path / "rows.csv").open() as stream:
        assert [row["method"] for row in csv.DictReader(stream)] == ["adam", "cem"]
    assert set(results.read_curves(tmp_path)) == set(names)


def test_another_command_is_another_run(monkeypatch, tmp_path):
    """Other flags or another budget have another folder: nothing old is taken for new."""
    names = {study.Search("sand", "adam", 0, tmp_path).name}
    names.add(study.Search("sand", "adam", 1, tmp_path).name)
    monkeypatch.setitem(study.SEARCHES, "adam", study.Method(2, "--method adam --window 5"))
    names.add(study.Search("sand", "adam", 0, tmp_path).name)
    monkeypatch.setitem(study.TASKS, "sand", study.TASKS["sand"]._replace(steps=3_000))
    names.add(study.Search("sand", "adam", 0, tmp_path).name)
    assert len(names) == 4


@pytest.mark.parametrize("key", study.TASKS)
def test_an_expanding_window_can_reach_the_end(key):
    """Within the budget of every task, where nothing gets better."""
    search = study.Search(key, "adam, expanding", 0, Path("run"))
    options, horizon = (
        tyro.cli(Optimise, args=search.words()[1:]),
        study.IDS[study.TASKS[key].id].horizon,
    )
    window = LossWindow(options.schemes, horizon)
    for _ in range(search.iterations // 2):
        window.see(0.0)
    assert window.steps == horizon


def test_a_damaged_file_of_curves_is_refused(tmp_path):
    """By its path, with what to do; it stays as it is."""
    path = tmp_path / results.CURVES
    path.write_text("run,seconds,step,return_best\nwalker-adam-seed0,1.0,2,\n")
    with pytest.raises(ConfigurationError, match=r"curves\.csv cannot be read .* remove it"):
        study.main(["--out", str(tmp_path), "--methods", "adam"])
    assert "walker-adam-seed0" in path.read_text()


def test_sac_is_gone_on_with(tmp_path):
    """From its folder, if there is one; searches keep nothing of a broken-off run."""
    trial = study.Training("sand", "sac", 3, tmp_path)
    assert trial.words()[:3] == ["train", "sac", "simenv/SandSmooth-v0"]
    trial.run.path.mkdir()
    trial.run.write_json("config.json", {})
    assert trial.words()[:3] == ["train", "--resume", str(trial.run.path)]
    search = study.Search("sand", "adam", 3, tmp_path)
    search.run.path.mkdir()
    clear([trial, search])
    assert trial.run.path.exists()
    assert not search.run.path.exists()


@pytest.mark.parametrize("key", study.TASKS)
@pytest.mark.parametrize("name", study.SEARCHES)
def test_every_method_gets_the_same_steps(name, key):
    """Its command takes as many whole iterations as the budget has room for, and one more does not.

    Some have a multiple of the budget. Of a gradient an iteration takes its sets, and as many to
    judge what is soft; of a sampler its population and its answer, which is tried once more at the
    end.
    """
    words = study.Search(key, name, 0, Path("run")).words()
    options = tyro.cli(Optimise, args=words[1:])
    rollouts, last = options.population, 0
    if options.method in GRADIENT:
        rollouts *= 2 if options.schemes.softness else 1
    else:
        rollouts, last = rollouts + 1, 1
    task, horizon = study.TASKS[key], study.IDS[options.id].horizon
    taken = (options.iterations * rollouts + last) * horizon
    steps = study.SEARCHES[name].times * task.steps
    assert steps - rollouts * horizon < taken <= steps


@pytest.mark.parametrize("name", study.METHODS)
def test_commands_take_the_steps_that_they_are_said_to(name, tmp_path):
    """In an iteration of a task with short episodes, and after it."""
    search = study.METHODS[name]
    line = f"optimise {FINGER} {search.flags} --policy plan --knots 3 --iterations 1"
    assert cli.main([*line.split(), "--out", str(tmp_path / "run")]) == 0
    steps = (search.rollouts + search.last) * study.IDS[FINGER].horizon
    assert Run(tmp_path / "run").metrics()["step"] == [steps]


def test_curves_are_normalised_and_never_fall(tmp_path):
    """0 is what random actions earn, 100 the baseline; SAC's is its best evaluation so far."""
    low, high = study.references(WALKER)
    trial = study.Training("walker", "sac", 0, tmp_path)
    trial.run.path.mkdir()
    middle = 0.5 * (low + high)
    for step, value in ((0, low), (10, middle), (20, low), (30, high)):
        trial.run.write_metrics([{"step": step, "return_mean": value, "seconds": 1.0}])
    curve = trial.curve()
    assert curve["score"] == pytest.approx([0.0, 50.0, 50.0, 100.0])
    assert results.reached(curve, 90.0) == 30
    assert results.reached(curve, 101.0) == ""


def test_the_table_counts_who_never_gets_there():
    """As the longest: of three, one of which arrives, the median never does."""
    rows = [
        {
            "task": "sand",
            "method": "cem",
            "score": s,
            "reached 50": r,
            "reached 90": "",
            "seconds": 9.0,
        }
        for s, r in ((60.0, 400), (20.0, ""), (10.0, ""))
    ]
    found = results.tables(rows)
    assert "| cem | – (1 of 3) |" in found
    # Of an even number it is the mean of the two in the middle, which may be never.
    assert "| cem | – (1 of 2) |" in results.tables(rows[:2])
    assert "| cem | 300 (2 of 2) |" in results.tables([rows[0], rows[1] | {"reached 50": 200}])
    assert "| cem | 30.0 [" in found
    assert "| cem | 9 |" in found


def test_softness_is_for_tasks_with_tools():
    """The walker has none."""
    trials = study.plan(range(5), Path("run"))
    assert not [t for t in trials if t.task == "walker" and "softness" in t.method]
    assert len([t for t in trials if t.task == "sand" and "softness" in t.method]) == 5
