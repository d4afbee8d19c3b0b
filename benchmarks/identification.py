"""Parameter error against simulator calls on the MaterialID problems, by gradients and by sampling.

    python -m benchmarks.identification [--materials Sand] [--methods adam lbfgs cmaes cbo]
                                         [--seeds 0 1] [--jobs 2] [--out FOLDER] [--dry-run]

Every method starts from a fifth of the truth, and once for each seed from values drawn between a
fifth of the truth and five times it, or the upper bound. Each job is a command of `simenv`, which
--dry-run prints; the same command goes on where it was stopped, a job that was broken off being
begun anew. Writes rows.csv (a line per run), table.md and curves.png into --out whenever a job is
done.

Simulator calls are environment steps: a trajectory has 50, and a gradient of it 50 more, which
backward simulates again (benchmarks/optimiser_study.py counts forward steps alone). A run is within
the goals from where on the best values seen stay within 10 % of the moduli, and 15 % of yield
stress and friction angle.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agents.plots import COLORS
from benchmarks import jobs
from benchmarks.comparison import head, line
from benchmarks.processes import add_options, command, write_results
from simenv.registry import PROBLEMS

METHODS = {
    "adam": ("--iterations", "60"),
    "lbfgs": ("--iterations", "60"),
    "cmaes": ("--iterations", "30", "--population", "8"),
    "cbo": ("--iterations", "15", "--population", "16"),
}
"""Gradient evaluations at most, or 240 trajectories: of eight particles CBO loses too many."""
MATERIALS = {spec.material: spec for spec in PROBLEMS.values()}
GOALS = {"E": 0.10, "bulk_modulus": 0.10, "yield_stress": 0.15, "friction_angle": 0.15}
"""Relative errors that are small enough."""
LEAST_SHOWN = 1e-4
"""Relative error at which figures and curves are cut off."""


@dataclass(frozen=True)
class Search(jobs.RunJob):
    """A search for a material's parameters.

    Attributes:
        material: of the problem.
        method: of the search.
        start: "below" or "random".
        seed: of the start and of the draws.
        out: folder of all runs.
    """

    material: str
    method: str
    start: str
    seed: int
    out: Path
    guess: float = 45.0

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.group}-{self.start}-seed{self.seed}"

    @property
    def group(self) -> str:
        """Searches that take equally long."""
        return f"{self.material}-{self.method}"

    def done(self) -> bool:
        """Whether it has written its result."""
        return (self.run.path / "result.json").is_file()

    def words(self) -> list[str]:
        """The command."""
        words = ["identify", MATERIALS[self.material].id, "--method", self.method]
        words += [*METHODS[self.method], "--segment", "10"]
        words += ["--start", self.start, "--seed", str(self.seed)]
        return [*words, "--out", str(self.run.path)]

    def row(self) -> dict[str, Any]:
        """What came of it."""
        found = self.run.metrics()
        names = MATERIALS[self.material].parameters
        return {
            "material": self.material,
            "method": self.method,
            "start": self.start,
            "seed": self.seed,
            **{key: int(found[key][-1]) for key in ("step", "trajectories", "gradients")},
            "skipped": int(found["skipped"][-1]),
            "error": found["best_error"][-1],
            "parameter_error": found["parameter_error"][-1],
            "errors": " ".join(f"{n}={found[f'{n}_error'][-1]:+.2e}" for n in names),
            "within_after": within_after(found, names),
            "seconds": self.seconds(),
        }


def within_after(found: Mapping[str, Sequence[float]], names: Sequence[str]) -> int | str:
    """Steps from where on all parameters stay within their goals; "" if they end outside."""
    within = [
        all(abs(found[f"{name}_error"][k]) <= GOALS[name] for name in names)
        for k in range(len(found["step"]))
    ]
    if not within[-1]:
        return ""
    outside = [k for k, inside in enumerate(within) if not inside]
    return int(found["step"][outside[-1] + 1 if outside else 0])


def plan(options: argparse.Namespace) -> list[Search]:
    """All searches; those from the standard start come first."""
    cases = [("below", 0), *(("random", seed) for seed in dict.fromkeys(options.seeds))]
    return [
        Search(material, method, start, seed, options.out)
        for start, seed in cases
        for material in dict.fromkeys(options.materials)
        for method in dict.fromkeys(options.methods)
    ]


# ------------------------------------------------------------------------------- results


def report(wanted: Sequence[Search], out: Path) -> list[dict[str, Any]]:
    """Write rows.csv, table.md and curves.png of the searches that are done; the rows."""
    done = [search for search in wanted if search.done()]
    rows = [search.row() for search in done]
    write_results(out, rows, table, partial(draw, done))
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: how many runs of a method end within the goals, after how many steps, how near.

    Errors are cut off below.
    """
    names = [
        "material",
        "method",
        "within the goals",
        "after steps",
        "largest error at the end [%]",
    ]
    lines = head(names)
    for material, method in dict.fromkeys((row["material"], row["method"]) for row in rows):
        mine = [r for r in rows if (r["material"], r["method"]) == (material, method)]
        steps = [row["within_after"] for row in mine if row["within_after"] != ""]
        errors = [100 * max(row["parameter_error"], LEAST_SHOWN) for row in mine]
        cells = [method, f"{len(steps)} of {len(mine)}", spread(steps, ",.0f")]
        lines.append(line(material, [*cells, spread(errors, ".2g")]))
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], shown: str) -> str:
    """Median and range."""
    if not values:
        return "–"
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:{shown}} ({least:{shown}} – {most:{shown}})"


def draw(done: Sequence[Search], path: Path) -> None:
    """A panel per material: every run as a thin line, medians of the methods as thick ones."""
    from matplotlib.figure import Figure

    materials = list(dict.fromkeys(search.material for search in done))
    columns = min(2, len(materials))
    rows = -(-len(materials) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.4 * rows), dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, material in zip(panels.flat, materials, strict=False):
        panel(axes, material, [search for search in done if search.material == material])
    for axes in panels.flat[len(materials) :]:
        axes.remove()
    figure.supxlabel("environment steps simulated, those of backward included")
    figure.supylabel("largest relative error of a parameter")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    figure.savefig(path)


def panel(axes: Any, material: str, done: Sequence[Search]) -> None:
    """Curves of a material's searches."""
    for method, color in zip(METHODS, COLORS, strict=False):
        curves = [curve(search.run.metrics()) for search in done if search.method == method]
        if not curves:
            continue
        ends = np.unique(np.concatenate([steps for steps, _ in curves]))
        # None before all have begun; a search that has ended stays where it is.
        ends = ends[ends >= max(steps[0] for steps, _ in curves)]
        held = [values[np.searchsorted(steps, ends, "right") - 1] for steps, values in curves]
        for values in held:
            axes.step(ends, values, where="post", color=color, lw=0.6, alpha=0.4)
        axes.step(ends, np.median(held, axis=0), where="post", color=color, lw=2.0, label=method)
    goal = min(GOALS[name] for name in MATERIALS[material].parameters)
    axes.axhline(goal, ls="--", color="0.4", lw=1.0, label=f"{goal:.0%}")
    axes.set(title=material, xscale="log", yscale="log")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def curve(found: Mapping[str, Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and largest relative errors, cut off below."""
    errors = np.maximum(found["parameter_error"], LEAST_SHOWN)
    return np.array(found["step"]), errors


# ------------------------------------------------------------------------------- the command


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--materials", nargs="+", choices=MATERIALS, default=list(MATERIALS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1], help="random starts")
    add_options(parser, "runs/identification")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Search and tabulate; the exit code (see `processes.command`)."""
    options = parse(words)
    searches = plan(options)
    if not options.dry_run:
        jobs.clear(searches)
        os.environ.setdefault("TQDM_DISABLE", "1")
    return command(options, searches, partial(report, searches, options.out))


if __name__ == "__main__":
    sys.exit(main())
