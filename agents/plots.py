"""Learning curves as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Curve:
    """Return against simulated environment steps.

    Attributes:
        label: name in the legend.
        steps: environment steps simulated so far.
        returns: episode return at those steps, same length.
    """

    label: str
    steps: Sequence[float]
    returns: Sequence[float]


def learning_curves(path: Path, curves: Sequence[Curve], *, baseline: float, title: str) -> None:
    """Draw curves over a dashed line for random actions, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for curve, color in zip(curves, ("#0072b2", "#d55e00", "#009e73"), strict=False):
        axes.plot(curve.steps, curve.returns, "o-", ms=3, lw=1.8, color=color, label=curve.label)
    axes.axhline(baseline, ls="--", color="0.5", lw=1.2, label="random actions")
    axes.set(title=title, xlabel="simulated environment steps", ylabel="episode return")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)
