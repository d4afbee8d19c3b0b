"""The entries of assets/reference_scores.json, measured anew."""

from __future__ import annotations

import json

import pytest

from agents.datasets import known_reference, references
from agents.runs import Run
from benchmarks import reference_scores
from simenv.errors import DatasetError

WALKER = "simenv/SoftWalker2D-v0"
OTHER = {"random": 0.0, "expert": 1.0, "episodes": 100, "by": "somebody"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run on a task whose baseline is known; its agent returns 50, random actions 10."""
    monkeypatch.setattr(references, "COMMITTED", tmp_path / "scores.json")
    monkeypatch.setattr(references, "_measure_run", lambda *asked: 50.0)
    monkeypatch.setattr(references, "_measure", lambda *asked: 10.0)
    run = Run(tmp_path / "run")
    (run.path / "checkpoints" / "step-0000000008").mkdir(parents=True)
    run.write_json("checkpoints/step-0000000008/manifest.json", {})
    run.write_json("config.json", {"command": "sac", "seed": 3, "id": WALKER, "size": "small"})
    return run


def test_an_entry_is_written_and_counts(run):
    """Beside the others, for an id that has a baseline as well."""
    references.COMMITTED.write_text(json.dumps({"z": OTHER, WALKER: OTHER}))
    reference_scores.main([str(run.path)])
    rows = json.loads(references.COMMITTED.read_text())
    assert list(rows) == [WALKER, "z"]
    assert rows["z"] == OTHER
    by = "sac, step-0000000008, seed 3"
    assert rows[WALKER] == {"random": 10.0, "expert": 50.0, "episodes": 100, "by": by}
    assert known_reference(WALKER).expert == 50.0


def test_an_expert_no_better_than_chance_is_not_written(run, monkeypatch):
    """The file stays as it was: absent."""
    monkeypatch.setattr(references, "_measure_run", lambda *asked: 10.0)
    with pytest.raises(DatasetError, match="must return more"):
        reference_scores.main([str(run.path)])
    assert not references.COMMITTED.exists()
