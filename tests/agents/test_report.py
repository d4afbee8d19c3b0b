"""Tables of scores: columns that are there, averages over runs and tasks, comparisons."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from agents import report
from agents.report import Entry, Report, algorithm, aligned, cost_limit, searched, table
from agents.statistics import estimate, iqm, optimality_gap, probability_of_improvement
from simenv.registry import TASKS

WALKER, JUMPER = "simenv/SoftWalker2D-v0", "simenv/SoftJumper-v0"
SAFE = "simenv/SoftWalker2D-Safe-v0"
KNOWN = {
    "SoftWalker2D": {"random": {"return_mean": -10.0}, "baseline": {"return_mean": 90.0}},
    "SoftJumper": {"random": {"return_mean": 0.0}, "baseline": {"return_mean": 2.0}},
}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Scores of random actions and baselines that are easy to reckon with."""
    monkeypatch.setattr(report, "load_scores", lambda: KNOWN)


def row(value: float, **more: float) -> dict[str, float]:
    """Scores of a run without costs."""
    return {
        "return_mean": value,
        "return_std": 1.0,
        "success_rate": 0.5,
        "length_mean": 80.0,
        **more,
    }


def entries(command: str, values, task_id: str = WALKER, size: str = "small", **more: float):
    """One entry per return."""
    return [
        Entry(f"{command}-{i}", command, task_id, size, row(value, **more))
        for i, value in enumerate(values)
    ]


def shown(found, style: str = ".2f") -> str:
    """An estimate as the tables write it."""
    return f"{found.value:{style}} [{found.low:{style}}, {found.high:{style}}]"


def test_table_has_the_columns_that_rows_have():
    """Costs are shown where a row has them; a row without leaves them blank."""
    assert table({"sac": row(12.345), "random": row(-1.0)}).splitlines() == [
        "controller  return  ± std  success  length",
        "sac          12.35   1.00      50%    80.0",
        "random       -1.00   1.00      50%    80.0",
    ]
    safe = row(1.0, cost_mean=3.0, cost_std=0.5, violation_rate=0.25, train_cost=1234.0)
    lines = table({"cal": safe, "sac": row(2.0)}).splitlines()
    assert lines[0].split("  ")[-1].strip() == "training cost"
    assert lines[1].split()[-4:] == ["3.00", "0.50", "25%", "1234"]
    assert len(lines[2].split()) == 5


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"id": SAFE, "cost_limit": 7}, 7.0),
        ({"id": SAFE, "cost_limit": 0.0}, 0.0),
        ({"id": SAFE, "cost_limit": None}, TASKS[SAFE].cost_limit),
        ({"id": SAFE}, TASKS[SAFE].cost_limit),
        ({"id": WALKER}, None),
        ({"id": "Pendulum-v1"}, None),
        ({"id": "Pendulum-v1", "cost": "effort", "cost_limit": 40.0}, 40.0),
    ],
)
def test_cost_limit(config, expected):
    """A run's own budget, else the one suggested for a safe task, else none."""
    assert cost_limit(config) == expected


def test_searches_are_algorithms_of_their_own():
    """By method and by what is searched for; a training is called by its command alone."""
    search = {"command": "optimise", "method": "cem", "policy": "plan"}
    assert (algorithm(search), searched(search)) == ("optimise cem", "plan")
    assert searched(search | {"receding": 5}) == "receding 5"
    assert (algorithm({"command": "sac"}), searched({"command": "sac"})) == ("sac", None)


def test_runs_with_a_goal_of_their_own():
    """Are averaged with their like, and stand on no scale of goals that are drawn."""
    mine = [replace(entry, goal="goal 1 2") for entry in entries("ild", [1.0, 2.0])]
    found = Report([*mine, *entries("ild", [5.0])], {})
    assert list(found.groups) == [("ild", f"{WALKER}, goal 1 2")]
    assert [entry.normalised is None for entry in found.entries] == [True, True, False]


def test_aligned():
    """Columns are as wide as their widest cell, and empty ones are left out."""
    text = aligned(["a", "b", "none"], [["long name", "1", ""], ["x", "1000", ""]])
    assert text.splitlines() == ["a             b", "long name     1", "x          1000"]


def test_random_actions_by_environment():
    """One environment needs no name, several do."""
    one = Report(entries("sac", [1.0]), {WALKER: row(0.0)})
    assert list(one.rows) == ["sac-0", "random"]
    two = Report(entries("sac", [1.0]), {WALKER: row(0.0), "Pendulum-v1": row(-9.0)})
    assert list(two.rows) == ["sac-0", f"random, {WALKER}", "random, Pendulum-v1"]


def test_one_run_has_no_averages():
    """A single run is a row, and nothing else."""
    single = Report(entries("sac", [1.0]), {WALKER: row(0.0)})
    assert str(single) == table(single.rows)


def test_averages_over_runs():
    """Runs of an algorithm have their interquartile means below the table, with intervals."""
    values = [1.0, 2.0, 3.0, 4.0, 90.0]
    safe = {"cost_mean": 7.0, "cost_std": 1.0, "violation_rate": 0.0}
    found = Report(entries("cal", values, **safe) + entries("sac", [1.0]), {})
    body = str(found).split("\n\n")
    assert len(body) == 2
    heading, line = body[1].splitlines()
    assert heading.split()[-5:] == ["runs", "return", "success", "cost", "violations"]
    assert line.startswith(f"cal, {WALKER}")
    assert shown(estimate(iqm, np.array(values))) in line
    assert line.endswith("50% [50%, 50%]  7.00 [7.00, 7.00]  0% [0%, 0%]")


def test_a_column_that_one_run_lacks_is_not_averaged():
    """A mean over some of the runs would not be what its heading says."""
    found = Report(entries("cal", [1.0, 2.0], train_cost=5.0) + entries("cal", [3.0]), {})
    assert "training cost" not in str(found).split("\n\n")[1]


def test_comparison_of_algorithms():
    """Two algorithms in one environment: how probably a run of one returns more."""
    ours, theirs, others = [3.0, 4.0, 5.0], [1.0, 2.0, 3.5], [0.0, 1.0]
    found = Report(
        entries("cal", ours) + entries("sac", theirs) + entries("sac", others, "Pendulum-v1"), {}
    )
    line = str(found).split("\n\n")[-1]
    expected = estimate(probability_of_improvement, np.array(ours), np.array(theirs))
    assert line == f"P(cal returns more than sac) in {WALKER}: {shown(expected)}"


@pytest.mark.parametrize(
    ("task_id", "size", "expected"),
    [
        (WALKER, "small", 0.5),
        ("simenv/SoftWalker2D-Safe-v0", "small", 0.5),
        (WALKER, "full", None),
        ("simenv/SoftCrawler3D-Goal-v0", "small", None),
        ("simenv/SoftCrawler3D-v0", "small", None),
        ("Pendulum-v1", "small", None),
    ],
)
def test_normalised(task_id, size, expected):
    """Random actions are 0 and the baseline 1, where both were measured for this very task."""
    assert entries("sac", [40.0], task_id, size)[0].normalised == expected


def test_averages_over_tasks():
    """An algorithm with several tasks has a normalised mean over runs and tasks, and its gap."""
    found = Report(
        entries("sac", [40.0, 190.0]) + entries("sac", [1.0], JUMPER) + entries("cal", [1.0]), {}
    )
    heading, line = str(found).split("\n\n")[-1].splitlines()
    tasks = np.array([0.5, 2.0]), np.array([0.5])
    assert heading.startswith("random = 0, baseline = 1")
    assert line.split()[:4] == ["sac,", "2", "tasks", "3"]
    assert shown(estimate(iqm, *tasks)) in line
    assert line.endswith(shown(estimate(optimality_gap, *tasks)))
    starts = [line.index(word) for word in ("sac", "1.00", "0.33")]
    assert all(a < b for a, b in pairwise(starts))
