"""Normalised scores, and the returns behind them."""

from __future__ import annotations

import json

import gymnasium
import minari
import numpy as np
import pytest

from agents.datasets import known_reference, making, normalized_score, references
from agents.datasets.names import dataset_name, environment_name, local_names, work
from agents.datasets.references import COMMITTED, MEASURED, dataset_reference, reference
from agents.options import MakeDataset
from agents.runs import Run
from simenv.errors import DatasetError
from simenv.listing import load_scores
from simenv.registry import TASKS
from tests.agents.datasets.line import LINE

WALKER = "simenv/SoftWalker2D-v0"


def test_zero_and_a_hundred(fresh_root):
    """Random actions score 0, the expert 100, half-way 50, whatever the shape."""
    known = known_reference(WALKER)
    middle = (known.random + known.expert) / 2
    scores = normalized_score(WALKER, np.array([[known.random, middle], [known.expert, 0.0]]))
    assert scores.shape == (2, 2)
    assert scores[0].tolist() == pytest.approx([0.0, 50.0])
    assert scores[1, 0] == pytest.approx(100.0)
    assert isinstance(normalized_score(WALKER, 0.0), float)
    assert not fresh_root.exists()


@pytest.fixture
def committed(fresh_root, monkeypatch):
    """Function that puts rows in place of the committed ones; none to begin with."""
    file = fresh_root.with_name("committed.json")
    monkeypatch.setattr(references, "COMMITTED", file)

    def commit(rows: dict[str, dict[str, object]]) -> None:
        file.write_text(json.dumps(rows))

    return commit


def keep(rows: dict[str, dict[str, object]]) -> None:
    """Write rows as if they had been measured here."""
    work().mkdir(parents=True, exist_ok=True)
    work(MEASURED).write_text(json.dumps(rows))


def entry(random: float, expert: float | None) -> dict[str, object]:
    """A row of a file of references."""
    return {"random": random, "expert": expert, "episodes": 100, "by": "somebody"}


def test_scores_of_the_tasks(committed):
    """simenv's small tasks have references from the table; other sizes and goals do not."""
    for task_id, spec in TASKS.items():
        known = known_reference(task_id)
        if spec.variant == "goal":
            assert known is None
            continue
        rows = load_scores()[spec.family]
        assert known.random == rows["random"]["return_mean"]
        assert known.expert == rows["baseline"]["return_mean"]
        assert known.expert > known.random
    assert known_reference(WALKER, "full") is None


def test_committed_references():
    """The committed ones are of registered ids, with experts above chance, from 100 episodes."""
    for key, row in json.loads(COMMITTED.read_text()).items():
        assert key.split()[0] in gymnasium.registry
        assert row["expert"] > row["random"]
        assert row["episodes"] >= 100


def test_unknown_references(fresh_root):
    """Without an expert there is no scale: said with the way to get one."""
    making.make(MakeDataset(LINE, "random", 30, num_envs=2, progress_bar=False))
    for asked in (LINE, "toy/line/random-v0", minari.load_dataset("toy/line/random-v0")):
        with pytest.raises(DatasetError, match="--split expert"):
            normalized_score(asked, 0.0)


def test_measured_references(fresh_root):
    """An expert measured later serves datasets made before; Minari's own function agrees."""
    making.make(MakeDataset(LINE, "random", 30, num_envs=2, progress_bar=False))
    making.make(MakeDataset(LINE, "expert", 30, num_envs=2, progress_bar=False))
    row = json.loads(work(MEASURED).read_text())[LINE]
    known = known_reference(LINE)
    assert (row["random"], row["expert"]) == (known.random, known.expert)
    # The toy's reward is ten times the way: chance goes nowhere, an expert at least from 0.1 to 1.
    assert abs(known.random) < 4.0
    assert known.expert > 8.0
    returns = np.array([0.0, 5.0, 12.0])
    expected = 100 * (returns - known.random) / (known.expert - known.random)
    dataset = minari.load_dataset("toy/line/expert-v0")
    assert 100 * minari.get_normalized_score(dataset, returns) == pytest.approx(expected)
    for asked in (LINE, "toy/line/random-v0", dataset):
        assert normalized_score(asked, returns) == pytest.approx(expected)


def test_one_rule_for_ids_and_datasets(committed):
    """Committed, then the table of scores, then measured here, then what the dataset keeps."""
    minari_s = {"ref_min_score": 0.0, "ref_max_score": 1.0}
    own = {"id": LINE, "size": "small", "reference": entry(0.0, 2.0)}
    made = minari_s | {"simenv": own}
    walks = minari_s | {"simenv": own | {"id": WALKER}}

    def heights() -> list[float]:
        return [dataset_reference(about).expert for about in (minari_s, made, walks)]

    table = load_scores()["SoftWalker2D"]["baseline"]["return_mean"]
    assert heights() == [1.0, 2.0, table]
    # Without a scale, as between a measurement of random actions and one of the expert, or where
    # both are equal, the next in the row counts.
    keep({LINE: entry(0.0, None), WALKER: entry(0.0, 3.0)})
    assert heights() == [1.0, 2.0, table]
    made["simenv"]["reference"] = entry(5.0, 5.0)
    assert heights() == [1.0, 1.0, table]
    keep({LINE: entry(0.0, 3.0), WALKER: entry(0.0, 3.0)})
    assert heights() == [1.0, 3.0, table]
    committed({LINE: entry(0.0, 4.0), WALKER: entry(0.0, 4.0)})
    assert heights() == [1.0, 4.0, 4.0]
    assert [known_reference(name).expert for name in (LINE, WALKER)] == [4.0, 4.0]


def test_a_committed_reference_serves_datasets_made_before(committed):
    """Scores of an id and of its datasets are the same, also where the dataset keeps others."""
    keep({LINE: entry(0.0, 10.0)})
    making.make(MakeDataset(LINE, "random", 30, num_envs=2, progress_bar=False))
    asked = (LINE, "toy/line/random-v0", minari.load_dataset("toy/line/random-v0"))
    assert [normalized_score(one, 5.0) for one in asked] == [50.0] * 3
    committed({LINE: entry(-10.0, 10.0)})
    assert [normalized_score(one, 5.0) for one in asked] == [75.0] * 3


@pytest.mark.parametrize("own", ["text", {"id": LINE}, {"id": LINE, "size": "small"}])
def test_damaged_metadata(fresh_root, own):
    """What holds no reference that can be read is named, not a traceback."""
    with pytest.raises(DatasetError, match=r"dataset a/b-v0.*'simenv dataset check'"):
        dataset_reference({"dataset_id": "a/b-v0", "simenv": own})


@pytest.mark.parametrize("text", ['{"toy/Line-v1": ', "[1]", '{"toy/Line-v1": {"random": 1}}'])
def test_damaged_measurements(fresh_root, text):
    """The file is named, with a remedy."""
    keep({})
    work(MEASURED).write_text(text)
    with pytest.raises(DatasetError, match=f"{MEASURED}.*damaged"):
        known_reference(LINE)


# ------------------------------------------------------------------------------- experts


@pytest.fixture
def measured(fresh_root, monkeypatch):
    """Function that gives an expert of a return as a run, and the runs measured so far."""
    asked: list[str] = []

    def returned(run: Run, *rest: object) -> float:
        asked.append(run.path.name)
        return float(run.path.name)

    monkeypatch.setattr(references, "_measure_run", returned)

    def run_of(value: float) -> Run:
        run = Run(fresh_root / str(value))
        (run.path / "checkpoints" / "step-0000000008").mkdir(parents=True, exist_ok=True)
        run.write_json("checkpoints/step-0000000008/manifest.json", {"returns": value})
        run.write_json("config.json", {"command": "sac", "seed": 0})
        return run

    def measure(value: float) -> float:
        return reference(LINE, "small", "cpu", lambda: run_of(value)).expert

    return measure, asked


def test_an_expert_no_better_than_chance_is_refused(measured):
    """Its return, the bound and the remedy are said, and nothing is kept; a better one is."""
    measure, _ = measured
    with pytest.raises(DatasetError, match=r"returns -5 in 20 .*random actions return.*--policy"):
        measure(-5.0)
    assert not work(MEASURED).exists()
    chance = reference(LINE, "small", "cpu", None).random
    kept = work(MEASURED).read_text()
    with pytest.raises(DatasetError, match="must return more: train it longer"):
        measure(chance)
    assert work(MEASURED).read_text() == kept
    assert measure(chance + 0.5) == chance + 0.5
    assert known_reference(LINE).random == chance


def test_a_better_expert_replaces_the_kept_one(measured):
    """A worse one does not, and that behind the kept numbers is not measured again."""
    measure, asked = measured
    assert [measure(value) for value in (8.0, 12.0, 10.0, 12.0)] == [8.0, 12.0, 12.0, 12.0]
    assert asked == ["8.0", "12.0", "10.0"]
    assert known_reference(LINE).expert == 12.0


def test_committed_references_are_not_measured(measured, committed):
    """Whoever is given as the expert."""
    measure, asked = measured
    committed({LINE: entry(0.0, 4.0)})
    assert measure(12.0) == 4.0
    assert asked == []


def test_unknown_names(fresh_root):
    """Neither an id nor a dataset."""
    with pytest.raises(DatasetError, match="no dataset 'Pendulum'"):
        normalized_score("Pendulum", 0.0)


@pytest.mark.parametrize(
    ("task_id", "size", "name"),
    [
        (WALKER, "small", "simenv/SoftWalker2D/medium-v0"),
        (WALKER, "full", "simenv/SoftWalker2D-full/medium-v0"),
        ("simenv/SoftWalker2D-Safe-v0", "small", "simenv/SoftWalker2D-Safe/medium-v0"),
        ("Pendulum-v1", "small", "pendulum/medium-v0"),
        ("Hopper-v5", "small", "hopper/medium-v0"),
        ("ALE/Pong.x-v5", "small", "ale/pong-x/medium-v0"),
    ],
)
def test_names(task_id, size, name):
    """Ids without their version, as Minari takes them."""
    assert dataset_name(task_id, "medium", size) == name
    namespace, dataset, version = minari.dataset.minari_dataset.parse_dataset_id(name)
    assert (namespace, dataset, version) == (environment_name(task_id, size), "medium", 0)


def test_local_names_are_those_of_minari(fresh_root):
    """Work in the hidden folder is no dataset."""
    making.make(MakeDataset(LINE, "random", 30, num_envs=2, progress_bar=False))
    assert work().is_dir()
    assert local_names() == list(minari.list_local_datasets()) == ["toy/line/random-v0"]
