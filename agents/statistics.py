"""Statistics over training runs: robust averages, and intervals that say how sure they are.

After Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice"
(NeurIPS 2021, arXiv:2108.13264). Every statistic takes the scores of one task or of several, one
array (..., n) of n runs per task, and averages over the last axis of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from simenv.errors import ConfigurationError

RESAMPLES, CONFIDENCE, SEED = 2000, 0.95, 0
TRIMMED_FROM = 4
"""Runs from which on the interquartile mean leaves any out, and so differs from the mean."""

Statistic = Callable[..., np.ndarray]


class Estimate(NamedTuple):
    """A statistic of the scores at hand, and the bounds of its interval."""

    value: float
    low: float
    high: float


def iqm(*scores: np.ndarray) -> np.ndarray:
    """Interquartile mean: the lowest and the highest quarter of all scores count for nothing.

    Of n scores, floor(n / 4) are left out at either end.
    """
    ordered = np.sort(np.concatenate(scores, axis=-1), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def optimality_gap(*scores: np.ndarray, target: float = 1.0) -> np.ndarray:
    """How far scores fall short of the target on average; what exceeds it makes up for nothing."""
    return np.maximum(target - np.concatenate(scores, axis=-1), 0.0).mean(axis=-1)


def probability_of_improvement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """P(X > Y) + ½ P(X = Y) of a run X of the first and Y of the second, on one task."""
    difference = first[..., :, None] - second[..., None, :]
    return ((np.sign(difference) + 1.0) / 2.0).mean(axis=(-2, -1))


def estimate(
    statistic: Statistic,
    *strata: np.ndarray,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> Estimate:
    """A statistic with its percentile interval from a stratified bootstrap.

    Runs are drawn anew with replacement within each stratum, which keeps the share of every task.
    The same seed draws the same runs.

    Args:
        statistic: (*strata, each (..., n)) -> (...).
        strata: scores (n,) of each task, or of each of two algorithms.
        resamples: how often all runs are drawn.
        confidence: share of the resampled statistics inside the interval.
        seed: of the draws.

    Raises:
        ConfigurationError: a stratum has no runs, or a score that is not finite.
    """
    strata = tuple(np.asarray(scores, dtype=float) for scores in strata)
    for scores in strata:
        if scores.size == 0 or not np.isfinite(scores).all():
            raise ConfigurationError(
                f"scores {scores} must be finite numbers, at least one; leave out runs that have "
                "none"
            )
    rng = np.random.default_rng(seed)
    drawn = [s[rng.integers(len(s), size=(resamples, len(s)))] for s in strata]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(statistic(*drawn), (tail, 1.0 - tail))
    return Estimate(float(statistic(*strata)), float(low), float(high))
