"""The table of tasks: complete, true to the classes, and what `simenv list` shows."""

from __future__ import annotations

import json

import gymnasium
import pytest

import simenv
from agents.cli import main
from simenv.envs.task import Task, load_task
from simenv.errors import ShapeError, SimenvError, UnknownTaskError, expect_shape
from simenv.registry import find, register_all


@pytest.fixture(params=simenv.TASKS.values(), ids=simenv.TASKS)
def spec(request) -> simenv.TaskSpec:
    """Every row."""
    return request.param


def test_row_equals_the_class(spec):
    """A row's sizes and horizon are those of the class that it points at, under its own id."""
    task = load_task(spec.task)
    assert isinstance(task, Task)
    assert (spec.action, spec.observation) == (task.num_actions, task.num_observations)
    assert spec.horizon == task.horizon
    assert simenv.TASKS[spec.id] is spec


def test_registration(spec):
    """Gymnasium knows both entry points as strings, and keyword arguments that JSON can hold."""
    entry = gymnasium.spec(spec.id)
    assert entry.entry_point == "simenv.envs.env:Env"
    assert entry.vector_entry_point == "simenv.envs.vector:VectorEnv"
    assert entry.max_episode_steps == spec.horizon
    assert json.loads(json.dumps(entry.kwargs)) == {"task": spec.task}


def test_registering_again_changes_nothing():
    """A second registration neither warns nor replaces."""
    before = {name: gymnasium.registry[name] for name in simenv.TASKS}
    register_all()
    assert all(gymnasium.registry[name] is before[name] for name in before)


def test_list_shows_every_task(capsys):
    """`simenv list` prints one row per task, with its sizes and what is to be done."""
    assert main(["list"]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(simenv.TASKS)
    for row, spec in zip(rows, simenv.TASKS.values(), strict=True):
        name, action, observation, horizon, *_ = row.split()
        assert name == spec.id
        numbers = [int(word) for word in (action, observation, horizon)]
        assert numbers == [spec.action, spec.observation, spec.horizon]
        assert row.endswith(spec.summary)


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
