"""The table that `simenv list` prints. Imports neither torch nor Warp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simenv.registry import FAMILIES, PROBLEMS, TaskSpec

SCORES = Path(__file__).resolve().parents[1] / "assets" / "scores.json"
NUMBERS = ("action", "observation", "horizon")
SCORED = ("random", "baseline")
HEADERS = ("id", "variants", *NUMBERS, "size", "suite", "difficulty", *SCORED, "what is to be done")
RIGHT = {*NUMBERS, *SCORED}
PROBLEM_HEADERS = ("identification problem", "parameters", "what is to be found")


def load_scores() -> dict[str, Any]:
    """Scores of random actions and of the baseline by family; empty if none were measured."""
    return json.loads(SCORES.read_text()) if SCORES.is_file() else {}


def rows() -> list[dict[str, str]]:
    """One row per task, its variants in one of the columns."""
    scores = load_scores()
    return [_row(spec, scores.get(spec.family, {})) for spec in FAMILIES]


def _row(spec: TaskSpec, scores: dict[str, dict[str, float]]) -> dict[str, str]:
    variants = [v.variant.capitalize() for v in spec.variants() if v.variant]
    values = {name: str(getattr(spec, name)) for name in (*NUMBERS, "suite", "difficulty")}
    known = {
        name: f"{scores[name]['return_mean']:.1f}" if name in scores else "–" for name in SCORED
    }
    return {
        "id": spec.id,
        "variants": " ".join(variants) or "–",
        "size": "small full",
        **values,
        **known,
        "what is to be done": spec.summary,
    }


def problem_rows() -> list[dict[str, str]]:
    """One row per identification problem."""
    return [
        dict(zip(PROBLEM_HEADERS, (spec.id, " ".join(spec.parameters), spec.summary), strict=True))
        for spec in PROBLEMS.values()
    ]


def table() -> str:
    """Plain-text tables of the tasks and of the identification problems."""
    tasks = aligned(HEADERS, rows(), RIGHT)
    return f"{tasks}\n\n{aligned(PROBLEM_HEADERS, problem_rows(), set())}"


def aligned(headers: tuple[str, ...], body: list[dict[str, str]], right: set[str]) -> str:
    """A plain-text table; the columns in `right` are numbers."""
    lines = [dict(zip(headers, headers, strict=True)), *body]
    widths = {name: max(len(line[name]) for line in lines) for name in headers}
    return "\n".join(
        "  ".join(
            line[name].rjust(widths[name]) if name in right else line[name].ljust(widths[name])
            for name in headers
        ).rstrip()
        for line in lines
    )
