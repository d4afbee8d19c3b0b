"""Running cases one after the other, with the table and the plots as they come."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from simenv.validation import report
from simenv.validation.outcome import Outcome
from simenv.validation.registry import CaseSpec

WIDTH = 120
"""Columns of the table where it is not written to a terminal."""


def run_case(spec: CaseSpec) -> Outcome:
    """Run one case."""
    outcome: Outcome = importlib.import_module(spec.module).run()
    return outcome


def validate(
    cases: Sequence[CaseSpec], plots: Path | None, table: Path | None, explain: bool
) -> bool:
    """Run cases, print their table, write plots and table; returns whether all comparisons hold.

    With `explain` the reasons of the tolerances follow the table.
    """
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    outcomes = dict(_outcomes(cases, console, plots))
    console.print(report.rich_table(outcomes))
    for line in report.reasons(outcomes) if explain else ():
        console.print(line, highlight=False, markup=False)
    console.print(report.verdict(outcomes), highlight=False)
    if table is not None:
        table.write_text(report.markdown(outcomes), encoding="utf-8")
    return all(outcome.passed for outcome in outcomes.values())


def _outcomes(
    cases: Sequence[CaseSpec], console: Console, plots: Path | None
) -> Iterator[tuple[str, Outcome]]:
    for spec in cases:
        start = time.perf_counter()
        with console.status(f"{spec.name}: {spec.summary}"):
            outcome = run_case(spec)
        seconds = time.perf_counter() - start
        console.print(f"{spec.name:<20} {seconds:6.1f} s  {spec.summary}", highlight=False)
        if plots is not None:
            from simenv.validation.plots import draw

            draw(plots / f"{spec.name}.png", outcome)
        yield spec.name, outcome
