"""What `simenv dataset info` says of scores."""

from __future__ import annotations

import json

from agents import cli
from agents.datasets import normalized_score
from agents.datasets.names import METADATA, read_metadata, work
from agents.datasets.references import MEASURED
from agents.offline.reading import open_dataset, source_of
from tests.agents.datasets.line import LINE
from tests.agents.datasets.made import make


def test_an_expert_measured_later(fresh_root, capsys):
    """Training and `dataset info` find it as `normalized_score` does."""
    name = make("random", fresh_root)
    assert source_of(open_dataset(name)).reference is None
    random = read_metadata(name)["simenv"]["reference"]["random"]
    rows = json.loads((work() / MEASURED).read_text())
    rows[LINE]["expert"] = random + 10.0
    (work() / MEASURED).write_text(json.dumps(rows))
    assert source_of(open_dataset(name)).reference == (random, random + 10.0)
    mean = json.loads((fresh_root / name / METADATA).read_text())["simenv"]["statistics"]["return"]
    assert cli.main(["dataset", "info", name]) == 0
    shown = capsys.readouterr().out.split("normalised score")[1]
    assert f"mean: {normalized_score(name, mean['mean']):.6g}" in shown
