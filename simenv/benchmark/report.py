"""Tables in Markdown, and the record in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simenv.benchmark.rounds import Spread, spread
from simenv.benchmark.targets import Target, targets

Results = Mapping[str, Any]
MILLION = 1e6
RATES = ("forward", "backward", "forward and backward")


def render(results: Results) -> str:
    """All tables of a run."""
    parts = [
        machine_line(results["machine"], results["comparison"]["versions"]),
        "## Targets",
        targets_table(targets(results)),
        *_comparison(results["comparison"]),
        *_scaling(results),
    ]
    return "\n\n".join(parts) + "\n"


def write(out: Path, results: Results, text: str) -> list[Path]:
    """Write `results.json` and `table.md` to a folder; returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    record, table_file = out / "results.json", out / "table.md"
    record.write_text(json.dumps(plain(results), indent=1) + "\n", encoding="utf-8")
    table_file.write_text(text, encoding="utf-8")
    return [record, table_file]


def plain(value: Any) -> Any:
    """Spreads as objects with names, everything else as it is."""
    if isinstance(value, Spread):
        return value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table: the first column to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (headings, rule, *rows))


def number(value: float) -> str:
    """Three significant digits without an exponent, thousands separated."""
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def figure(value: Spread | None, unit: float = 1.0) -> str:
    """Median with the range in brackets; a dash where there is none."""
    if value is None:
        return "–"
    median, low, high = (number(v / unit) for v in value)
    return median if low == high else f"{median} ({low}–{high})"


def machine_line(machine: Results, others: Results) -> str:
    """Processor and versions in a sentence."""
    packages = ("simenv", "warp-lang", "torch", "numpy", "gymnasium")
    versions = ", ".join(f"{name} {machine[name]}" for name in packages)
    rivals = "".join(f", {name} {version}" for name, version in others.items())
    return (
        f"{machine['processor']}, {machine['cpus']} CPUs, {machine['system']}; "
        f"Python {machine['python']}, {versions}{rivals}."
    )


def targets_table(found: Sequence[Target]) -> str:
    """Aim, measured, held."""
    rows = [
        (t.name, f"{'≥' if t.least else '≤'} {number(t.bound)}", figure(t.measured), t.verdict)
        for t in found
    ]
    return table(("target", "bound", "measured", "holds"), rows)


def _comparison(comparison: Results) -> list[str]:
    rounds = comparison["rounds"]
    cases = sorted(rounds[0], key=lambda name: (name.rsplit(", ", 1)[1], name))
    rates = [(name, figure(spread(rounds, name), MILLION)) for name in cases]
    agree = [(name, number(value)) for name, value in comparison["agreement"].items()]
    parts = [
        f"## Comparison: a cube of {comparison['particles']:,} particles, 32³ cells, float32",
        table(("case", "million particle-substeps/s"), rates),
    ]
    if agree:
        parts.append(table(("difference from simenv", "largest"), agree))
    parts.append(table(("memory", "bytes per particle and substep"), _memory(comparison)))
    return [*parts, *comparison["skipped"]]


def _memory(comparison: Results) -> list[tuple[str, str]]:
    rows = [
        ("simenv, kept states", number(comparison["kept_bytes"])),
        ("simenv, all buffers", number(comparison["allocated_bytes"])),
    ]
    if comparison["taped_bytes"] is not None:
        rows.append(("taped Warp, particles and grids", number(comparison["taped_bytes"])))
    return rows


def _scaling(results: Results) -> list[str]:
    walker = results["environments"][0]["particles"]
    parts = [
        f"## Environments: SoftWalker2D ({walker} particles each), environment steps/s",
        table(
            ("environments", "vector environment", "simulator alone"),
            [
                (str(row["envs"]), figure(row["vector"]), figure(row["simulator"]))
                for row in results["environments"]
            ],
        ),
    ]
    if "particles" in results:
        parts += [
            "## Particles: one cube in 3-D, 8 per cell, 1 thread, million particle-substeps/s",
            rates_table(("particles",), results["particles"]),
        ]
    if "variants" in results:
        parts += [
            "## Dimension, number format, threads: million particle-substeps/s",
            rates_table(("dim", "dtype", "envs", "threads"), results["variants"]),
        ]
    return parts


def rates_table(columns: Sequence[str], rows: Sequence[Results]) -> str:
    """Rows of rates and memory, headed by the columns that tell them apart."""
    memory = ("kept B", "all B")
    body = [
        [
            *(f"{row[c]:,}" if isinstance(row[c], int) else str(row[c]) for c in columns),
            *(figure(row[rate], MILLION) for rate in ("forward", "backward", "both")),
            *(number(row[size]) for size in ("kept_bytes", "allocated_bytes")),
        ]
        for row in rows
    ]
    return table((*columns, *RATES, *memory), body)
