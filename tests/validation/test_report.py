"""What surrounds the cases: comparisons, the table, the plots, the registry and the command."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
from pathlib import Path

import pytest
from PIL import Image

from agents import cli
from simenv.errors import ConfigurationError
from simenv.validation import registry, report, runner
from simenv.validation.outcome import Comparison, Curve, Outcome, Panel
from simenv.validation.plots import draw

DOCS = Path(__file__).resolve().parents[2] / "docs"
HELD = Comparison("length [m]", 2.0, 2.1, 0.06, "a reason", "a source")
MISSED = dataclasses.replace(HELD, measured=2.2)
PANEL = Panel(
    "time [s]",
    "length [m]",
    [
        Curve("theory", [0.0, 1.0], [1.0, 2.0], "expected", 0.06),
        Curve("run", [0.0, 1.0], [1.0, 2.1], "measured"),
        Curve("control", [0.0, 1.0], [3.0, 3.0], "control"),
    ],
)


def _outcome(*comparisons: Comparison) -> Outcome:
    return Outcome("A title", comparisons, [PANEL])


# ---------------------------------------------------------------------- comparisons


@pytest.mark.parametrize(
    ("measured", "expected", "error"), [(2.1, 2.0, 0.05), (-0.5, -1.0, 0.5), (-1e-3, 0.0, 1e-3)]
)
def test_error_is_relative_but_for_zero(measured, expected, error):
    """Relative to the expectation's size; absolute where zero is expected."""
    comparison = Comparison("", expected, measured, 0.1, "", "")
    assert comparison.error == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize(
    ("measured", "control", "passed"),
    [
        (2.1, False, True),
        (2.2, False, False),
        (2.1, True, False),
        (2.2, True, True),
        (math.nan, False, False),
        (math.nan, True, False),
    ],
)
def test_controls_must_lie_outside(measured, control, passed):
    """Within the tolerance passes, a control beyond it; what is no number never passes."""
    comparison = dataclasses.replace(HELD, measured=measured, control=control)
    assert comparison.passed is passed


# ---------------------------------------------------------------------- registry and docs


def test_every_case_has_a_module():
    """Each name stands for a module that is there, and no module goes unnamed."""
    folder = Path(registry.__file__).parent / "cases"
    modules = {path.stem.replace("_", "-") for path in folder.glob("[!_]*.py")}
    assert modules == set(registry.CASES)
    assert all(importlib.util.find_spec(spec.module) for spec in registry.CASES.values())


def test_docs_and_registry_name_the_same_cases():
    """The table of docs/validation.md has every case, and a section with its command and plot."""
    text = (DOCS / "validation.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| \[([a-z0-9-]+)\]\(#\1\)", text, re.MULTILINE)
    assert list(dict.fromkeys(table)) == list(registry.CASES)
    sections = dict(re.findall(r"^### ([a-z0-9-]+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    assert list(sections) == list(registry.CASES)
    for name, section in sections.items():
        assert f"`simenv validate {name}`" in section
        assert f"](images/validation/{name}.png)" in section
        assert (DOCS / "images" / "validation" / f"{name}.png").is_file()


def test_selection():
    """Named cases as they are named, once each; without names the quick ones, or all."""
    quick = [spec.name for spec in registry.select([], slow=False)]
    assert quick == [name for name, spec in registry.CASES.items() if not spec.slow]
    assert [spec.name for spec in registry.select([], slow=True)] == list(registry.CASES)
    named = registry.select(["stokes", "bar", "stokes"], slow=False)
    assert [spec.name for spec in named] == ["stokes", "bar"]


@pytest.mark.parametrize(
    ("name", "words"), [("hertzz", "did you mean 'hertz'"), ("q", "choose from free-fall")]
)
def test_unknown_case(name, words):
    """A case that does not exist is refused with the nearest one, or all of them."""
    with pytest.raises(ConfigurationError, match=words):
        registry.find(name)


# ---------------------------------------------------------------------- table and plots


def test_table_in_markdown():
    """A row per comparison: relative errors in per cent, absolute ones as powers of ten."""
    zero = Comparison("drift", 0.0, 2e-7, 1e-6, "", "theory")
    control = dataclasses.replace(MISSED, control=True)
    rows = report.markdown({"case": _outcome(HELD, zero, control)}).splitlines()
    assert rows[0] == "| case | quantity | expected | measured | error | tolerance | source |"
    assert rows[2] == "| [case](#case) | length [m] | 2 | 2.1 | 5.00% | 6.00% | a source |"
    assert rows[3] == "| [case](#case) | drift | 0 | 2.0e-07 |  | 1.0e-06 | theory |"
    assert "control: > 6.00%" in rows[4]


def test_verdict_names_what_failed():
    """One line with the count of what holds and the cases that do not."""
    outcomes = {"good": _outcome(HELD, HELD), "bad": _outcome(HELD, MISSED)}
    assert report.verdict(outcomes) == "3 of 4 comparisons hold; out of tolerance: bad"
    assert report.verdict({"good": _outcome(HELD)}) == "1 of 1 comparisons hold"


def test_reasons_are_given_once():
    """Comparisons that share tolerance and reason share a line."""
    zero = Comparison("drift", 0.0, 2e-7, 1e-6, "rounding", "theory")
    lines = report.reasons({"case": _outcome(HELD, MISSED, zero)})
    assert lines == ["case: 6.00%, a reason", "case: 1.0e-06, rounding"]


@pytest.mark.parametrize("panels", [1, 2])
def test_plot(tmp_path, panels):
    """A PNG as wide as its panels, not blank, in a folder made for it."""
    path = tmp_path / "new" / "plot.png"
    draw(path, Outcome("A title", [], [PANEL] * panels))
    with Image.open(path) as picture:
        assert picture.width == pytest.approx(panels * 5.6 * 120, abs=1)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


# ---------------------------------------------------------------------- command


@pytest.mark.parametrize(("comparison", "code"), [(HELD, 0), (MISSED, 1)])
def test_command(tmp_path, monkeypatch, capsys, comparison, code):
    """The exit code is 1 if a figure is out of tolerance; table and plot are written."""
    monkeypatch.setattr(runner, "run_case", lambda spec: _outcome(comparison))
    table = tmp_path / "table.md"
    line = ["validate", "bar", "--plots", str(tmp_path), "--table", str(table)]
    assert cli.main(line) == code
    printed = capsys.readouterr().out
    assert f"{1 - code} of 1 comparisons hold" in printed
    assert "length [m]" in printed
    assert "bar: 6.00%, a reason" in printed
    assert (tmp_path / "bar.png").is_file()
    assert table.read_text(encoding="utf-8").count("[bar](#bar)") == 1


def test_command_answers_a_wrong_name(capsys):
    """An unknown case ends with code 2 and the nearest name."""
    assert cli.main(["validate", "cantilver"]) == 2
    assert "did you mean 'cantilever'?" in capsys.readouterr().err


def test_command_runs_a_case(capsys):
    """A real case from the command line."""
    assert cli.main(["validate", "single-cell-bar"]) == 0
    assert "3 of 3 comparisons hold" in capsys.readouterr().out
