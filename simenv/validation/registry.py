"""The table of validation cases. Imports neither torch nor Warp."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from simenv.errors import ConfigurationError


@dataclass(frozen=True)
class CaseSpec:
    """One case.

    Attributes:
        name: as on the command line.
        summary: what is measured, in a few words.
        slow: whether it is left out unless asked for.
    """

    name: str
    summary: str
    slow: bool = False

    @property
    def module(self) -> str:
        """Where its `run` lives."""
        return f"simenv.validation.cases.{self.name.replace('-', '_')}"


CASES: dict[str, CaseSpec] = {
    spec.name: spec
    for spec in (
        CaseSpec("free-fall", "closed form of symplectic Euler"),
        CaseSpec("conservation", "mass and momenta without walls"),
        CaseSpec("conservation-long", "momenta over 10,000 substeps", slow=True),
        CaseSpec("single-cell-bar", "period of a lone particle"),
        CaseSpec("bar", "first longitudinal mode"),
        CaseSpec("p-wave", "speed of a pressure wave"),
        CaseSpec("cantilever", "deflection and period of a beam"),
        CaseSpec("cantilever-cells", "deflection with finer cells", slow=True),
        CaseSpec("inclined-block", "sliding with friction"),
        CaseSpec("column", "stress under its own weight"),
        CaseSpec("hertz", "force of an elastic sphere on a plane"),
        CaseSpec("poiseuille", "viscous flow between plates"),
        CaseSpec("poiseuille-substep", "sticky walls and short substeps", slow=True),
        CaseSpec("bingham", "plug flow of a yield-stress fluid"),
        CaseSpec("dam-break", "collapse of a water column"),
        CaseSpec("sand-column", "run-out of a sand column"),
        CaseSpec("archimedes", "draught of a floating raft"),
        CaseSpec("stokes", "speed of a sphere sinking in a tube", slow=True),
        CaseSpec("exchange", "momentum of soft and rigid bodies"),
        CaseSpec("gradients", "each law and contact against central differences"),
    )
}


def find(name: str) -> CaseSpec:
    """The case of a name.

    Raises:
        ConfigurationError: no such case; the message suggests the nearest one.
    """
    if name in CASES:
        return CASES[name]
    near = difflib.get_close_matches(name, CASES, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(CASES)}"
    raise ConfigurationError(f"unknown case {name!r}; {hint}")


def select(names: Sequence[str], slow: bool) -> list[CaseSpec]:
    """The named cases; without names every quick one, and with `slow` every one."""
    if names:
        return [find(name) for name in dict.fromkeys(names)]
    return [spec for spec in CASES.values() if slow or not spec.slow]
