"""What simenv sets out to reach, and whether this run did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simenv.benchmark.comparison import BACKWARD, BOTH, FORWARD, case
from simenv.benchmark.rounds import Spread, ratio


@dataclass(frozen=True)
class Target:
    """A bound, and what was measured.

    Attributes:
        name: what is compared.
        bound: the figure aimed at.
        least: whether the bound is a lower one.
        measured: None where it was not measured.
    """

    name: str
    bound: float
    least: bool
    measured: Spread | None

    @property
    def verdict(self) -> str:
        """Whether the median holds the bound."""
        if self.measured is None:
            return "not measured"
        median = self.measured.median
        return "yes" if (median >= self.bound if self.least else median <= self.bound) else "no"


def targets(results: Mapping[str, Any]) -> list[Target]:
    """All of them."""
    comparison = results["comparison"]
    kept = float(comparison["kept_bytes"])
    return [
        *_forward(comparison["rounds"], results["machine"]["cpus"]),
        *_backward(comparison["rounds"], results["machine"]["cpus"]),
        Target("bytes kept per particle and substep", 100.0, False, Spread(kept, kept, kept)),
        Target("environment steps/s, 64 walkers", 1500.0, True, _walkers(results)),
    ]


def _forward(rounds: list[dict[str, float]], cpus: int) -> list[Target]:
    ours = case("simenv", FORWARD, cpus)
    return [
        Target(
            f"forward, all CPUs: simenv / Taichi {scatter}",
            5.0,
            True,
            ratio(rounds, ours, case(f"Taichi {scatter}", FORWARD, cpus)),
        )
        for scatter in ("atomic", "private")
    ]


def _backward(rounds: list[dict[str, float]], cpus: int) -> list[Target]:
    found = [
        Target(
            f"time of backward / forward, {envs} thread{'s' if envs > 1 else ''}",
            3.5,
            False,
            ratio(rounds, case("simenv", FORWARD, envs), case("simenv", BACKWARD, envs)),
        )
        for envs in sorted({1, cpus})
    ]
    against = ratio(rounds, case("simenv", BOTH, 1), case("taped Warp", BOTH, 1))
    name = "forward + backward, 1 thread: simenv / taped Warp"
    return [*found, Target(name, 2.5, True, against)]


def _walkers(results: Mapping[str, Any]) -> Spread | None:
    rows = [row for row in results["environments"] if row["envs"] == 64]
    return rows[0]["vector"] if rows else None
