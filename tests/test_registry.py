"""The table of tasks: complete, true to the classes, and what `simenv list` shows."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import gymnasium
import pytest

import simenv
from agents.cli import main
from simenv.envs.task import Task, load_task
from simenv.errors import ShapeError, SimenvError, UnknownTaskError, expect_shape
from simenv.registry import FAMILIES, PROBLEMS, TaskSpec, find, register_all


@pytest.fixture(params=simenv.TASKS.values(), ids=simenv.TASKS)
def spec(request) -> simenv.TaskSpec:
    """Every row."""
    return request.param


def test_row_equals_the_class(spec):
    """A row's sizes and horizon are those of the class that it points at, under its own id."""
    task = load_task(spec.task)
    assert isinstance(task, Task)
    observed = task.num_observations if spec.variant == "goal" else task.num_features
    assert (spec.action, spec.observation) == (task.num_actions, observed)
    assert spec.goal == task.num_goals
    assert (spec.cost_limit is not None) == bool(task.cost_names)
    assert spec.horizon == task.horizon
    assert simenv.TASKS[spec.id] is spec


def test_registration(spec):
    """Gymnasium knows both entry points as strings, and keyword arguments that JSON can hold."""
    entry = gymnasium.spec(spec.id)
    assert entry.entry_point == f"simenv.envs.env:{'GoalEnv' if spec.variant == 'goal' else 'Env'}"
    assert entry.vector_entry_point == "simenv.envs.vector:VectorEnv"
    assert entry.max_episode_steps == spec.horizon
    variant = {} if spec.variant is None else {"variant": spec.variant}
    assert json.loads(json.dumps(entry.kwargs)) == {"task": spec.task, **variant}


def test_variants_are_one_row_each():
    """A task with costs has a safe id and one with goals a goal id, of the same class."""
    row = TaskSpec("simenv/A-v2", "m:A", 5, 2, 7, "do", "s", "easy", cost_limit=1.0, goal=3)
    plain, safe, goal = row.variants()
    assert plain is row
    assert (safe.id, safe.variant, safe.observation) == ("simenv/A-Safe-v2", "safe", 7)
    assert (goal.id, goal.variant, goal.observation) == ("simenv/A-Goal-v2", "goal", 4)
    assert {spec.family for spec in row.variants()} == {"A"}
    assert replace(row, cost_limit=None, goal=0).variants() == [
        replace(row, cost_limit=None, goal=0)
    ]


def test_registering_again_changes_nothing():
    """A second registration neither warns nor replaces."""
    before = {name: gymnasium.registry[name] for name in simenv.TASKS}
    register_all()
    assert all(gymnasium.registry[name] is before[name] for name in before)


def test_list_shows_every_task(capsys):
    """`simenv list` prints one row per task, with its sizes and what is to be done.

    A second table has the identification problems.
    """
    assert main(["list"]) == 0
    tasks, problems = capsys.readouterr().out.split("\n\n")
    _, *rows = tasks.splitlines()
    for row, spec in zip(rows, FAMILIES, strict=True):
        cells = re.split(r"  +", row)
        variants = " ".join(v.variant.capitalize() for v in spec.variants() if v.variant)
        numbers = [str(n) for n in (spec.action, spec.observation, spec.horizon)]
        assert cells[:5] == [spec.id, variants or "–", *numbers]
        assert cells[-1] == spec.summary
    _, *rows = problems.splitlines()
    for row, problem in zip(rows, PROBLEMS.values(), strict=True):
        cells = re.split(r"  +", row)
        assert cells == [problem.id, " ".join(problem.parameters), problem.summary]


def test_find(spec):
    """Looking up an id gives its row, an unknown one the nearest ids."""
    assert find(spec.id) is spec
    with pytest.raises(UnknownTaskError, match=f"did you mean .*{spec.id}"):
        find(spec.id.lower())


def test_unknown_task_reads_as_a_sentence():
    """The error is a KeyError, and still prints its message instead of its repr."""
    error = UnknownTaskError("x", ["b", "a"])
    assert isinstance(error, KeyError)
    assert isinstance(error, SimenvError)
    assert str(error) == "unknown task id 'x'; known ids: a, b ('simenv list' shows all)"


def test_expect_shape():
    """Equal shapes pass, whatever holds them; others are named with both."""
    expect_shape("x", (2, 3), [2, 3])
    with pytest.raises(ShapeError, match=r"x has shape \(2,\), expected \(2, 1\)"):
        expect_shape("x", [2], (2, 1))
