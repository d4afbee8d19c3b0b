"""Tables of comparisons, for the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.markup import escape
from rich.table import Table

from simenv.validation.outcome import Comparison, Outcome

HEADINGS = ("case", "quantity", "expected", "measured", "error", "tolerance", "source")

Outcomes = Mapping[str, Outcome]


def rich_table(outcomes: Outcomes) -> Table:
    """The table as the terminal shows it, one section per case."""
    table = Table(pad_edge=False)
    for heading in (*HEADINGS[:-1], ""):
        numeric = heading in ("expected", "measured", "error", "tolerance")
        wraps = heading == "quantity"
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=not wraps)
    for name, outcome in outcomes.items():
        for i, comparison in enumerate(outcome.comparisons):
            mark = "[green]✓[/]" if comparison.passed else "[red]✗[/]"
            figures = [escape(cell) for cell in cells(comparison)[:-1]]
            table.add_row("" if i else name, *figures, mark)
        table.add_section()
    return table


def verdict(outcomes: Outcomes) -> str:
    """One line: how many comparisons hold, and which cases have one that does not."""
    rows = list(_rows(outcomes))
    failed = list(dict.fromkeys(name for name, comparison in rows if not comparison.passed))
    held = sum(comparison.passed for _, comparison in rows)
    which = f"; out of tolerance: {', '.join(failed)}" if failed else ""
    return f"{held} of {len(rows)} comparisons hold{which}"


def reasons(outcomes: Outcomes) -> list[str]:
    """Where each case's tolerances come from, one line for each reason."""
    lines = (f"{name}: {_bound(c)}, {c.reason}" for name, c in _rows(outcomes))
    return list(dict.fromkeys(lines))


def markdown(outcomes: Outcomes) -> str:
    """The table for `docs/validation.md`."""
    lines = [HEADINGS, ("---",) * len(HEADINGS)]
    for name, comparison in _rows(outcomes):
        escaped = (cell.replace("|", "\\|") for cell in cells(comparison))
        lines.append((f"[{name}](#{name})", *escaped))
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def cells(comparison: Comparison) -> tuple[str, ...]:
    """A comparison in words and figures, from the quantity to the source."""
    if comparison.expected == 0.0:
        numbers = "0", f"{comparison.measured:.1e}", ""
    else:
        values = number(comparison.expected), number(comparison.measured)
        numbers = (*values, share(comparison.error))
    bound = f"control: > {_bound(comparison)}" if comparison.control else _bound(comparison)
    return comparison.what, *numbers, bound, comparison.source


def _bound(comparison: Comparison) -> str:
    tolerance = comparison.tolerance
    return f"{tolerance:.1e}" if comparison.expected == 0.0 else share(tolerance)


def number(value: float) -> str:
    """Six significant digits, thousands separated."""
    return f"{value:,.6g}"


def share(value: float) -> str:
    """A relative error: in per cent, or as a power of ten where it is tiny."""
    return f"{value:.2%}" if value >= 1e-4 else f"{value:.1e}"


def _rows(outcomes: Outcomes) -> Iterator[tuple[str, Comparison]]:
    for name, outcome in outcomes.items():
        for comparison in outcome.comparisons:
            yield name, comparison
