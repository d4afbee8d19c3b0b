"""Policies that `CDSA` adjusts, and a model that is tiny."""

from __future__ import annotations

import numpy as np

TINY = {"net_arch": (8,), "batch_size": 16, "seed": 1}


class Policy:
    """Actions by a function of observations."""

    def __init__(self, function, **spaces_of) -> None:
        self.function = function
        self.__dict__.update(spaces_of)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        """The state that is handed back says what was asked."""
        return self.function(np.asarray(observation)), (state, episode_start, deterministic)


def noisy(seed: int = 0, deviation: float = 0.6) -> Policy:
    """The best actions of `bandit`, with noise."""

    def act(seen):
        rng = np.random.default_rng(seed)
        best = 0.8 * seen + deviation * rng.standard_normal(seen.shape)
        return np.clip(best, -1.0, 1.0).astype(np.float32)

    return Policy(act)
