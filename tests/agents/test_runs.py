"""Run folders: config, metrics and checkpoints survive the round trip, crashes and damage."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

import agents.runs
import simenv
from agents.controllers import load_controller, load_player, random_controller
from agents.optimise_options import Optimise
from agents.runs import Run
from agents.trajopt import make_policy
from simenv.errors import RunError, UnknownTaskError

WALKER = "simenv/SoftWalker2D-v0"
WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1, dtype=torch.int64)}


@pytest.fixture(scope="module")
def functional():
    """One walker."""
    return simenv.functional(WALKER)


@pytest.fixture
def run(tmp_path) -> Run:
    """A fresh run of `simenv optimise`."""
    return Run.create("optimise", Optimise(WALKER, out=tmp_path / "run"), seed=0)


def files(folder: Path) -> set[str]:
    """Paths of all files below a folder."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_create(run):
    """A new folder holds the options and the versions of what the result depends on."""
    assert files(run.path) == {"config.json", "versions.json"}
    config = Run(run.path).config
    assert config["command"] == "optimise"
    assert (config["id"], config["iterations"]) == (WALKER, 60)
    assert config["out"] == str(run.path)
    versions = json.loads((run.path / "versions.json").read_text())
    assert versions["simenv"] == simenv.__version__
    assert versions["torch"] == torch.__version__


def test_default_folders_do_not_collide(tmp_path, monkeypatch):
    """Without --out, runs of one task and seed are numbered."""
    monkeypatch.chdir(tmp_path)
    paths = [Run.create("optimise", Optimise(WALKER), seed=3).path for _ in range(3)]
    stem = Path("runs/SoftWalker2D-v0-optimise-3")
    assert paths == [stem, Path(f"{stem}-2"), Path(f"{stem}-3")]


def test_a_run_is_not_overwritten(run):
    """A folder that holds a run is refused; its files stay."""
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(RunError, match=r"holds a run already.*--out"):
        Run.create("optimise", Optimise(WALKER, iterations=1, out=run.path), seed=1)
    assert (run.path / "config.json").read_bytes() == before


def test_unknown_task_writes_nothing(tmp_path, monkeypatch):
    """A misspelt id is answered before any folder is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownTaskError, match="SoftWalker2D-v0"):
        Run.create("optimise", Optimise("simenv/SoftWalker-v0"), seed=0)
    assert not list(tmp_path.iterdir())


def test_metrics_round_trip(run):
    """Rows written one by one come back as columns, to the last bit."""
    rows = [{"iteration": i, "return": (-1) ** i / 3.0} for i in range(3)]
    for row in rows:
        run.write_metrics([row])
    assert Run(run.path).metrics() == {
        "iteration": [0.0, 1.0, 2.0],
        "return": [row["return"] for row in rows],
    }
    assert (run.path / "metrics.csv").read_text().count("iteration") == 1


def test_metrics_with_a_new_column(run):
    """A column that comes later is nan before, and one that stays away is nan from then on."""
    for row in ({"step": 0.0, "a": 1.0}, {"step": 1.0, "b": 2.0}, {"step": 2.0, "a": 3.0}):
        run.write_metrics([row])
    found = run.metrics()
    assert found["step"] == [0.0, 1.0, 2.0]
    assert repr(found["a"]) == "[1.0, nan, 3.0]"
    assert repr(found["b"]) == "[nan, 2.0, nan]"


def test_forgetting_metrics(run):
    """Rows beyond a step are dropped, a torn last one with them; what stays keeps its bits."""
    for i in range(4):
        run.write_metrics([{"step": float(i), "return": 1 / (i + 3)}])
    with (run.path / "metrics.csv").open("a") as stream:
        stream.write("4.0,0.")
    assert run.metrics()["step"] == [0.0, 1.0, 2.0, 3.0]
    run.forget_after(1)
    assert run.metrics() == {"step": [0.0, 1.0], "return": [1 / 3, 1 / 4]}
    run.write_metrics([{"step": 2.0, "return": 0.5}])
    assert run.metrics()["step"] == [0.0, 1.0, 2.0]


def test_no_metrics_yet(run):
    """A run without metrics says so."""
    with pytest.raises(RunError, match=r"no metrics\.csv"):
        run.metrics()


def test_checkpoint_round_trip(run):
    """Tensors come back bit by bit, without a graph, even when saved as views with one."""
    view = (torch.arange(12.0).reshape(3, 4).requires_grad_() * 1.1).T
    run.save("best", {**WEIGHTS, "view": view})
    found = run.load("best")
    assert found.keys() == {"a", "b", "view"}
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)
    assert found["b"].dtype == torch.int64
    assert torch.equal(found["view"], view)
    assert not found["view"].requires_grad


@pytest.mark.parametrize("fault", ["save_file", "replace"])
def test_crash_while_saving_keeps_the_previous(run, monkeypatch, fault):
    """Whatever breaks off a save, half a file written or all of it, the old one stays whole."""
    run.save("best", WEIGHTS)

    def torn(tensors, path):
        Path(path).write_bytes(b"half a fi")
        raise OSError("disk full")

    def killed(source, target):
        raise OSError("killed")

    if fault == "save_file":
        monkeypatch.setattr(agents.runs, "save_file", torn)
    else:
        monkeypatch.setattr(agents.runs.os, "replace", killed)
    with pytest.raises(OSError, match=r"disk full|killed"):
        run.save("best", {"a": torch.zeros(1)})
    monkeypatch.undo()
    assert torch.equal(run.load("best")["a"], WEIGHTS["a"])
    run.save("best", {"a": torch.zeros(1)})
    assert torch.equal(run.load("best")["a"], torch.zeros(1))


def test_json_is_replaced_in_one_piece(run, monkeypatch):
    """A JSON file that could not be put in place leaves the old one whole."""

    def killed(source, target):
        raise OSError("killed")

    run.write_json("evaluation.json", {"a": 1})
    monkeypatch.setattr(agents.runs.os, "replace", killed)
    with pytest.raises(OSError, match="killed"):
        run.write_json("evaluation.json", {"a": 2})
    assert json.loads((run.path / "evaluation.json").read_text()) == {"a": 1}


def test_missing_run(tmp_path):
    """A folder without a config is no run."""
    with pytest.raises(RunError, match=r"no run folder.*config\.json"):
        _ = Run(tmp_path).config


def test_damaged_config(run):
    """A torn config is called damaged."""
    (run.path / "config.json").write_text('{"command": "opt')
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        _ = run.config


def test_missing_checkpoint(run):
    """A missing checkpoint is named, with those that are there."""
    run.save("last", WEIGHTS)
    with pytest.raises(RunError, match=r"no checkpoint 'best'; it has \['last'\]"):
        run.load("best")


@pytest.mark.parametrize("damage", ["truncated", "empty", "pickle"])
def test_damaged_checkpoint(run, damage):
    """A truncated or foreign file is called damaged; nothing in it is executed."""
    run.save("best", WEIGHTS)
    file = run.path / "checkpoints" / "best.safetensors"
    content = file.read_bytes()
    if damage == "pickle":
        torch.save(WEIGHTS, file)
    else:
        file.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    with pytest.raises(RunError, match=r"best\.safetensors is damaged"):
        run.load("best")


# ------------------------------------------------------------------------------- controllers


def test_controller_plays_the_saved_policy(run, functional):
    """The controller of a run does what the saved parameter set did."""
    policy = make_policy("gait", functional.task, sets=3, seed=5)
    run.save("best", policy.pick(1))
    controller = load_controller(run, functional)
    observation = torch.zeros(1, functional.task.num_features)
    action = controller(observation, 4)
    expected = policy(observation.expand(3, -1), 4)[1]
    torch.testing.assert_close(action[0], expected)


@pytest.mark.parametrize("change", ["shape", "missing", "extra"])
def test_foreign_checkpoint(run, functional, change):
    """A checkpoint that does not fit the task is refused with found and expected shapes."""
    tensors = make_policy("gait", functional.task, sets=1).state_dict()
    if change == "shape":
        tensors["bias"] = torch.zeros(1, 9)
    elif change == "missing":
        del tensors["bias"]
    else:
        tensors["other"] = torch.zeros(2)
    run.save("best", tensors)
    words = {
        "shape": r"'bias': \(\(1, 9\), \(1, 4\)\)",
        "missing": r"'bias': \(None, \(1, 4\)\)",
        "extra": r"'other': \(\(2,\), None\)",
    }
    with pytest.raises(RunError, match=rf"does not fit the task.*{words[change]}"):
        load_controller(run, functional)


@pytest.mark.parametrize("command", ["optimise", "sac"])
def test_a_malicious_config_is_not_imported(run, command):
    """A config cannot name a module: what `record` and `evaluate` make of it are registered ids."""
    run.write_json("config.json", {**run.config, "command": command, "id": "this:s"})
    with pytest.raises(UnknownTaskError, match="unknown task id 'this:s'"):
        run.functional(num_envs=1)
    assert "this" not in sys.modules


def test_a_link_is_replaced_not_followed(run, tmp_path):
    """Files are replaced: a link in a run folder does not lead writes elsewhere."""
    target = tmp_path / "precious"
    target.write_text("mine")
    (run.path / "evaluation.json").symlink_to(target)
    (run.path / "evaluation.json.partial").symlink_to(target)
    run.write_json("evaluation.json", {"a": 1})
    assert target.read_text() == "mine"
    assert json.loads((run.path / "evaluation.json").read_text()) == {"a": 1}


def test_run_of_an_unknown_command(run, functional):
    """A run of a command that leaves no controller is refused by its name."""
    run.write_json("config.json", {**run.config, "command": "bench"})
    with pytest.raises(RunError, match="made by 'bench'"):
        load_player(run, functional)


def test_random_controller(functional):
    """Random actions fill [-1, 1] and repeat with their seed."""
    observation = torch.zeros(1, functional.task.num_features)

    def play(seed):
        act = random_controller(functional, seed)
        return torch.cat([act(observation, t) for t in range(50)])

    first, other = play(0), play(1)
    assert torch.equal(first, play(0))
    assert not torch.equal(first, other)
    assert first.shape == (50, functional.task.num_actions)
    # 200 uniform draws: none beyond 0.9 on one side with probability 0.95^200 = 4e-5.
    assert 0.9 < float(first.max()) <= 1.0
    assert -1.0 <= float(first.min()) < -0.9
