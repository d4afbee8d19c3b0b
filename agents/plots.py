"""Learning curves as pictures."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.options import Plot
from agents.report import algorithm, cost_limit, searched
from agents.runs import Run
from agents.statistics import TRIMMED_FROM, estimate, iqm
from simenv.errors import ConfigurationError, RunError
from simenv.registry import TASKS

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette, told apart with every kind of colour vision."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)))
"""Line styles, the next whenever the colours are used up."""
USUAL = ("return_best", "return_mean", "return_so_far", "parameter_error")
"""What is drawn by itself: the first that all runs have. Where others are beside searches these
have the mean of what they try."""
COSTS = ("cost_mean", "train_cost")
"""What safe runs show beside the metric."""
SHARES = ("success_rate", "violation_rate")
LABELS = {
    "return_mean": "episode return",
    "return_best": "best episode return so far",
    "return_so_far": "return of the episode so far",
    "score": "normalised score",
    "success_rate": "success rate",
    "length_mean": "episode length [steps]",
    "cost_mean": "episode cost",
    "violation_rate": "episodes above the cost limit",
    "train_cost": "cost of the training so far",
    "train_return_mean": "episode return while training",
    "parameter_error": "largest relative error of a parameter",
}
MARKED = 10
"""Points from which on they are not marked one by one."""

Columns = dict[str, list[float]]


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


@dataclass(frozen=True)
class Band:
    """The average of several runs, and how sure it is.

    Attributes:
        steps: (S,).
        middle: (S,), interquartile mean over the runs.
        low: (S,), lower bound of its 95 % stratified-bootstrap interval.
        high: (S,), upper bound.
    """

    steps: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Group:
    """Runs of one algorithm in one environment, or from one dataset, or for one kind of policy.

    Attributes:
        name: algorithm, with policy, id and dataset where the groups differ in them.
        runs: metrics of each.
        limits: their cost limits.
        unit: what their steps count.
    """

    name: str
    runs: list[Columns]
    limits: set[float]
    unit: str = "environment steps"

    @property
    def label(self) -> str:
        """Name, kind of average and number of runs, for the legend."""
        count = len(self.runs)
        if count == 1:
            return f"{self.name} (1 run)"
        # Of so few runs the interquartile mean leaves none out: it is the mean, so it says so.
        return f"{self.name} ({'mean' if count < TRIMMED_FROM else 'IQM'} of {count} runs)"

    def has(self, metric: str) -> bool:
        """Whether all runs have a column."""
        return all(metric in columns for columns in self.runs)


# ------------------------------------------------------------------------------- curves


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Runs by algorithm, what they searched for, and environment, in the order given.

    Raises:
        RunError: no such run, or one without metrics against steps.
        ConfigurationError: their tasks differ by more than the variant.
    """
    configs = [run.config for run in runs]
    ids = list(dict.fromkeys(map(_place, configs)))
    datasets = {config.get("dataset") for config in configs}
    policies = set(map(searched, configs)) - {None}
    if len({_family(task_id) for task_id in ids}) > 1:
        raise ConfigurationError(
            f"runs of {', '.join(ids)} share no axis; plot one task at a time, with --out"
        )
    found: dict[str, Group] = {}
    for run, config in zip(runs, configs, strict=True):
        parts = [algorithm(config)]
        parts += [policy] if len(policies) > 1 and (policy := searched(config)) else []
        parts += [_place(config)] if len(ids) > 1 else []
        parts += [config["dataset"]] if len(datasets) > 1 and "dataset" in config else []
        name = ", ".join(parts)
        unit = "updates" if "dataset" in config else "environment steps"
        group = found.setdefault(name, Group(name, [], set(), unit))
        group.runs.append(_metrics(run))
        limit = cost_limit(config) if "cost_limit" in config else None
        if limit is not None:
            group.limits.add(limit)
    return list(found.values())


def _place(config: Mapping[str, Any]) -> str:
    """The environment of a run; without one, its dataset."""
    return str(config["id"] or config["dataset"])


def _family(task_id: str) -> str:
    return TASKS[task_id].family if task_id in TASKS else task_id


def _metrics(run: Run) -> Columns:
    columns = run.metrics()
    if not columns:
        raise RunError(f"{run.path} has no metrics yet; wait for its first evaluation")
    if "step" not in columns:
        raise RunError(
            f"{run.path} was made by {run.config['command']!r} and counts "
            f"{next(iter(columns))}s, not steps; it has no learning curve"
        )
    return columns


def usual_metric(groups: Sequence[Group]) -> str:
    """What is drawn of these runs by itself."""
    return next((name for name in USUAL if all(g.has(name) for g in groups)), "return_mean")


def require_metric(metric: str, groups: Sequence[Group]) -> None:
    """Raise ConfigurationError unless every run has a column for a metric."""
    for columns in (columns for group in groups for columns in group.runs):
        if metric not in columns or metric == "step":
            known = [name for name in columns if name != "step"]
            near = difflib.get_close_matches(metric, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {known}"
            raise ConfigurationError(f"no column {metric!r} in every metrics.csv; {hint}")


def band(runs: Sequence[Columns], metric: str) -> Band:
    """Average of a metric over runs, at all steps that any of them has within the range of all.

    Between its own steps a run counts with its linear interpolation.

    Raises:
        ConfigurationError: no step lies in the range of all runs, or one has no number at all.
    """
    series = [_series(columns, metric) for columns in runs]
    first, last = max(s[0] for s, _ in series), min(s[-1] for s, _ in series)
    steps = np.unique(np.concatenate([s for s, _ in series]))
    steps = steps[(steps >= first) & (steps <= last)]
    if steps.size == 0:
        raise ConfigurationError(
            f"the runs have no steps in common: some end at {last:g}, others start at {first:g}"
        )
    scores = np.stack([np.interp(steps, *pair) for pair in series])
    middle, low, high = np.array([estimate(iqm, column) for column in scores.T]).T
    return Band(steps, middle, low, high)


def _series(columns: Columns, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, ascending; where a step comes twice the later row counts."""
    # Before the first episode has ended there is no return of the training: its cell is NaN.
    rows = zip(columns["step"], columns[metric], strict=True)
    pairs = sorted({step: value for step, value in rows if np.isfinite(value)}.items())
    if not pairs:
        raise ConfigurationError(f"column {metric!r} of a run holds no number yet; choose another")
    steps, values = np.array(pairs).T
    return steps, values


# ------------------------------------------------------------------------------- pictures


def plot(options: Plot) -> Path:
    """Draw a metric of runs against steps or updates; safe runs get their costs beside it.

    Raises:
        RunError: no such run, or one without metrics.
        ConfigurationError: an unknown metric or file ending, or runs of different tasks.
    """
    runs = [Run(path) for path in dict.fromkeys(options.runs)]
    groups = group_runs(runs)
    chosen = options.metric or usual_metric(groups)
    require_metric(chosen, groups)
    costs = [name for name in COSTS if any(group.has(name) for group in groups)]
    panels = list(dict.fromkeys([chosen, *costs]))
    figure = _figure(len(panels))
    _check_ending(options.out, figure)
    for axes, metric in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, metric, groups, named=metric == chosen)
    ids = {_place(run.config) for run in runs}
    figure.suptitle(ids.pop() if len(ids) == 1 else _family(min(ids)), fontsize=11)
    shaded = any(len(group.runs) > 1 for group in groups)
    figure.legend(
        loc="outside lower center",
        ncols=_legend_columns(figure),
        frameon=False,
        fontsize=9,
        title="shaded: 95 % stratified-bootstrap interval" if shaded else None,
        title_fontproperties={"size": "small"},
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out)
    return options.out


def _draw(axes: Any, metric: str, groups: Sequence[Group], *, named: bool) -> None:
    """One panel; its lines stand in the legend if `named`."""
    for index, group in enumerate(groups):
        if not group.has(metric):
            continue
        found, color = band(group.runs, metric), COLORS[index % len(COLORS)]
        axes.plot(
            found.steps,
            found.middle,
            color=color,
            ls=DASHES[index // len(COLORS) % len(DASHES)],
            lw=1.8,
            marker="o" if len(found.steps) < MARKED else None,
            ms=3,
            label=group.label if named else None,
        )
        axes.fill_between(found.steps, found.low, found.high, color=color, alpha=0.18, lw=0)
    unit = " or ".join(dict.fromkeys(group.unit for group in groups))
    axes.set(ylabel=LABELS.get(metric, metric.replace("_", " ")), xlabel=unit)
    _style(axes)
    if metric == "cost_mean":
        for limit in sorted(set().union(*(group.limits for group in groups))):
            axes.axhline(limit, ls="--", color="0.3", lw=1.2, label=f"cost limit {limit:g}")
    if metric in COSTS:
        axes.set_ylim(bottom=0.0)
    if metric in SHARES:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def learning_curves(path: Path, curves: Sequence[Curve], *, baseline: float, title: str) -> None:
    """Draw curves over a dashed line for random actions, as PNG."""
    figure = _figure(1)
    axes = figure.add_subplot()
    for curve, color in zip(curves, COLORS, strict=False):
        axes.plot(curve.steps, curve.returns, "o-", ms=3, lw=1.8, color=color, label=curve.label)
    axes.axhline(baseline, ls="--", color="0.5", lw=1.2, label="random actions")
    axes.set(title=title, xlabel="simulated environment steps", ylabel="episode return")
    _style(axes)
    axes.legend(frameon=False)
    figure.savefig(path)


def _figure(panels: int) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    size = (7.0, 4.4) if panels == 1 else (4.4 * panels, 4.0)
    return Figure(figsize=size, dpi=120, layout=ConstrainedLayoutEngine(wspace=0.05))


def _legend_columns(figure: Any) -> int:
    """As many as fit side by side: letters of 0.07 inch, beside a sample of 8."""
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    width = 0.07 * (max(map(len, labels)) + 8)
    return max(1, min(len(labels), int(figure.get_figwidth() / width)))


def _check_ending(path: Path, figure: Any) -> None:
    known = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".") not in known:
        raise ConfigurationError(
            f"picture {path} must end in one of {', '.join(sorted(known))}, such as curves.png"
        )


def _style(axes: Any) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_thousands)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _thousands(value: float, position: int | None = None) -> str:
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{sign}".replace("-", "−")
    return f"{value:g}".replace("-", "−")
