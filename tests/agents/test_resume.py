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
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents import checkpoints
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
    "sac-everything": {
        "id": "Pendulum-v1",
        "n_steps": 3,
        "layer_norm": True,
        "simba": True,
        "normalize": True,
    },
    "sac-native": {"id": "simenv/FingerReach2D-v0"},
}


def options(case: str, out: Path, **changes) -> tuple[str, Train]:
    """Algorithm and options of a case."""
    algorithm = case.partition("-")[0]
    kind = ALGORITHMS[algorithm].options
    return algorithm, kind(**TINY | CASES[case] | changes, out=out)


@pytest.fixture(scope="module", params=CASES)
def reference(request, tmp_path_factory) -> Run:
    """An uninterrupted run of every case."""
    return train(*options(request.param, tmp_path_factory.mktemp(request.param) / "run"))


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


@pytest.mark.parametrize("at", [58, 130, 214])
def test_resume_equals_the_uninterrupted_run(reference, tmp_path, monkeypatch, at):
    """Killed in warm-up, before and after the replay wraps: the same bits at the end."""
    case = reference.path.parent.name.rstrip("0123456789")
    run = broken_off(case, tmp_path / "run", at, monkeypatch)
    resume(Resume(run.path, progress_bar=False))
    assert content(run) == content(reference)
