"""Learning curves: what is averaged over which runs, what is drawn, and how mistakes are met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from agents import plots
from agents.options import Plot
from agents.plots import Curve, Group, band, group_runs, learning_curves, plot, usual_metric
from agents.runs import Run
from agents.statistics import estimate, iqm
from simenv.errors import ConfigurationError, RunError
from simenv.registry import TASKS

WALKER, SAFE = "simenv/SoftWalker2D-v0", "simenv/SoftWalker2D-Safe-v0"


@pytest.fixture
def make(tmp_path):
    """Writes a run with a row per step; its return is the step plus an offset."""

    def write(
        name: str, offset: float = 0.0, steps=(0, 100, 200), costs: bool = False, **config: Any
    ) -> Path:
        run = Run(tmp_path / name)
        run.path.mkdir()
        run.write_json("config.json", {"command": "sac", "id": WALKER, **config})
        rows = []
        for step in steps:
            row = {"step": step, "return_mean": step + offset, "success_rate": 0.5}
            if costs:
                row |= {"cost_mean": 30.0 + offset, "train_cost": 2.0 * step}
            rows.append(row)
        run.write_metrics(rows)
        return run.path

    return write


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, which stay open to be looked at."""
    saved, save = [], Figure.savefig

    def keep(figure, *arguments, **options):
        saved.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def columns(steps, values) -> dict[str, list[float]]:
    """Metrics with one column beside the steps."""
    return {"step": list(steps), "return_mean": list(values)}


def names(figure: Figure) -> list[str]:
    """What the legend below the figure says."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


# ------------------------------------------------------------------------------- averages


def test_runs_with_other_steps_meet_on_their_union():
    """Between its own steps a run counts with the line between them, outside not at all."""
    runs = [
        columns([0, 10, 30], [0.0, 10.0, 30.0]),
        columns([10, 20, 40], [110.0, 120.0, 140.0]),
    ]
    found = band(runs, "return_mean")
    assert found.steps.tolist() == [10, 20, 30]
    assert found.middle.tolist() == [60.0, 70.0, 80.0]
    assert found.low.tolist() == [10.0, 20.0, 30.0]
    assert found.high.tolist() == [110.0, 120.0, 130.0]


def test_band_is_the_interquartile_mean_with_its_interval():
    """Every step has the statistic of the runs' values there."""
    values = np.random.default_rng(0).normal(size=(5, 3))
    found = band([columns([0, 1, 2], row) for row in values], "return_mean")
    for index in range(3):
        at_step = (found.middle[index], found.low[index], found.high[index])
        assert at_step == estimate(iqm, values[:, index])


def test_cells_without_a_number_are_left_out():
    """NaN before the first episode does not count; of a step written twice the later row does."""
    run = columns([0, 10, 20, 10], [np.nan, 1.0, 2.0, 5.0])
    found = band([run], "return_mean")
    assert found.steps.tolist() == [10, 20]
    assert found.middle.tolist() == [5.0, 2.0]
    with pytest.raises(ConfigurationError, match="'return_mean' of a run holds no number"):
        band([columns([0], [np.nan])], "return_mean")


def test_runs_without_common_steps_are_refused():
    """A run that ended before another began cannot be averaged with it."""
    runs = [columns([0, 10], [0.0, 1.0]), columns([20, 30], [0.0, 1.0])]
    with pytest.raises(ConfigurationError, match="some end at 10, others start at 20"):
        band(runs, "return_mean")


def test_groups(make):
    """Runs are grouped by command, and by id where ids differ, in the order given."""
    paths = [make("a"), make("b", command="flac"), make("c"), make("d")]
    groups = group_runs([Run(path) for path in paths])
    assert [group.label for group in groups] == ["sac (mean of 3 runs)", "flac (1 run)"]
    paths += [make("e"), make("f", id=SAFE, cost_limit=20.0)]
    groups = group_runs([Run(path) for path in paths])
    assert [group.label for group in groups] == [
        f"sac, {WALKER} (IQM of 4 runs)",
        f"flac, {WALKER} (1 run)",
        f"sac, {SAFE} (1 run)",
    ]
    assert [group.limits for group in groups] == [set(), set(), {20.0}]


def test_searches_are_told_apart_by_what_they_search_for(make):
    """A gait, a plan and a receding horizon share no curve; of one kind it need not be said."""
    search = {"command": "optimise", "method": "icem"}
    gaits = [make(name, policy="gait", receding=0, **search) for name in "ab"]
    groups = group_runs([Run(path) for path in gaits])
    assert [group.label for group in groups] == ["optimise icem (mean of 2 runs)"]
    others = [make("c", policy="plan", receding=0, **search)]
    others += [make(name, policy="plan", receding=int(name), **search) for name in ("8", "20")]
    groups = group_runs([Run(path) for path in (*gaits, *others, make("d"))])
    assert [group.label for group in groups] == [
        "optimise icem, gait (mean of 2 runs)",
        "optimise icem, plan (1 run)",
        "optimise icem, receding 8 (1 run)",
        "optimise icem, receding 20 (1 run)",
        "sac (1 run)",
    ]


# ------------------------------------------------------------------------------- pictures


def test_plot(make, drawn, tmp_path):
    """One panel with a line per algorithm through its average, written to a new folder."""
    paths = (make("a"), make("b", offset=100.0), make("c", offset=7.0, command="flac"))
    out = plot(Plot(paths, out=tmp_path / "deep" / "curves.png"))
    with Image.open(out) as picture:
        assert picture.format == "PNG"
    (axes,) = drawn[0].axes
    assert names(drawn[0]) == ["sac (mean of 2 runs)", "flac (1 run)"]
    assert drawn[0].get_suptitle() == WALKER
    assert axes.get_ylabel() == "episode return"
    lines = [line.get_ydata().tolist() for line in axes.lines]
    assert lines == [[50.0, 150.0, 250.0], [7.0, 107.0, 207.0]]
    assert len({line.get_color() for line in axes.lines}) == 2
    shaded = [collection.get_paths()[0].get_extents() for collection in axes.collections]
    assert [(box.ymin, box.ymax) for box in shaded] == [(0.0, 300.0), (7.0, 207.0)]


def test_safe_runs_have_three_panels(make, drawn, tmp_path):
    """Costs stand beside the metric with the limit; runs without costs are in the first only."""
    safe = {"costs": True, "id": SAFE}
    paths = (make("a"), make("b", command="cal", cost_limit=20.0, **safe), make("c", **safe))
    plot(Plot(paths, out=tmp_path / "curves.pdf"))
    returns, costs, training = drawn[0].axes
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert names(drawn[0])[-1] == "cost limit 20"
    assert len(names(drawn[0])) == 4
    assert [len(axes.lines) for axes in (returns, costs, training)] == [3, 3, 2]
    # An algorithm keeps its colour in every panel.
    colors = [[line.get_color() for line in axes.lines] for axes in drawn[0].axes]
    assert colors[0][1:] == colors[1][:2] == colors[2]
    limit = costs.lines[-1]
    assert set(limit.get_ydata()) == {20.0}
    assert limit.get_linestyle() == "--"
    assert training.lines[0].get_ydata().tolist() == [0.0, 200.0, 400.0]
    # Costs are seen against no cost at all.
    assert costs.get_ylim()[0] == training.get_ylim()[0] == 0.0
    assert drawn[0].get_suptitle() == "SoftWalker2D"


def test_limits_are_those_of_agents_that_have_one(make, drawn, tmp_path):
    """A budget left open is the suggested one; an agent without budget draws no line."""
    safe = {"costs": True, "id": SAFE}
    plot(Plot((make("a", **safe),), out=tmp_path / "curves.png"))
    plot(Plot((make("b", cost_limit=None, **safe),), out=tmp_path / "curves.png"))
    assert names(drawn[0]) == ["sac (1 run)"]
    assert names(drawn[1]) == ["sac (1 run)", f"cost limit {TASKS[SAFE].cost_limit:g}"]


def test_a_cost_as_metric_is_drawn_once(make, drawn, tmp_path):
    """With --metric cost_mean the first panel is the cost, and none repeats it."""
    path = make("a", costs=True, id=SAFE, cost_limit=20.0)
    plot(Plot((path,), metric="cost_mean", out=tmp_path / "curves.png"))
    labels = [axes.get_ylabel() for axes in drawn[0].axes]
    assert labels == ["episode cost", "cost of the training so far"]
    assert names(drawn[0]) == ["sac (1 run)", "cost limit 20"]


def test_shares_are_percentages(make, drawn, tmp_path):
    """A rate is drawn against all of its range, in per cent."""
    plot(Plot((make("a"),), metric="success_rate", out=tmp_path / "curves.png"))
    (axes,) = drawn[0].axes
    low, high = axes.get_ylim()
    assert low < 0.0 < 1.0 < high
    assert axes.yaxis.get_major_formatter()(0.5) == "50%"


def test_the_same_run_counts_once(make, drawn, tmp_path):
    """A run that is named twice is no second run."""
    path = make("a")
    plot(Plot((path, path), out=tmp_path / "curves.png"))
    assert names(drawn[0]) == ["sac (1 run)"]


def test_many_algorithms_stay_apart(make, drawn, tmp_path):
    """More algorithms than colours differ in their dashes."""
    count = len(plots.COLORS) + 2
    paths = tuple(make(f"run{i}", command=f"algorithm{i}") for i in range(count))
    plot(Plot(paths, out=tmp_path / "curves.png"))
    styles = {(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].lines}
    assert len(styles) == count


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (50.0, "50"), (2500.0, "2.5k"), (-2e3, "−2k"), (-0.5, "−0.5"), (1e6, "1M")],
)
def test_thousands(value, text):
    """Steps are written short."""
    assert plots._thousands(value) == text


def test_learning_curves(drawn, tmp_path):
    """Every curve and the baseline are in the picture and in its legend."""
    curves = [Curve("a", [0, 1], [2.0, 3.0]), Curve("b", [0, 1], [4.0, 5.0])]
    learning_curves(tmp_path / "curves.png", curves, baseline=1.0, title="task")
    (axes,) = drawn[0].axes
    assert [line.get_ydata()[0] for line in axes.lines] == [2.0, 4.0, 1.0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["a", "b", "random actions"]


# ------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metric": "retrun_mean"}, "'retrun_mean' .* did you mean return_mean"),
        ({"metric": "zzz"}, r"choose from \['return_mean', 'success_rate'\]"),
        ({"metric": "step"}, "no column 'step'"),
        ({"metric": "cost_mean"}, "no column 'cost_mean'"),
        ({"out": Path("curves.txt")}, r"curves.txt must end in one of .*png"),
        ({"out": Path("curves")}, "curves must end in one of"),
    ],
)
def test_options_are_checked(make, monkeypatch, tmp_path, options, words):
    """A metric or an ending that there is not is answered with those that there are."""
    paths = make("a"), make("b", costs=True)
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.iterdir()}
    with pytest.raises(ConfigurationError, match=words):
        plot(Plot(paths, **options))
    assert {*tmp_path.iterdir()} == before


def test_different_tasks_are_refused(make):
    """Returns of different tasks share no axis; those of its variants do."""
    paths = make("a"), make("b", id="Pendulum-v1")
    with pytest.raises(ConfigurationError, match=f"runs of {WALKER}, Pendulum-v1 share no axis"):
        plot(Plot(paths))


def test_what_is_drawn_by_itself():
    """The best of searches, evaluations of agents, and of several kinds what they share."""
    search, agent = {"return_mean": [1.0], "return_best": [2.0]}, {"return_mean": [1.0]}
    for runs, wanted in (
        ([search], "return_best"),
        ([agent], "return_mean"),
        ([search, agent], "return_mean"),
        ([{"parameter_error": [1.0]}], "parameter_error"),
        ([{"return_so_far": [1.0]}], "return_so_far"),
        ([{"other": [1.0]}], "return_mean"),
    ):
        groups = [Group("", [columns], set()) for columns in runs]
        assert usual_metric(groups) == wanted


def test_runs_without_curves_are_named(make, tmp_path):
    """No run, no metrics yet, or none against steps: each says so, with the folder."""
    with pytest.raises(RunError, match="nowhere is no run folder"):
        plot(Plot((tmp_path / "nowhere",)))
    fresh = make("fresh")
    (fresh / "metrics.csv").write_text("step,return_mean\n")
    with pytest.raises(RunError, match="fresh has no metrics yet"):
        plot(Plot((fresh,)))
    (fresh / "metrics.csv").unlink()
    with pytest.raises(RunError, match=r"fresh has no metrics\.csv"):
        plot(Plot((fresh,)))
    (fresh / "config.json").write_text(json.dumps({"command": "optimise", "id": WALKER}))
    (fresh / "metrics.csv").write_text("iteration,return_best\n0,1.0\n")
    with pytest.raises(RunError, match="'optimise' and counts iterations, not steps"):
        plot(Plot((fresh,)))
