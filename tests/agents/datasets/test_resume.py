"""The same data again: from the same seed, and after whatever broke the making off."""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import pytest

from agents import checkpoints
from agents.datasets import check, making
from agents.datasets.storage import Workshop
from agents.training import Trainer
from tests.agents.datasets.conftest import use
from tests.agents.datasets.made import content, equal, expert_run, make


class Killed(Exception):
    """What a test breaks off with."""


def test_the_same_seed_gives_the_same_data(root, split):
    """Bit by bit; another seed gives other data."""
    again, other = (make("random", root, version=20 + seed, seed=seed) for seed in (0, 1))
    assert equal(content(again), content(split("random")))
    assert not equal(content(other), content(split("random")))


@pytest.mark.parametrize("which", ["random", "expert"])
def test_what_was_broken_off_goes_on(root, split, monkeypatch, which):
    """Finished chunks are taken as they are, the rest is collected: the same bits."""
    version = 30 + (which == "expert")
    keep, kept = Workshop.keep, []

    def dies(shop, part, number, episodes):
        if number == 1:
            raise Killed
        kept.append(number)
        keep(shop, part, number, episodes)

    with monkeypatch.context() as patch:
        patch.setattr(Workshop, "keep", dies)
        with pytest.raises(Killed):
            make(which, root, version=version)
    assert kept == [0]
    assert not (root / "toy" / "line" / f"{which}-v{version}").exists()

    def noted(shop, part, number, episodes):
        kept.append(number)
        keep(shop, part, number, episodes)

    monkeypatch.setattr(Workshop, "keep", noted)
    name = make(which, root, version=version)
    assert kept[:2] == [0, 1]
    assert equal(content(name), content(split(which)))
    assert check(name) == []


def test_a_torn_chunk_is_collected_again(root, split, monkeypatch):
    """A chunk whose files are damaged does not get into a dataset."""

    def dies(name, spec, chunks, about, stage):
        list(chunks)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(making, "publish", dies)
        with pytest.raises(Killed):
            make("random", root, version=40)
    chunk = next((root / ".simenv" / "making").glob("toy-line-random-v40-*/random-000000"))
    file = chunk / "episodes.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert not checkpoints.whole(chunk)
    assert equal(content(make("random", root, version=40)), content(split("random")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_between_two_steps(root, split, monkeypatch, number):
    """Ctrl-C and SIGTERM end it at once; nothing half-made is to be seen, and it goes on."""
    version, steps = 50 + int(number), []
    line = gymnasium.vector.SyncVectorEnv.step

    def signalled(envs, actions):
        steps.append(0)
        if len(steps) == 20:
            os.kill(os.getpid(), number)
        return line(envs, actions)

    with monkeypatch.context() as patch:
        patch.setattr(gymnasium.vector.SyncVectorEnv, "step", signalled)
        with pytest.raises(KeyboardInterrupt):
            make("random", root, version=version)
    assert len(steps) == 20
    assert not (root / "toy" / "line" / f"random-v{version}").exists()
    assert equal(content(make("random", root, version=version)), content(split("random")))


def test_killed_in_training(root, split, tmp_path, monkeypatch):
    """An expert's training goes on where it was broken off: the same bits in the dataset."""
    whole, beat, reached = content(split("expert")), Trainer._on_rollout_start, []
    use(tmp_path, monkeypatch)

    def dies(trainer):
        if trainer.num_timesteps >= 500:
            raise Killed
        reached.append(trainer.num_timesteps)
        beat(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_on_rollout_start", dies)
        with pytest.raises(Killed):
            make("expert", tmp_path)
    assert reached[-1] == 496
    assert expert_run(tmp_path).checkpoints()[-1].name == "step-0000000400"
    assert equal(content(make("expert", tmp_path)), whole)


def survives(root: Path, delays: tuple[float, ...], transitions: int) -> None:
    """Kill a command so many times, each so long after it wrote a chunk; then let it end."""
    words = ["Pendulum-v1", "--split", "random", "--transitions", str(transitions)]
    line = [sys.executable, "-m", "agents.cli", "dataset", "make", *words]
    line += ["--num-envs", "4", "--no-progress-bar"]
    folder = root / "pendulum" / "random-v0"

    def chunks() -> int:
        # Folders may vanish under the search, which this function does not mind.
        return len(glob.glob(f"{root}/.simenv/making/*/random-*/manifest.json"))

    for delay in delays:
        before = chunks()
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
        while process.poll() is None and chunks() == before:
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.wait()
        assert not folder.exists() or check("pendulum/random-v0") == []
    if not folder.exists():
        make("random", root, "Pendulum-v1", transitions=transitions)
    assert check("pendulum/random-v0") == []
    undisturbed = make("random", root, "Pendulum-v1", transitions=transitions, version=1)
    assert equal(content("pendulum/random-v0"), content(undisturbed))


def test_killed(fresh_root):
    """kill -9 while it collects: nothing torn, and the end is that of an undisturbed one.

    In three chunks, of which the last is half a one: 1,600 steps are eight episodes.
    """
    survives(fresh_root, (0.05,), 4_000)


@pytest.mark.slow
def test_killed_often(fresh_root):
    """The same at ten moments, some of them while the dataset is put together."""
    survives(fresh_root, tuple(0.15 * n for n in range(10)), 60_000)
