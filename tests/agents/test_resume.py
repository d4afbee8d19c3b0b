"""Exact resume: whatever ends a training, it goes on as if nothing had happened, bit by bit."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import simenv
from agents import checkpoints, cli
from agents.algorithms import ALGORITHMS
from agents.interruption import Interruption, Terminated
from agents.options import Resume
from agents.runs import Run
from agents.train_options import Train
from agents.training import Trainer, load_agent, resume, train
from simenv.errors import CheckpointError, RunError

TINY = {
    "steps": 260,
    "num_envs": 2,
    "gradient_steps": 1,
    "batch_size": 16,
    "learning_starts": 60,
    "buffer_size": 150,
    "net_arch": (16,),
    "eval_every": 60,
    "eval_episodes": 1,
    "save_every": 40,
    "progress_bar": False,
    "seed": 3,
}
"""A training of seconds that wraps its replay and ends episodes (of 200 steps) on the way."""

CASES = {
    "sac": {"id": "Pendulum-v1"},
    "sac-layers": {"id": "Pendulum-v1", "n_steps": 3, "layer_norm": True, "normalize": True},
    "flac": {"id": "Pendulum-v1", "simba": True},
    "cal": {"id": "Pendulum-v1", "cost": "effort", "cost_limit": 40.0, "n_steps": 2},
    "saclag": {"id": "Pendulum-v1", "cost": "effort", "cost_limit": 40.0, "cost_window": 1},
    "sacpid": {"id": "Pendulum-v1", "cost": "effort", "cost_limit": 40.0, "cost_window": 1},
    "sac-goals": {"id": "simenv/FingerReach2D-Goal-v0", "goals": "svgg", "ent_coef": "0.02"},
    "sac-native": {"id": "simenv/FingerReach2D-Safe-v0"},
}


def options(case: str, out: Path, **changes) -> tuple[str, Train]:
    """Algorithm and options of a case."""
    algorithm = case.partition("-")[0]
    kind = ALGORITHMS[algorithm].options
    return algorithm, kind(**TINY | CASES[case] | changes, out=out)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Run:
    """An uninterrupted run of the first case."""
    return train(*options("sac", tmp_path_factory.mktemp("sac") / "run"))


@pytest.fixture(scope="module", params=CASES)
def reference(request, plain, tmp_path_factory) -> tuple[str, Run]:
    """Every case and an uninterrupted run of it."""
    if request.param == "sac":
        return "sac", plain
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, train(*options(request.param, folder / "run"))


def content(run: Run) -> dict[str, bytes]:
    """What a run has found: metrics without the clock, and the files of its checkpoints."""
    with (run.path / "metrics.csv").open() as stream:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]
    files = {
        f"{folder.name}/{file.name}": file.read_bytes()
        for folder in run.checkpoints()
        for file in folder.glob("*.safetensors")
    }
    numbers = {folder.name: _without_clock(folder) for folder in run.checkpoints()}
    return files | numbers | {"metrics": json.dumps(rows).encode()}


def _without_clock(folder: Path) -> bytes:
    state = json.loads((folder / "state.json").read_text())
    del state["trainer"]["seconds"]
    state["about"].pop("arguments")
    for name in ("_total_timesteps", "_num_timesteps_at_start"):
        del state["loop"][name]
    return json.dumps(state, sort_keys=True).encode()


def broken_off(case: str, out: Path, at: int, monkeypatch) -> Run:
    """A run of a case that dies without warning once `at` steps are done."""
    beat = Trainer._on_rollout_start

    def dies(trainer):
        if trainer.num_timesteps >= at:
            raise MemoryError("killed")
        beat(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_on_rollout_start", dies)
        with pytest.raises(MemoryError, match="killed"):
            train(*options(case, out))
    return Run(out)


@pytest.mark.parametrize("at", [20, 130, 214])
def test_resume_equals_the_uninterrupted_run(reference, tmp_path, monkeypatch, at):
    """Killed before the first save, before and after the replay wraps: the same bits."""
    case, whole = reference
    run = broken_off(case, tmp_path / "run", at, monkeypatch)
    resume(Resume(run.path, progress_bar=False))
    assert content(run) == content(whole)


def test_a_run_is_repeatable(plain, tmp_path):
    """The same seed gives the same run, so that the comparison above means something."""
    assert content(train(*options("sac", tmp_path / "run"))) == content(plain)
    other = train(*options("sac", tmp_path / "other", seed=4))
    assert content(other) != content(plain)


def test_more_steps(tmp_path):
    """A finished run goes on where more steps are asked for; else it says that it is finished."""
    run = train(*options("sac", tmp_path / "run", steps=100))
    with pytest.raises(RunError, match=r"finished at step 100; go on with more --steps"):
        resume(Resume(run.path, progress_bar=False))
    resume(Resume(run.path, steps=140, progress_bar=False))
    assert run.metrics()["step"] == [0.0, 60.0, 100.0, 120.0, 140.0]
    assert [folder.name for folder in run.checkpoints()] == ["step-0000000120", "step-0000000140"]


def test_a_broken_off_row_is_measured_again(plain, tmp_path, monkeypatch):
    """A metrics file whose last row was torn, or lies beyond the checkpoint, is put right."""
    run = broken_off("sac", tmp_path / "run", 130, monkeypatch)
    with (run.path / "metrics.csv").open("a") as stream:
        stream.write("120,0.5,7.0")
    resume(Resume(run.path, progress_bar=False))
    assert content(run) == content(plain)


def test_the_trained_agent_is_the_last_checkpoint(plain):
    """What a run leaves to play is its last networks, whatever they scored."""
    run = plain
    found = load_agent(run).policy.state_dict()
    saved = checkpoints.read(run.checkpoints()[-1])["parameters"]["modules"]["policy"]
    assert all(torch.equal(found[name], saved[name]) for name in saved)
    assert run.checkpoints()[-1].name == "step-0000000260"


# ------------------------------------------------------------------------------- damage


@pytest.fixture
def copy(plain, tmp_path) -> Run:
    """A copy of a finished run, to be spoilt."""
    shutil.copytree(plain.path, tmp_path / "copy")
    return Run(tmp_path / "copy")


def go_on(run: Run, **changes) -> Run:
    """Resume for a few more steps."""
    return resume(Resume(run.path, steps=300, progress_bar=False, **changes))


def test_a_damaged_checkpoint_offers_the_one_before(copy):
    """A flipped bit in the newest: refused by name, and the one before it works when asked for."""
    first, last = copy.checkpoints()
    file = last / "replay.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"{last.name} is damaged.*--checkpoint {first.name}"
    ):
        go_on(copy)
    run = go_on(copy, checkpoint=first.name)
    assert run.metrics()["step"][-1] == 300.0
    names = [folder.name for folder in run.checkpoints()]
    assert names == ["step-0000000280", "step-0000000300"]
    assert all(map(checkpoints.whole, run.checkpoints()))


def test_files_are_hashed_once(copy, monkeypatch):
    """To play, only those that make up the agent; to go on, all of them."""
    read, digest = [], checkpoints.file_digest

    def file_digest(path):
        read.append(path.name)
        return digest(path)

    monkeypatch.setattr(checkpoints, "file_digest", file_digest)
    load_agent(copy)
    assert len(read) == len(set(read))
    assert "replay.safetensors" not in read
    read.clear()
    with pytest.raises(RunError, match="is finished"):
        resume(Resume(copy.path, progress_bar=False))
    assert len(read) == len(set(read))
    assert "replay.safetensors" in read


def test_nothing_whole_is_left(copy):
    """Both damaged: said so."""
    for folder in copy.checkpoints():
        (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="none is whole"):
        go_on(copy)


def test_stopped_before_the_first_checkpoint(plain, copy):
    """A run without any checkpoint begins again from its options; there is nothing to play yet."""
    for folder in copy.checkpoints():
        shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load_agent(copy)
    resume(Resume(copy.path, progress_bar=False))
    assert content(copy) == content(plain)


def test_a_checkpoint_of_another_environment(copy):
    """A run whose config names another environment is refused with the difference of spaces."""
    copy.write_json("config.json", {**copy.config, "id": "simenv/SoftWalker2D-v0"})
    with pytest.raises(CheckpointError, match=r"another environment.*\(3,\).*here.*\(30,\)"):
        go_on(copy)


def test_a_checkpoint_of_another_shape(copy):
    """Networks of other sizes, or other options, are refused by name, not half loaded."""
    copy.write_json("config.json", {**copy.config, "net_arch": [8]})
    with pytest.raises(CheckpointError, match=r"does not fit this agent.*policy_kwargs = .*16.*8"):
        go_on(copy)


def test_a_checkpoint_of_a_sister_environment(copy):
    """An environment with the same spaces but another cost is refused too; nothing is lost."""
    before = content(copy)
    copy.write_json("config.json", {**copy.config, "cost": "effort"})
    with pytest.raises(CheckpointError, match="its cost is None, here it is 'effort'"):
        go_on(copy)
    assert content(copy) == before


def test_a_checkpoint_of_another_version(copy, monkeypatch):
    """Another version of simenv cannot promise the same bits; it says which one can."""
    monkeypatch.setattr(simenv, "__version__", "9.9.9")
    with pytest.raises(CheckpointError, match=r"by simenv \S+, this is 9\.9\.9"):
        go_on(copy)


def test_one_process_at_a_time(copy):
    """A run that is being trained is not trained by a second process."""
    with copy.locked(), pytest.raises(RunError, match="another process is training"):
        go_on(copy)


def test_fewer_steps_lose_nothing(copy):
    """Asked to go on to a step that has passed, a run keeps what it has."""
    before = content(copy)
    back = Resume(copy.path, 200, checkpoint=copy.checkpoints()[0].name, progress_bar=False)
    with pytest.raises(RunError, match="finished at step 240"):
        resume(back)
    assert content(copy) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": "optimise"}, "not by 'simenv train'"),
        ({"id": "os:system"}, "unknown task id 'os:system'"),
        ({"cost": "os.system"}, "cost 'os.system' is not one of"),
    ],
)
def test_a_malicious_config_names_nothing_to_execute(copy, change, words):
    """A config can name registered ids and costs only, never code."""
    copy.write_json("config.json", {**copy.config, **change})
    with pytest.raises(Exception, match=words) as caught:
        go_on(copy)
    assert isinstance(caught.value, simenv.errors.SimenvError)


# ------------------------------------------------------------------------------- signals


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_finishes_the_step_and_saves(plain, tmp_path, monkeypatch, capsys, number, raised):
    """A signal in the middle of a step ends the run behind it, saved; it goes on from there."""
    step = Trainer._on_step

    def signalled(trainer):
        if trainer.num_timesteps == 134:
            os.kill(os.getpid(), number)
        return step(trainer)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_on_step", signalled)
        with pytest.raises(raised) as caught:
            train(*options("sac", tmp_path / "run"))
    assert caught.type is raised
    assert f"simenv train --resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert signal.getsignal(number) is before
    run = Run(tmp_path / "run")
    assert run.checkpoints()[-1].name == "step-0000000134"
    resume(Resume(run.path, progress_bar=False))
    assert content(run) == content(plain)


def test_a_second_signal_is_not_waited_for():
    """Whoever insists is obeyed at once."""
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)


# ------------------------------------------------------------------------------- kill -9

LINE = (
    "train sac Pendulum-v1 --steps 260 --num-envs 2 --gradient-steps 1 --batch-size 16 "
    "--learning-starts 60 --buffer-size 150 --net-arch 16 --eval-every 60 --eval-episodes 1 "
    "--save-every 8 --seed 3 --no-progress-bar --tau 0.005 --gamma 0.98"
)


def simenv_process(*words: object) -> subprocess.Popen[bytes]:
    """`simenv …` in a process of its own."""
    line = [sys.executable, "-m", "agents.cli", *map(str, words)]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_once(out: Path, delay: float) -> bool:
    """Start or go on, kill after `delay` seconds of training; whether it is still to go on."""
    begun = out.joinpath("config.json").is_file()
    process = simenv_process(
        *(
            ("train", "--resume", out, "--no-progress-bar")
            if begun
            else (*LINE.split(), "--out", out)
        )
    )
    before = sum(1 for _ in out.rglob("*"))
    while process.poll() is None and sum(1 for _ in out.rglob("*")) == before:
        time.sleep(0.005)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return not finished(out)
    assert process.returncode == 0
    return False


def finished(out: Path) -> bool:
    """Whether a run has a checkpoint of its end, so that there is nothing to go on with."""
    return any(folder.name == "step-0000000260" for folder in Run(out).checkpoints())


def survives(kills: int, tmp_path: Path, seed: int) -> None:
    """Kill one run so many times at random moments, then let it end and compare."""
    whole, out, rng = tmp_path / "whole", tmp_path / "run", random.Random(seed)
    assert cli.main([*LINE.split(), "--out", str(whole)]) == 0
    killed = 0
    while killed < kills:
        running = kill_once(out, rng.uniform(0.0, 1.0))
        killed += running
        for folder in Run(out).checkpoints():
            assert checkpoints.whole(folder), f"{folder} is torn"
        if not running:
            assert content(Run(out)) == content(Run(whole))
            shutil.rmtree(out)
    if out.exists():
        assert cli.main(["train", "--resume", str(out), "--no-progress-bar"]) == 0
        assert content(Run(out)) == content(Run(whole))


def test_killed_twice(tmp_path):
    """kill -9 at random moments: no torn file, and the end equals the uninterrupted run's."""
    survives(2, tmp_path, seed=0)


@pytest.mark.slow
def test_killed_twenty_times(tmp_path):
    """The same, twenty times over."""
    survives(20, tmp_path, seed=1)
