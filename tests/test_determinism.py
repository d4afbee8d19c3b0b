"""Bitwise the same in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import simenv
from agents.trajopt import make_policy, rollout
from simenv.registry import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
STEPS = 12


def fingerprint(task_id: str, seed: int) -> str:
    """Hash of the states, observations, rewards and gradients of a rollout."""
    func = simenv.functional(task_id, num_envs=3)
    policy = make_policy("feedback", func.task, sets=3, seed=seed)
    run = rollout(func, policy, func.initial(seed), steps=STEPS)
    run.rewards.sum().backward()
    observation = func.task.features(run.final)
    gradients = [p.grad for p in policy.parameters()]
    tensors = (run.rewards, run.final.x, run.final.F, observation, *gradients)
    digest = hashlib.sha256()
    for tensor in tensors:
        assert torch.isfinite(tensor).all()
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("task_id", [spec.id for spec in FAMILIES])
def test_fresh_processes_agree(task_id):
    """Two fresh processes give the same rollout and gradients to the last bit; seeds differ."""
    script = f"import sys, runpy; m = runpy.run_path({str(Path(__file__))!r})\n"
    script += f"print(m['fingerprint']({task_id!r}, 0)); print(m['fingerprint']({task_id!r}, 1))"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    first, second = (run.communicate(timeout=300)[0].split() for run in runs)
    assert len(first) == 2
    assert first == second
    assert first[0] != first[1]
