"""The global random generators: their state saved, set, and set aside for a while."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state(device: Any = "cpu") -> dict[str, Any]:
    """States of the global generators of Python, numpy and torch."""
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 (Stable-Baselines3 draws from it)
        "torch": torch.get_rng_state(),
    }
    if torch.device(device).type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Any], device: Any = "cpu") -> None:
    """Take back what `random_state` gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def forked_random(seed: int) -> Iterator[None]:
    """Random numbers from `seed` inside; afterwards the global generators go on where they were.

    Concerns numpy's global generator and torch's on every device in use: some policies draw even
    when asked for deterministic actions, and an evaluation must not change the training around it.
    """
    state = np.random.get_state()  # noqa: NPY002  (the global generator is what is guarded)
    # `torch.manual_seed` would also leave a seed waiting for a GPU that is not in use yet.
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            torch.default_generator.manual_seed(seed)
            if devices:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
