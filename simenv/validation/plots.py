"""Pictures of the cases: measured markers, the expected line and its tolerance band."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from simenv.validation.outcome import Curve, Outcome, Panel

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f00")
MARKERS = "osD^v<>ph*"
SIZE = 5.6, 3.9
"""Inches of one panel."""
MOST_MARKERS = 40
"""Of a curve with more points only every so many-th is marked."""

COLUMNS, ROW = 2, 0.18
"""Columns of a legend, and the height [inches] of its rows."""


def draw(path: Path, outcome: Outcome) -> None:
    """Draw an outcome as PNG; makes the folder."""
    from matplotlib.figure import Figure

    count = len(outcome.panels)
    rows = max(math.ceil((len(panel.curves) + 1) / COLUMNS) for panel in outcome.panels)
    size = SIZE[0] * count, SIZE[1] + ROW * rows
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    for axes, panel in zip(
        figure.subplots(1, count, squeeze=False)[0], outcome.panels, strict=True
    ):
        _panel(axes, panel)
    figure.suptitle(outcome.title, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _panel(axes: Any, panel: Panel) -> None:
    seen = {"measured": 0, "expected": 0, "control": 0}
    for curve in panel.curves:
        _CURVES[curve.style](axes, curve, seen[curve.style])
        seen[curve.style] += 1
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    if panel.logarithmic:
        axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # Below the axes, where it covers nothing.
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=COLUMNS, fontsize=8, frameon=False
    )


def _measured(axes: Any, curve: Curve, index: int) -> None:
    every = max(1, len(curve.x) // MOST_MARKERS)
    style = MARKERS[index % len(MARKERS)]
    axes.plot(
        curve.x, curve.y, style, ms=4, mfc="none", markevery=every, label=curve.label or None,
        color=COLORS[index % len(COLORS)], zorder=3,
    )  # fmt: skip


def _expected(axes: Any, curve: Curve, index: int) -> None:
    style = ("-", "--", ":", "-.")[index % 4]
    axes.plot(curve.x, curve.y, style, lw=1.4, color="0.15", label=curve.label or None, zorder=2)
    if curve.band:
        y = np.asarray(curve.y)
        half = curve.band if curve.absolute else curve.band * np.abs(y)
        percent = f"±{curve.band:g}" if curve.absolute else f"±{curve.band:.0%}"
        label = percent if index == 0 else None
        axes.fill_between(curve.x, y - half, y + half, color="0.5", alpha=0.2, lw=0, label=label)


def _control(axes: Any, curve: Curve, index: int) -> None:
    axes.plot(curve.x, curve.y, "x", ms=4, color="0.55", label=curve.label or None, zorder=3)


_CURVES = {"measured": _measured, "expected": _expected, "control": _control}
