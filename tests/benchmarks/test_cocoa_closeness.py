"""How near anchors are: which runs are measured, on which states, and what the table says."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from agents import cli
from benchmarks import cocoa_closeness, offline_table
from benchmarks.cocoa_closeness import COLUMNS, table
from tests.agents.offline.sets import pendulum

KINDS = ("visited", "backward", "noisy")
FAST = ("--model-members", "2", "--model-elites", "1", "--model-widths", "8")


@pytest.fixture
def out(tmp_path, monkeypatch) -> Path:
    """A folder with a dataset and one finished run on it."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    (tmp_path / "datasets").mkdir()
    pendulum("pendulum/medium-expert-v0", ref_min_score=-1200.0, ref_max_score=-150.0)
    agent = offline_table.Agent(
        "cocoa", 4, 1.0, flags=("--base", "iql", "--model-max-epochs", "1", *FAST)
    )
    monkeypatch.setattr(offline_table, "AGENTS", {"cocoa-iql": agent})
    monkeypatch.setattr(cocoa_closeness, "AGENTS", {"cocoa-iql": agent})
    job = offline_table.Training("cocoa-iql", "pendulum", 0, tmp_path)
    assert cli.main(job.words()) == 0
    return tmp_path


def test_a_finished_run_is_measured_on_all_kinds_of_states(out):
    """A row per kind and number of steps; states do not depend on the steps, anchors do.

    With no step every state is its own anchor, and the differences all are 0.
    """
    words = ["--out", str(out), "--anchor-steps", "0", "2"]
    assert cocoa_closeness.main(words) == 0
    rows = list(csv.DictReader((out / "closeness.csv").read_text().splitlines()))
    assert [(row["states"], row["steps"]) for row in rows] == [
        (kind, steps) for steps in "02" for kind in KINDS
    ]
    for still, led in zip(rows[:3], rows[3:], strict=True):
        assert still["state"] == still["anchor"] == led["state"] != led["anchor"]
        assert float(still["difference"]) == 1.0
    far = {row["states"]: float(row["state"]) for row in rows}
    # Noise of the data's own deviation leaves them by far; its policy meets what they have seen.
    assert far["noisy"] > 2.0 * far["visited"]
    assert all(math.isfinite(float(row[column])) for row in rows for column in COLUMNS)


def test_without_runs_it_says_what_makes_them(tmp_path, monkeypatch, capsys):
    """Nothing is written, and the exit code says so."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert cocoa_closeness.main(["--out", str(tmp_path)]) == 1
    assert "benchmarks.offline_table" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_line_of_the_table_is_a_mean_over_seeds():
    """Rows that differ in the seed alone make one line; the others stay apart."""
    name = {"dataset": "walker", "agent": "cocoa-cql", "states": "noisy"}
    rows = [
        name | {"steps": 1, "seed": 0, "state": 1.0, "anchor": 2.0, "difference": 3.0},
        name | {"steps": 1, "seed": 1, "state": 2.0, "anchor": 4.0, "difference": 3.5},
        name | {"steps": 5, "seed": 0, "state": 1.0, "anchor": 9.0, "difference": 1.0},
    ]
    lines = table(rows).splitlines()[2:]
    assert lines == [
        "| walker | cocoa-cql | noisy | 1 | 1.50 | 3.00 | 3.25 | 2 |",
        "| walker | cocoa-cql | noisy | 5 | 1.00 | 9.00 | 1.00 | 1 |",
    ]
