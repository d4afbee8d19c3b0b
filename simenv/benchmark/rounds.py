"""Measuring by turns, and what can be said from several rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tqdm import tqdm

Rates = dict[str, float]
"""What one round measured: case -> rate."""
Measure = Callable[[], Rates]


class Spread(NamedTuple):
    """Median and range of a figure over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def take_turns(measures: Sequence[Measure], rounds: int, title: str) -> list[Rates]:
    """Call every measure once per round, so that a machine that drifts disturbs all alike."""
    done: list[Rates] = []
    for _ in tqdm(range(rounds), desc=title, unit="round"):
        done.append({})
        for measure in measures:
            done[-1].update(measure())
    return done


def spread(rounds: Sequence[Rates], case: str) -> Spread | None:
    """Median and range of a case; None where it was not measured."""
    if not rounds or any(case not in rates for rates in rounds):
        return None
    return Spread.of([rates[case] for rates in rounds])


def ratio(rounds: Sequence[Rates], over: str, under: str) -> Spread | None:
    """`over` / `under` in each round, then median and range; None where one is missing."""
    if not rounds or any(over not in rates or under not in rates for rates in rounds):
        return None
    return Spread.of([rates[over] / rates[under] for rates in rounds])
