"""The identification benchmark: its jobs, what an interruption leaves, and what its table says."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

import numpy as np
import pytest

from agents.options import Identify
from agents.runs import Run
from benchmarks import identification
from benchmarks.identification import MATERIALS, METHODS, Search, curve, table, within_after
from benchmarks.processes import Pool


class Ended:
    """Stands in for a process that has ended: it has written a run, or has been broken off."""

    def __init__(self, words: list[str], whole: bool) -> None:
        self.returncode = 0 if whole else 1
        run = Run(Path(words[words.index("--out") + 1]))
        run.path.mkdir()  # as the command, which refuses a folder that holds a run
        run.write_json("config.json", {})
        names = MATERIALS["Sand"].parameters
        errors = {f"{name}_error": 0.5 for name in names} | {"parameter_error": 0.5}
        spent = {"step": 100, "trajectories": 1, "gradients": 1, "skipped": 0, "seconds": 2.0}
        run.write_metrics([{**spent, "best_error": 1e-4, **errors}])
        nearer = dict.fromkeys(errors, 0.01)
        run.write_metrics([{**spent, "step": 200, "best_error": 1e-6, **nearer}])
        if whole:
            run.write_json("result.json", {})

    def poll(self) -> int:
        """Its exit code."""
        return self.returncode


@pytest.fixture
def commands(monkeypatch) -> list[list[str]]:
    """Commands in the order in which they were begun; the first is broken off."""
    begun: list[list[str]] = []

    def spawn(pool: Pool, job: Search) -> Ended:
        begun.append(job.words())
        return Ended(begun[-1], whole=len(begun) > 1)

    monkeypatch.setattr(Pool, "_spawn", spawn)
    monkeypatch.setattr(signal, "signal", lambda number, handler: signal.SIG_DFL)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    return begun


def test_broken_off_jobs_are_begun_anew(tmp_path, commands):
    """The second call runs what the first has not finished, and nothing else."""
    arguments = ["--materials", "Sand", "--methods", "adam", "cbo", "--seeds", "--jobs", "1"]
    arguments += ["--out", str(tmp_path)]
    assert identification.main(arguments) == 1
    assert identification.main(arguments) == 0
    assert [words[3] for words in commands] == ["adam", "cbo", "adam"]
    with (tmp_path / "rows.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["within_after"]) for row in rows] == [
        ("adam", "200"),
        ("cbo", "200"),
    ]
    assert (
        "| Sand | adam | 1 of 1 | 200 (200 – 200) | 1 (1 – 1) |"
        in (tmp_path / "table.md").read_text()
    )
    assert (tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize("method", METHODS)
def test_commands_are_understood(method, tmp_path):
    """The command line takes every command; the samplers try 240 sets, the others at most 60."""
    import tyro

    job = Search("Sand", method, "random", 3, tmp_path)
    options = tyro.cli(Identify, args=job.words()[1:])
    assert (options.id, options.method) == ("simenv/MaterialID-Sand-v0", method)
    assert (options.start, options.seed, options.out) == ("random", 3, tmp_path / job.name)
    sampler = method in ("cmaes", "cbo")
    assert options.iterations * (options.population if sampler else 1) == (240 if sampler else 60)


def test_plan():
    """Standard starts first; every method from every random one; named twice, begun once."""
    words = [
        "--materials",
        "Sand",
        "Jelly",
        "Sand",
        "--methods",
        "adam",
        "lbfgs",
        "--seeds",
        "4",
        "4",
    ]
    names = [job.name for job in identification.plan(identification.parse(words))]
    assert names == [
        f"{material}-{method}-{start}"
        for start in ("below-seed0", "random-seed4")
        for material in ("Sand", "Jelly")
        for method in ("adam", "lbfgs")
    ]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ((-0.8, -0.05, -0.2, 0.04, 0.02), 400),  # within for a while, and then for good
        ((0.1, 0.1, 0.1, 0.1, 0.1), 100),
        ((0.0, 0.0, 0.0, 0.0, 0.11), ""),
    ],
)
def test_steps_until_within_for_good(errors, expected):
    """The other parameter is within its own goal, which is wider."""
    found = {"step": [100, 200, 300, 400, 500], "E_error": errors, "yield_stress_error": [0.14] * 5}
    assert within_after(found, ("E", "yield_stress")) == expected
    found["yield_stress_error"] = [0.16] * 5
    assert within_after(found, ("E", "yield_stress")) == ""


def test_table():
    """Medians and ranges over the runs; steps of those alone that end within the goals."""
    runs = [(300, 0.02), (500, 1e-9), ("", 0.4)]
    rows = [
        {"material": "Sand", "method": "cbo", "within_after": after, "parameter_error": error}
        for after, error in runs
    ]
    assert table(rows).splitlines()[2:] == [
        "| Sand | cbo | 2 of 3 | 400 (300 – 500) | 2 (0.01 – 40) |"
    ]
    assert table(rows[2:]).splitlines()[2:] == ["| Sand | cbo | 0 of 1 | – | 40 (40 – 40) |"]


def test_curves_end_at_the_least_error_shown():
    """Cut off where a logarithmic axis would lose them."""
    steps, errors = curve({"step": [100, 200], "parameter_error": [0.3, 0.0]})
    assert steps.tolist() == [100, 200]
    np.testing.assert_allclose(errors, [0.3, identification.LEAST_SHOWN])
