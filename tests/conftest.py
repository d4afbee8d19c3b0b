"""Shared by all tests: comparing a measured number with its expectation, and tabulating both."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

# Read by torch when it is imported, here and in processes that tests start: small networks gain
# nothing from threads, and those of several test processes wait for each other in busy loops.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _sb3_logs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stable-Baselines3 makes a log folder for every agent: among those that pytest tidies up."""
    os.environ["SB3_LOGDIR"] = str(tmp_path_factory.mktemp("sb3"))


Measurement = tuple[str, float, float, float, float]
"""Case, expected, measured, error and tolerance."""
HEADINGS = ("case", "expected", "measured", "tolerance")


@pytest.fixture
def compare(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Function (case, value, expected, tolerance) that keeps the numbers, then asserts.

    The tolerance is relative; against an expectation of zero it is absolute.
    """

    def compare(case: str, value: float, expected: float, tolerance: float) -> None:
        error = abs(value - expected) / (abs(expected) or 1.0)
        numbers = map(float, (expected, value, error, tolerance))
        record_property("measured", (case, *numbers))
        assert error <= tolerance, f"{case}: {value:.6g}, expected {expected:.6g}"

    return compare


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured as a table, in the layout of `docs/validation.md`."""
    worst = _worst(terminalreporter.stats)
    if not worst:
        return
    terminalreporter.section("measured")
    for row in (HEADINGS, ("---",) * len(HEADINGS), *(_row(*w) for w in worst)):
        terminalreporter.line("| " + " | ".join(row) + " |")


def _worst(stats: dict[str, list[Any]]) -> list[Measurement]:
    """One measurement per case: of several tests of the same case, the farthest off."""
    worst: dict[str, Measurement] = {}
    for report in (*stats.get("passed", ()), *stats.get("failed", ())):
        for name, measurement in report.user_properties:
            if name == "measured":
                case, _expected, _value, error, _tolerance = measurement
                if case not in worst or error > worst[case][3]:
                    worst[case] = measurement
    return list(worst.values())


def _row(
    case: str, expected: float, value: float, error: float, tolerance: float
) -> tuple[str, ...]:
    if expected == 0.0:
        return case, "0", f"{value:.1e}", f"{tolerance:.1e}"
    bound = f"{tolerance:.1%}" if tolerance >= 1e-3 else f"{tolerance:.0e}"
    return case, f"{expected:.6g}", f"{value:.6g} ({error:.1e})", bound
