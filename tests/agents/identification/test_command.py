"""`simenv identify`: its run folder, and how it answers mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import simenv
from agents import cli
from agents.runs import Run

JELLY = "simenv/MaterialID-Jelly-v0"
SHORT = "--steps 3 --segment 0 --iterations 3"


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(line: str) -> int:
    """Run a command line."""
    return cli.main(line.split())


@pytest.mark.parametrize(("method", "batch"), [("adam", 1), ("cmaes", 4)])
def test_run_folder(work, capsys, method, batch):
    """Config, a row per batch with what it cost, and the best values, which are printed too."""
    sets = f"--population {batch}" if batch > 1 else ""
    line = f"identify MaterialID-Jelly --method {method} {sets} --seed 2 {SHORT}"
    assert command(line) == 0
    shown = capsys.readouterr().out
    run = Run(work / f"runs/MaterialID-Jelly-v0-{method}-2")
    assert f"finished: {run.path.relative_to(work)}" in shown
    assert (run.config["id"], run.config["command"], run.config["seed"]) == (JELLY, "identify", 2)
    found, result = run.metrics(), json.loads((run.path / "result.json").read_text())
    again = 2 if batch == 1 else 1  # backward simulates every step once more
    assert found["step"] == [k * batch * again * 3 for k in (1, 2, 3)]
    assert found["trajectories"][-1] == result["trajectories"] == 3 * batch
    assert found["gradients"][-1] == result["gradients"] == (3 if batch == 1 else 0)
    assert found["E"][-1] == result["values"]["E"]
    assert found["E_error"][-1] == result["relative"]["E"]
    assert result["relative"]["E"] == pytest.approx(result["values"]["E"] / 1e5 - 1)
    assert f"{100 * result['relative']['E']:+.2f} %" in shown
    problem = simenv.identification(JELLY, steps=3)
    value = problem.truth.new_tensor([result["values"]["E"]])
    assert float(problem.error(value)) == pytest.approx(result["error"], rel=1e-9)


@pytest.mark.parametrize(("method", "sets"), [("cmaes", 8), ("cbo", 16)])
def test_populations_that_methods_have(work, method, sets):
    """As many as each needs, unless told otherwise; written down with the other options."""
    assert command(f"identify {JELLY} --method {method} --steps 1 --iterations 1 --out run") == 0
    run = Run(work / "run")
    assert run.metrics()["trajectories"] == [sets]
    assert run.config["population"] == sets


def test_start_by_seed(work):
    """A random start comes from the seed, and stays within the range."""
    for out, seed in (("a", 5), ("b", 5), ("c", 6)):
        line = f"identify MaterialID-Sand --start random --seed {seed} --steps 1 --iterations 1"
        assert command(f"{line} --out {out}") == 0
    a, b, c = (Run(work / name).metrics() for name in "abc")
    for name in ("E", "friction_angle"):
        assert a[name] == b[name] != c[name]
        assert -0.8 < a[f"{name}_error"][0] < 4.0


def test_plot_against_steps(work):
    """`simenv plot` draws the parameter error of runs by several methods."""
    for method in ("adam", "lbfgs"):
        line = "identify MaterialID-Water --steps 2 --iterations 2"
        assert command(f"{line} --method {method} --out {method}") == 0
    assert command("plot adam lbfgs --out curves.png") == 0
    assert (work / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("identify MaterialID-Jely", "did you mean simenv/MaterialID-Jelly-v0"),
        ("identify simenv/SoftWalker2D-v0", "'simenv/SoftWalker2D-v0' is a task, not an ident"),
        ("identify SoftWalker2D", "those are simenv/MaterialID-Jelly-v0, "),
        (f"optimise {JELLY}", "is an identification problem, not a task: 'simenv identify'"),
        (f"train sac {JELLY}", "is an identification problem, not a task: 'simenv identify'"),
        (f"identify {JELLY} --learning-rate 0", "learning_rate = 0.0 must be"),
        (f"identify {JELLY} --method cbo --initial-std nan", "initial_std = nan must be"),
        (f"identify {JELLY} --size huge", "size 'huge' is not one of"),
    ],
)
def test_mistakes(work, capsys, line, words):
    """They are answered with a remedy, and nothing is written."""
    assert command(line) == 2
    assert words in capsys.readouterr().err
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    "option",
    [
        "--iterations 0",
        "--method cbo --population 2",
        "--method newton",
        "--population 4",
        "--initial-std 0.5",
        "--method lbfgs --learning-rate 0.1",
        "--method cmaes --learning-rate 0.1",
    ],
)
def test_options_out_of_bounds(work, option):
    """The parser refuses them."""
    with pytest.raises(SystemExit) as stop:
        command(f"identify {JELLY} {option}")
    assert stop.value.code == 2
    assert list(work.iterdir()) == []


def test_a_run_is_not_overwritten(work, capsys):
    """A folder that holds a run is refused, and an identification has no policy to record."""
    line = f"identify {JELLY} --steps 1 --iterations 1 --out run"
    assert command(line) == 0
    before = (work / "run/metrics.csv").read_bytes()
    assert command(line) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (work / "run/metrics.csv").read_bytes() == before
    assert command("record run") == 2
    assert "is an identification problem, not a task" in capsys.readouterr().err
