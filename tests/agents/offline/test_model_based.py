"""Fits before the first update: who is told of them, and how a signal ends them."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from agents.algorithms import ALGORITHMS
from agents.interruption import Terminated
from agents.offline import training
from agents.offline.cocoa import COCOA
from agents.offline.mopo import MOPO
from agents.offline.ogsrl import CLONE_EPOCH
from agents.options import Resume
from agents.runs import Run
from agents.training import resume, train
from tests.agents.offline.models import ROLLOUTS
from tests.agents.offline.models import TINY as AGENT
from tests.agents.offline.sets import bandit, pendulum
from tests.agents.offline.test_training import content

TINY: dict[str, Any] = {
    "dataset": "pendulum/toy-v0",
    "steps": 4,
    "batch_size": 8,
    "net_arch": (4,),
    "model_members": 2,
    "model_elites": 2,
    "model_widths": (4,),
    "model_max_epochs": 2,
    "eval_episodes": 1,
    "progress_bar": False,
    "seed": 3,
}
MORE: dict[str, dict[str, Any]] = {
    "mopo": {"rollout_batch": 20},
    "cocoa": {"base": "iql", "transduction_arch": (4,), "reverse_length": 1},
    "ogsrl": {"guardian_points": 100, "rollouts": 4, "clone_steps": CLONE_EPOCH},
}
FITS = {
    "mopo": ["the model"],
    "cocoa": ["the model", "the backward model", "the anchor-seeking policy"],
    "ogsrl": ["the model", "the clone of the data", "the guardian"],
}


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory):
    """A home for datasets, with one of Pendulum-v1."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("datasets")
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        pendulum("pendulum/toy-v0", 1)
        yield folder


def options(algorithm: str, out, **changes: Any):
    """Options of a training of a second."""
    return ALGORITHMS[algorithm].options(**TINY | MORE[algorithm] | changes, out=out)


@pytest.fixture(scope="module", params=FITS)
def whole(request, tmp_path_factory) -> tuple[str, Run]:
    """An algorithm and an uninterrupted run of it."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, train(request.param, options(request.param, out))


# ------------------------------------------------------------------ signals


@pytest.mark.parametrize(
    ("place", "number", "raised"),
    [(0, signal.SIGTERM, Terminated), (-1, signal.SIGINT, KeyboardInterrupt)],
)
def test_a_signal_ends_a_fit_and_resume_begins_it_again(
    whole, tmp_path, monkeypatch, place, number, raised
):
    """In the first fit and in the last one, behind its epoch; the end is the uninterrupted run's.

    The guardian is fitted in one piece: the fit before it is the last that is asked here.
    """
    algorithm, run = whole
    fits = [name for name in FITS[algorithm] if name != "the guardian"]
    told = training.OfflineTrainer.on_fit

    def signalled(trainer, what, epochs, error):
        if (what, epochs) == (fits[place], 1):
            os.kill(os.getpid(), number)
            assert trainer.interruption.signal == number
        told(trainer, what, epochs, error)

    with monkeypatch.context() as patch:
        patch.setattr(training.OfflineTrainer, "on_fit", signalled)
        with pytest.raises(raised) as caught:
            train(algorithm, options(algorithm, tmp_path / "run"))
    assert caught.type is raised
    names = [folder.name for folder in Run(tmp_path / "run").checkpoints()]
    # COCOA fits before it is looked at, and has nothing to keep but its options.
    assert names == ([] if algorithm == "cocoa" else ["step-0000000000"])
    assert content(resume(Resume(tmp_path / "run", progress_bar=False))) == content(run)


def test_sigterm_ends_a_fit_that_never_would(tmp_path):
    """By the command line: code 143 and a checkpoint to go on from, soon after the signal."""
    line = (
        "train mopo --dataset pendulum/toy-v0 --model-patience 1000000 --model-max-epochs 1000000 "
        "--model-widths 4 --eval-episodes 1 --no-progress-bar"
    )
    words = [sys.executable, "-m", "agents.cli", *line.split(), "--out", str(tmp_path / "run")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        # Whatever goes wrong, the test ends.
        watchdog = threading.Timer(240.0, process.kill)
        watchdog.start()
        assert "simenv: fitting the model\n" in iter(process.stderr.readline, "")
        process.terminate()
        rest = process.stderr.read()
        watchdog.cancel()
    assert process.returncode == 143
    go_on = f"go on with: simenv train --resume {tmp_path / 'run'}"
    assert rest == f"{go_on}\nsimenv: terminated\n"
    assert [folder.name for folder in Run(tmp_path / "run").checkpoints()] == ["step-0000000000"]


# ------------------------------------------------------------------ who is told


def test_a_line_for_every_fit(whole, tmp_path, capsys):
    """One without a progress bar, and none where nothing is fitted any more."""
    algorithm, _ = whole
    run = train(algorithm, options(algorithm, tmp_path / "run"))
    lines = [f"simenv: fitting {name}\n" for name in FITS[algorithm]]
    assert capsys.readouterr().err == "".join(lines)
    resume(Resume(run.path, steps=6, progress_bar=False))
    assert "fitting" not in capsys.readouterr().err


@pytest.mark.parametrize(("pause", "count"), [(0.0, 2), (1e6, 0)])
def test_the_progress_bar_says_how_far_it_is(pause, count, tmp_path, monkeypatch, capsys):
    """Epochs and errors, but only so often."""
    monkeypatch.setattr(training, "REPORT", pause)
    train("mopo", options("mopo", tmp_path / "run", progress_bar=True))
    told = [line for line in capsys.readouterr().err.splitlines() if ", error " in line]
    assert len(told) == count
    for epoch, line in enumerate(told, 1):
        assert line.startswith(f"simenv: fitting the model: epoch {epoch}, error ")
        assert 0 < float(line.split()[-1]) < math.inf


def test_python_is_told_what_it_asks_for():
    """Names, epochs and errors in the order of the fits; the least errors of the model fall."""
    told: list[tuple[str, int, float]] = []
    model = COCOA(
        bandit(50),
        base="iql",
        transduction_arch=(4,),
        **{k: v for k, v in AGENT.items() if k != "model_max_epochs"},
        model_max_epochs=3,
    )
    model.on_fit = lambda *row: told.append(row)
    model.learn(1)
    names = list(dict.fromkeys(name for name, *_ in told))
    assert names == FITS["cocoa"]
    for name in names:
        epochs, errors = zip(*(row[1:] for row in told if row[0] == name), strict=True)
        assert epochs == tuple(range(len(epochs)))
        assert len(epochs) > 1
        assert errors[0] == math.inf
    forwards = [error for name, _, error in told if name == "the model"]
    assert forwards == sorted(forwards, reverse=True)
    assert forwards[-1] == pytest.approx(model.dynamics.ensemble.holdout.mean().item())
    assert told[-1][2] == model.pretraining["seeker_loss"]


def test_what_is_raised_ends_learn_and_nothing_counts_as_fitted():
    """The next call of `learn` begins the fit again."""
    model = MOPO(bandit(50), **AGENT | ROLLOUTS)

    def stop(what, epochs, error):
        if epochs:
            raise InterruptedError

    model.on_fit = stop
    with pytest.raises(InterruptedError):
        model.learn(1)
    assert not model.dynamics.fitted
    model.on_fit = None
    assert model.learn(1).dynamics.fitted
