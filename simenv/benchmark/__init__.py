"""`simenv bench`: how fast this machine runs the simulator, and how that compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simenv.benchmark.machine import describe_machine, load_warning
from simenv.benchmark.plan import FULL, QUICK
from simenv.benchmark.report import render, write

__all__ = ["run"]


def run(out: Path, *, quick: bool = False, taichi_python: str | None = None) -> None:
    """Measure, print the tables, and write `results.json` and `table.md` to a folder.

    Args:
        out: folder; made if need be.
        quick: the comparison and the vector environment only, in under a minute.
        taichi_python: interpreter that has Taichi installed; None leaves Taichi out.
    """
    from simenv.benchmark.comparison import compare
    from simenv.benchmark.scaling import measure_scaling

    plan = QUICK if quick else FULL
    machine = describe_machine()
    if warning := load_warning(machine):
        print(warning)
    results: dict[str, Any] = {"machine": machine, "plan": plan.as_dict()}
    results["comparison"] = compare(plan, taichi_python)
    results |= measure_scaling(plan)
    text = render(results)
    print(text)
    for path in write(out, results, text):
        print(f"wrote {path}")
