"""Statistics over runs: by hand, and intervals that cover as often as they should."""

from __future__ import annotations

import numpy as np
import pytest

from agents.statistics import (
    TRIMMED_FROM,
    estimate,
    iqm,
    optimality_gap,
    probability_of_improvement,
)
from simenv.errors import ConfigurationError


def mean(*scores: np.ndarray) -> np.ndarray:
    """Mean of all scores."""
    return np.concatenate(scores, axis=-1).mean(axis=-1)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 30.0], 11.0),
        ([-100.0, 1.0, 3.0, 100.0], 2.0),
        ([900.0, 2.0, 3.0, 1.0, 0.0], 2.0),
        ([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], 4.5),
    ],
)
def test_iqm_by_hand(scores, expected):
    """floor(n / 4) scores are left out at either end, in any order of the runs."""
    assert iqm(np.array(scores)) == expected
    assert iqm(*np.array(scores)[:, None]) == expected


def test_iqm_and_mean_part_at_four_runs():
    """Below `TRIMMED_FROM` runs the interquartile mean is the mean; from there on it is not."""
    squares = np.arange(TRIMMED_FROM) ** 2.0
    assert iqm(squares[:-1]) == squares[:-1].mean()
    assert iqm(squares) != squares.mean()


def test_iqm_of_many():
    """Of a normal law with outliers the interquartile mean is the centre, wherever the mean is."""
    scores = np.random.default_rng(0).normal(3.0, 1.0, 10_000)
    scores[:1000] = 1e6
    # A tenth of the scores at infinity shifts the middle half: to the mean of N(3, 1) between its
    # quantiles 0.25 / 0.9 and 0.75 / 0.9. φ(-0.589) = 0.3353 and φ(0.967) = 0.2499, so that is
    # 3 + (0.3353 - 0.2499) / (0.5 / 0.9) = 3.154. The standard error is about 0.011.
    assert iqm(scores) == pytest.approx(3.154, abs=0.045)


def test_optimality_gap_by_hand():
    """Shortfalls count, surpluses do not."""
    assert optimality_gap(np.array([0.0, 0.5]), np.array([1.0, 9.0])) == pytest.approx(1.5 / 4)
    assert optimality_gap(np.array([5.0]), target=7.0) == 2.0


def test_probability_of_improvement_by_hand():
    """Pairs won, ties half."""
    first, second = np.array([1.0, 2.0, 5.0]), np.array([2.0, 3.0])
    # 1 loses twice, 2 ties and loses, 5 wins twice: 2.5 of 6.
    assert probability_of_improvement(first, second) == pytest.approx(2.5 / 6)
    assert probability_of_improvement(second, first) == pytest.approx(3.5 / 6)


def test_statistics_take_resamples():
    """Leading axes are resamples, each with a value of its own."""
    first, second = np.random.default_rng(0).random((2, 3, 5))
    for statistic in (iqm, optimality_gap, probability_of_improvement):
        found = statistic(first, second)
        assert found.tolist() == [
            float(statistic(*rows)) for rows in zip(first, second, strict=True)
        ]


# ------------------------------------------------------------------------------- intervals


def test_interval_by_hand():
    """Of two runs, a quarter of the resamples are the one twice, a quarter the other."""
    scores = np.array([0.0, 1.0])
    for confidence, expected in ((0.95, (0.5, 0.0, 1.0)), (0.4, (0.5, 0.5, 0.5))):
        assert estimate(mean, scores, confidence=confidence) == expected


def test_interval_of_one_run_is_its_score():
    """One run gives no interval to speak of."""
    assert estimate(iqm, np.array([3.0])) == (3.0, 3.0, 3.0)


def test_tasks_are_strata():
    """What differs between tasks alone does not widen the interval."""
    easy, hard = np.full(5, 100.0), np.full(5, 0.0)
    assert estimate(mean, easy, hard) == (50.0, 50.0, 50.0)
    together = estimate(mean, np.concatenate([easy, hard]))
    assert together.high - together.low > 30.0


def test_intervals_are_repeatable():
    """The same seed gives the same interval, another one another."""
    scores = np.random.default_rng(0).random(7)
    assert estimate(iqm, scores) == estimate(iqm, scores)
    assert estimate(iqm, scores) != estimate(iqm, scores, seed=1)


def test_coverage_of_the_mean():
    """Intervals for the mean of a normal law hold it as often as theory says."""
    runs, repeats = 40, 1000
    rng, held = np.random.default_rng(0), 0
    for repeat in range(repeats):
        found = estimate(mean, rng.normal(size=runs), resamples=1000, seed=repeat)
        held += found.low <= 0.0 <= found.high
    # The percentile interval is close to mean ± 1.96 s √((n - 1) / n) / √n, s the sample's standard
    # deviation; it holds the mean with P(|t₃₉| < 1.935) = 0.940. Four standard errors of a
    # binomial share of 1000: 0.030.
    assert held / repeats == pytest.approx(0.940, abs=0.030)


def test_coverage_of_the_interquartile_mean():
    """Intervals over two tasks of equal spread hold the interquartile mean of both."""
    runs, repeats = 30, 500
    rng, held = np.random.default_rng(1), 0
    for repeat in range(repeats):
        found = estimate(iqm, *rng.normal(size=(2, runs)), resamples=1000, seed=repeat)
        held += found.low <= 0.0 <= found.high
    # Between the share for a mean of 60, P(|t₅₉| < 1.944) = 0.943, and the nominal 0.95; four
    # standard errors of a binomial share of 500 are 0.041.
    assert held / repeats == pytest.approx(0.946, abs=0.041)


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
def test_bad_scores_are_refused(scores):
    """No run, or one without a finite score, has no interval."""
    with pytest.raises(ConfigurationError, match="must be finite numbers"):
        estimate(iqm, np.array([1.0, 2.0]), np.array(scores))
