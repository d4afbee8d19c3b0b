"""Which returns the scores of a dataset stand on."""

from __future__ import annotations

import json

import pytest

from agents import cli
from agents.datasets import normalized_score
from agents.datasets.metadata import dataset_reference
from agents.datasets.names import METADATA, read_metadata, work
from agents.datasets.references import MEASURED
from agents.offline.reading import open_dataset, source_of
from tests.agents.datasets.line import LINE
from tests.agents.datasets.made import make

OWN = {"id": LINE, "size": "small"}
KEPT = {"random": 1.0, "expert": 11.0, "episodes": 5, "by": "somebody"}
SCALE = {"ref_min_score": 2.0, "ref_max_score": 12.0}


def measured(expert: float | None) -> None:
    """As if an expert had been measured here."""
    work().mkdir(parents=True, exist_ok=True)
    row = {"random": 0.0, "expert": expert, "episodes": 20, "by": "a test"}
    (work() / MEASURED).write_text(json.dumps({LINE: row}))


@pytest.mark.parametrize("flat", [None, 0.0, -5.0])
def test_the_order(fresh_root, flat):
    """What is known of the environment, what is kept, Minari's; what makes no scale is passed over.

    That is: no expert, one no better than chance, and one below it.
    """
    measured(flat)
    about = {"simenv": {**OWN, "reference": KEPT}, **SCALE}
    assert dataset_reference(about) == (1.0, 11.0)
    about["simenv"]["reference"] = {**KEPT, "expert": flat}
    assert dataset_reference(about) == (2.0, 12.0)
    assert dataset_reference({**about, **SCALE, "ref_max_score": flat}) is None
    measured(9.0)
    assert dataset_reference(about) == (0.0, 9.0)
    assert dataset_reference(SCALE) == (2.0, 12.0)
    assert dataset_reference({}) is None


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
