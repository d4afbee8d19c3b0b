"""What evaluations say: tables of scores, and what several runs of an algorithm add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from agents.statistics import (
    Estimate,
    estimate,
    iqm,
    optimality_gap,
    probability_of_improvement,
)
from simenv.listing import load_scores
from simenv.registry import TASKS

Row = dict[str, float]
RANDOM = "random"
"""Name of random actions in tables."""

COLUMNS = {
    "return_mean": ("return", ".2f"),
    "return_std": ("± std", ".2f"),
    "score": ("score", ".1f"),
    "success_rate": ("success", ".0%"),
    "length_mean": ("length", ".1f"),
    "cost_mean": ("cost", ".2f"),
    "cost_std": ("± std", ".2f"),
    "violation_rate": ("violations", ".0%"),
    "train_cost": ("training cost", ".0f"),
}
"""Heading and format of what a row may hold."""
AVERAGED = ("return_mean", "score", "success_rate", "cost_mean", "violation_rate", "train_cost")
"""What is averaged over runs."""


def cost_limit(config: Mapping[str, Any]) -> float | None:
    """The budget of an episode's cost in a run: its own, else that suggested for the id."""
    given = config.get("cost_limit")
    if given is not None:
        return float(given)
    spec = TASKS.get(config["id"])
    return spec.cost_limit if spec is not None and spec.variant == "safe" else None


def algorithm(config: Mapping[str, Any]) -> str:
    """What a run was made by: the command, and the method of a search."""
    return " ".join(filter(None, (config["command"], config.get("method"))))


def searched(config: Mapping[str, Any]) -> str | None:
    """What a search was for: a gait, a plan, … or a receding horizon; None where there was none."""
    if config["command"] != "optimise":
        return None
    steps = config.get("receding", 0)
    return f"receding {steps}" if steps else config.get("policy")


@dataclass(frozen=True)
class Entry:
    """One run's scores.

    Attributes:
        name: that tells it from the others.
        command: algorithm.
        id: of the environment.
        size: of the task, where it is one of simenv's.
        row: its scores.
        goal: the one that it was played with, in words; empty where the task drew them.
    """

    name: str
    command: str
    id: str
    size: str
    row: Row
    goal: str = ""

    @property
    def place(self) -> str:
        """The environment, with the goal if it is always the same."""
        return f"{self.id}, {self.goal}" if self.goal else self.id

    @property
    def normalised(self) -> float | None:
        """Return on the scale from random actions (0) to the task's baseline (1), where known."""
        spec = TASKS.get(self.id)
        if spec is None or spec.variant == "goal" or self.size != "small" or self.goal:
            return None
        known = load_scores().get(spec.family)
        if known is None:
            return None
        low, high = (known[name]["return_mean"] for name in ("random", "baseline"))
        return float((self.row["return_mean"] - low) / (high - low))


@dataclass(frozen=True)
class Report:
    """Scores of runs, and of random actions in their environments.

    Attributes:
        entries: one per run.
        randoms: scores of random actions by environment.
    """

    entries: list[Entry]
    randoms: dict[str, Row]

    @property
    def rows(self) -> dict[str, Row]:
        """Scores by the runs' names; of random actions by the environment, if there are several."""
        rows = {entry.name: entry.row for entry in self.entries}
        for task, row in self.randoms.items():
            rows[RANDOM if len(self.randoms) == 1 else f"{RANDOM}, {task}"] = row
        return rows

    @property
    def groups(self) -> dict[tuple[str, str], list[Entry]]:
        """Runs of the same algorithm and environment, where there are several."""
        found: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries:
            found.setdefault((entry.command, entry.place), []).append(entry)
        return {key: entries for key, entries in found.items() if len(entries) > 1}

    def __str__(self) -> str:
        parts = [table(self.rows), self._averages(), self._tasks(), self._comparisons()]
        return "\n\n".join(part for part in parts if part)

    def _averages(self) -> str:
        """Interquartile means over the runs of every group."""
        body = []
        for (command, place), entries in self.groups.items():
            cells = [f"{command}, {place}", str(len(entries))]
            for key in AVERAGED:
                scores = [entry.row[key] for entry in entries if key in entry.row]
                complete = len(scores) == len(entries)
                cells.append(_interval(_over([scores]), COLUMNS[key][1]) if complete else "")
            body.append(cells)
        headings = ["interquartile mean over runs", "runs", *(COLUMNS[key][0] for key in AVERAGED)]
        return aligned(headings, body) if body else ""

    def _tasks(self) -> str:
        """Normalised returns of algorithms that have several tasks, over runs and tasks."""
        body = []
        for command in dict.fromkeys(entry.command for entry in self.entries):
            tasks = self._normalised(command)
            if len(tasks) < 2:
                continue
            gap = estimate(optimality_gap, *(np.array(scores) for scores in tasks))
            cells = [f"{command}, {len(tasks)} tasks", str(sum(map(len, tasks)))]
            body.append([*cells, _interval(_over(tasks), ".2f"), _interval(gap, ".2f")])
        headings = ["random = 0, baseline = 1", "runs", "interquartile mean", "optimality gap"]
        return aligned(headings, body) if body else ""

    def _normalised(self, command: str) -> list[list[float]]:
        """Normalised returns of an algorithm's runs, task by task."""
        found: dict[str, list[float]] = {}
        for entry in self.entries:
            if entry.command == command and entry.normalised is not None:
                found.setdefault(entry.id, []).append(entry.normalised)
        return list(found.values())

    def _comparisons(self) -> str:
        """Probabilities that a run of one algorithm returns more than one of another."""
        lines = []
        for (first, ours), (second, theirs) in combinations(self.groups.items(), 2):
            if first[1] == second[1]:
                returns = (_returns(ours), _returns(theirs))
                found = _interval(estimate(probability_of_improvement, *returns), ".2f")
                lines.append(f"P({first[0]} returns more than {second[0]}) in {first[1]}: {found}")
        return "\n".join(lines)


def table(rows: dict[str, Row]) -> str:
    """Plain-text table of scores; columns that no row has are left out."""
    keys = [key for key in COLUMNS if any(key in row for row in rows.values())]
    body = [
        [name, *(format(row[key], COLUMNS[key][1]) if key in row else "" for key in keys)]
        for name, row in rows.items()
    ]
    return aligned(["controller", *(COLUMNS[key][0] for key in keys)], body)


def aligned(headings: list[str], body: list[list[str]]) -> str:
    """Columns of text, the first to the left and the others to the right; empty ones left out."""
    columns = [
        (heading, *cells)
        for heading, cells in zip(headings, zip(*body, strict=True), strict=True)
        if any(cells)
    ]
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
        for line in zip(*columns, strict=True)
    )


def _returns(entries: Iterable[Entry]) -> np.ndarray:
    return np.array([entry.row["return_mean"] for entry in entries])


def _over(tasks: list[list[float]]) -> Estimate:
    return estimate(iqm, *(np.array(scores) for scores in tasks))


def _interval(found: Estimate, style: str) -> str:
    return f"{found.value:{style}} [{found.low:{style}}, {found.high:{style}}]"
