"""What a case returns: numbers beside their expectation, and curves to plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Style = Literal["measured", "expected", "control"]


@dataclass(frozen=True)
class Comparison:
    """A measured number and what theory or experiment says of it.

    Attributes:
        what: quantity, with its unit in square brackets.
        expected: its value according to the source.
        measured: its value in the simulation.
        tolerance: bound on `error`.
        reason: where the tolerance comes from.
        source: where the expectation comes from.
        control: whether this is a counter-example that must lie outside the tolerance.
    """

    what: str
    expected: float
    measured: float
    tolerance: float
    reason: str
    source: str
    control: bool = False

    @property
    def error(self) -> float:
        """Relative error; absolute where zero is expected."""
        return abs(self.measured - self.expected) / (abs(self.expected) or 1.0)

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance, of a control: beyond it. NaN fails both."""
        return self.error > self.tolerance if self.control else self.error <= self.tolerance


@dataclass(frozen=True)
class Curve:
    """Points (x, y) of a panel.

    Attributes:
        label: name in the legend; an empty one leaves it out.
        x: abscissae, any length.
        y: ordinates, same length.
        style: markers for what was measured, a line for what is expected, grey for a control.
        band: half-width of the tolerance band about an expected line, relative or, with
            `absolute`, in the units of y; 0 draws none.
        absolute: how `band` is meant.
    """

    label: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    style: Style
    band: float = 0.0
    absolute: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes: labels with units, curves, and whether the axes are logarithmic."""

    xlabel: str
    ylabel: str
    curves: Sequence[Curve]
    logarithmic: bool = False


@dataclass(frozen=True)
class Outcome:
    """Result of a case: its comparisons, and its picture under a title."""

    title: str
    comparisons: Sequence[Comparison]
    panels: Sequence[Panel]

    @property
    def passed(self) -> bool:
        """Whether every comparison holds."""
        return all(comparison.passed for comparison in self.comparisons)
