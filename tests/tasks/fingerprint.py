"""Hashes of a few steps of every task (`python -m tests.tasks.fingerprint`)."""

from __future__ import annotations

import hashlib

import numpy as np

from simenv.envs import Functional
from simenv.registry import FAMILIES

STEPS = 3


def fingerprint(task_id: str) -> str:
    """Hash of observations and rewards of three steps of two environments."""
    import torch

    functional = Functional(task_id, num_envs=2)
    state, digest = functional.initial(seed=0), hashlib.sha256()
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, 2, functional.task.num_actions))
    for action in torch.as_tensor(actions):
        after = functional.transition(state, action)
        for tensor in (functional.observation(after), functional.reward(state, action, after)):
            digest.update(tensor.numpy().tobytes())
        state = after
    return digest.hexdigest()


if __name__ == "__main__":
    for spec in FAMILIES:
        print(spec.family, fingerprint(spec.id))
