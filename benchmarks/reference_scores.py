"""Measure what normalised scores of 0 and 100 stand for, into assets/reference_scores.json.

    python -m benchmarks.reference_scores RUN… [--device cpu]

For the environment of each run of `simenv train`: the mean return of its agent, acting
deterministically, and of random actions, 100 episodes each on fixed seeds. `simenv dataset make`
measures the same, but only where nothing is known; this measures in any case, and replaces the
entry of the environment. A -Safe id needs an entry of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agents.datasets import references
from agents.files import write_text
from agents.runs import Run
from agents.training import one_thread


def add(run: Run, file: Path, device: str) -> dict[str, object]:
    """Measure the expert of a run, and write the entry of its environment; the entry.

    Raises:
        RunError: no such run, or not one of `simenv train`.
        DatasetError: the expert is no better than random actions; the file stays as it is.
    """
    task_id, size = run.config["id"], run.config.get("size") or "small"
    row = asdict(references.measure(run, task_id, size, device))
    del row["run"]  # nobody who reads the file has it
    rows = json.loads(file.read_text()) if file.is_file() else {}
    rows[references.environment_key(task_id, size)] = row
    write_text(file, json.dumps(dict(sorted(rows.items())), indent=1) + "\n")
    return row


def main(words: Sequence[str] | None = None) -> None:
    """Measure the runs one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(words)
    for path in options.runs:
        with one_thread():
            row = add(Run(path), references.COMMITTED, options.device)
        print(f"{Run(path).config['id']}: {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
