"""Tables that compare agents over datasets: robust means with intervals, held against BC's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agents.statistics import Estimate, estimate, iqm

BASELINE = "bc"
"""What the others are held against."""


class Cell(NamedTuple):
    """What an agent's runs on some datasets came to."""

    found: Estimate
    runs: int


def tables(rows: Sequence[Mapping[str, Any]], limits: Mapping[str, float | None]) -> str:
    """Markdown: scores of agents by datasets, costs where there are any, best evaluations.

    Args:
        rows: of runs: `agent`, `dataset`, `score`, `best`, and `cost`, "" where there is none.
        limits: of an episode's cost, by dataset.
    """
    lines = _scores(rows, "score")
    costly = _names([row for row in rows if row["cost"] != ""], "dataset")
    if costly:
        lines += ["", *head(["agent", *(_cost_head(data, limits.get(data)) for data in costly)])]
        for agent in _names(rows, "agent"):
            lines.append(line(agent, [_show(cell(rows, "cost", agent, [d])) for d in costly]))
    lines += ["", "Best evaluation of a run:", "", *_scores(rows, "best")]
    return "\n".join(lines) + "\n"


def _scores(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Agents by datasets, and over all of them, held against BC."""
    datasets = _names(rows, "dataset")
    columns = {data: [data] for data in datasets} | ({"all": datasets} if datasets[1:] else {})
    lines = head(["agent", *columns])
    bc = [cell(rows, key, BASELINE, part) for part in columns.values()]
    if any(bc):
        lines.append(line("BC's interval", [_interval(c.found) if c else "–" for c in bc]))
    for agent in _names(rows, "agent"):
        cells = [cell(rows, key, agent, part) for part in columns.values()]
        rivals = [None] * len(cells) if agent == BASELINE else bc
        lines.append(line(agent, [_show(c, b) for c, b in zip(cells, rivals, strict=True)]))
    return lines


def _names(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Values of a column, each once, in their order."""
    return list(dict.fromkeys(row[key] for row in rows))


def cell(
    rows: Sequence[Mapping[str, Any]], key: str, agent: str, datasets: Sequence[str]
) -> Cell | None:
    """Interquartile mean of an agent's runs; every dataset is a stratum of the bootstrap.

    None unless it has runs on all of them.
    """
    strata = [
        np.array([r[key] for r in rows if (r["agent"], r["dataset"]) == (agent, data)])
        for data in datasets
    ]
    if not all(len(scores) for scores in strata):
        return None
    return Cell(estimate(iqm, *strata), sum(map(len, strata)))


def verdict(value: float, bc: Estimate) -> str:
    """Whether a value lies above, below or within BC's interval: ↑, ↓ or =; "" if it is a point."""
    if bc.low == bc.high:
        return ""
    return "↑" if value > bc.high else "↓" if value < bc.low else "="


def _show(mine: Cell | None, bc: Cell | None = None) -> str:
    if mine is None:
        return "–"
    said = "" if bc is None else verdict(mine.found.value, bc.found)
    words = (_number(mine.found.value), _interval(mine.found), said, f"({mine.runs})")
    return " ".join(filter(None, words))


def _interval(found: Estimate) -> str:
    return f"[{_number(found.low)}, {_number(found.high)}]"


def _number(value: float) -> str:
    # Zero has no sign here.
    return f"{round(value, 1) + 0.0:.1f}"


def _cost_head(data: str, limit: float | None) -> str:
    return f"{data}: cost" + ("" if limit is None else f", limit {limit:g}")


def head(names: Sequence[str]) -> list[str]:
    """First two lines of a table in Markdown."""
    return [line(names[0], names[1:]), "|---" * len(names) + "|"]


def line(first: str, cells: Sequence[str]) -> str:
    """A line of a table in Markdown."""
    return "| " + " | ".join([first, *cells]) + " |"
