"""What the study of optimisers has found: kept as curves, shown as tables and figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.plots import COLORS, DASHES, band
from agents.statistics import estimate, iqm
from benchmarks.comparison import head, line
from benchmarks.processes import write_rows
from simenv.errors import ConfigurationError

REACHED = (50.0, 90.0)
"""Scores whose first passing is reported."""
CURVES = "curves.csv"

Run = tuple[str, str, dict[str, list[float]]]
"""Task, method, and `step` and `score` of a seed."""


class Curve(NamedTuple):
    """What a run has found.

    Attributes:
        seconds: that it took.
        steps: simulated so far.
        returns: the best one by then.
    """

    seconds: float
    steps: list[int]
    returns: list[float]


# ------------------------------------------------------------------------------- curves


def read_curves(out: Path) -> dict[str, Curve]:
    """Curves that are kept in a folder, by the names of their runs.

    Raises:
        ConfigurationError: they cannot be read.
    """
    path = out / CURVES
    if not path.is_file():
        return {}
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error!r}): remove it, and runs without a folder are done anew"
        ) from error


@lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> dict[str, Curve]:
    """The curves of a file as it was when it changed last."""
    found: dict[str, Curve] = {}
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            curve = found.setdefault(row["run"], Curve(float(row["seconds"]), [], []))
            curve.steps.append(int(row["step"]))
            curve.returns.append(float(row["return_best"]))
    return found


def write_curves(out: Path, curves: Mapping[str, Curve]) -> None:
    """Keep curves, beside those that are kept already."""
    rows = [
        {"run": name, "seconds": round(curve.seconds, 1), "step": step, "return_best": value}
        for name, curve in (read_curves(out) | dict(curves)).items()
        for step, value in zip(curve.steps, curve.returns, strict=True)
    ]
    if rows:
        write_rows(out / CURVES, rows)


def reached(curve: dict[str, list[float]], bound: float) -> int | str:
    """Steps after which a score is reached; "" where it never is."""
    steps = (s for s, score in zip(curve["step"], curve["score"], strict=True) if score >= bound)
    found = next(steps, None)
    return "" if found is None else int(found)


# ------------------------------------------------------------------------------- tables and figures


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: scores at the end, then steps until each of `REACHED`."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    parts = [
        _table("score at the end", rows, tasks, _score),
        *(
            _table(f"steps to a score of {b:g}", rows, tasks, partial(_steps, f"reached {b:g}"))
            for b in REACHED
        ),
        _table("seconds of the clock", rows, tasks, _seconds),
    ]
    return "\n".join(parts)


def _table(title: str, rows: Sequence[dict[str, Any]], tasks: list[str], show: Any) -> str:
    lines = head([title, *tasks])
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [
            [row for row in rows if (row["task"], row["method"]) == (task, method)]
            for task in tasks
        ]
        lines.append(line(method, [show(cell) if cell else "–" for cell in cells]))
    return "\n".join(lines) + "\n"


def _score(rows: Sequence[dict[str, Any]]) -> str:
    found = estimate(iqm, np.array([row["score"] for row in rows]))
    return f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}] ({len(rows)})"


def _steps(column: str, rows: Sequence[dict[str, Any]]) -> str:
    """Median over all seeds, those that never get there counted as the longest."""
    found = [np.inf if row[column] == "" else row[column] for row in rows]
    middle, hits = np.median(found), sum(np.isfinite(found))
    return f"{'–' if np.isinf(middle) else f'{middle:,.0f}'} ({hits} of {len(rows)})"


def _seconds(rows: Sequence[dict[str, Any]]) -> str:
    return f"{np.median([row['seconds'] for row in rows]):,.0f}"


def draw(runs: Sequence[Run], sets: Sequence[Sequence[str]], path: Path) -> None:
    """A panel per task and set of methods: scores against steps, means over seeds.

    Args:
        runs: what has been found.
        sets: methods of a row of panels.
        path: of the figure.
    """
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(task for task, _, _ in runs))
    figure = Figure(figsize=(3.6 * len(tasks), 6.4), dpi=120, layout="constrained")
    parts = figure.subfigures(len(sets), 1)
    for part, methods in zip(parts, sets, strict=True):
        panels = part.subplots(1, len(tasks), squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=True):
            _panel(axes, task, methods, runs)
        panels[0].set_ylabel("best score so far")
        known = dict(zip(*reversed(_legend(panels)), strict=True))
        part.legend(known.values(), known, loc="outside lower center", ncols=8, frameon=False)
    figure.savefig(path)


def _legend(panels: Sequence[Any]) -> tuple[list[Any], list[str]]:
    pairs = [axes.get_legend_handles_labels() for axes in panels]
    return [h for handles, _ in pairs for h in handles], [n for _, names in pairs for n in names]


def _panel(axes: Any, task: str, methods: Sequence[str], runs: Sequence[Run]) -> None:
    for index, method in enumerate(methods):
        curves = [curve for t, m, curve in runs if (t, m) == (task, method)]
        if not curves:
            continue
        found, color = band(curves, "score"), COLORS[index % len(COLORS)]
        style = {"color": color, "ls": DASHES[index // len(COLORS)]}
        axes.plot(found.steps, found.middle, lw=1.6, label=method, **style)
        axes.fill_between(found.steps, found.low, found.high, color=color, alpha=0.15, lw=0)
    axes.axhline(100.0, ls="--", lw=1.0, color="0.5", label="baseline")
    axes.set(title=task, xlabel="environment steps simulated forward")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
