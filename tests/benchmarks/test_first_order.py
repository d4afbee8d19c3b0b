"""SHAC beside SAC: commands, what counts as reached, and the table."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

import pytest

from agents.runs import Run
from agents.train_options import preset
from benchmarks import first_order
from benchmarks.first_order import STEPS, Training, report


def finish(job: Training, curve: dict[int, float], monkeypatch) -> Training:
    """A run with evaluations, told to be finished."""
    run = Run(job.out / job.name)
    run.path.mkdir()
    run.write_metrics([{"step": s, "return_mean": r, "seconds": 9.0} for s, r in curve.items()])
    monkeypatch.setattr(Training, "done", lambda job: job.run.path.exists())
    return job


def test_a_run_is_held_against_the_rival_of_its_seed(tmp_path, monkeypatch):
    """Its best evaluation, wherever that is; of another seed nothing is said."""
    sac = finish(Training("sac", 0, tmp_path), {10: 5.0, 20: 9.0, 30: 8.0}, monkeypatch)
    shac = finish(Training("shac", 0, tmp_path), {2: 8.9, 4: 9.0, 6: 4.0}, monkeypatch)
    worse = finish(Training("shac", 1, tmp_path), {2: 90.0, 4: 99.0}, monkeypatch)
    rows = report([sac, shac, worse], tmp_path)
    assert [row["best"] for row in rows] == [9.0, 9.0, 99.0]
    assert [row["at"] for row in rows] == [20, 4, 4]
    assert [row["last"] for row in rows] == [8.0, 4.0, 99.0]
    assert [row["reached"] for row in rows] == [20, 4, ""]
    kept = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [row["reached"] for row in kept] == ["20", "4", ""]
    assert "| shac | 1 | 4 | 99.0 | 4 | 99.0 | – | 9.0 |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "curves.png").stat().st_size > 1_000


@pytest.mark.slow
def test_a_gait_is_learnt(tmp_path):
    """By SHAC in 20,000 steps, whatever gait it is: the worst of ten seeds came to 127."""
    words = ["--agents", "shac", "--seeds", "0", "--out", str(tmp_path)]
    assert first_order.main(words) == 0
    with (tmp_path / "rows.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["best"]) > 100


def test_the_other_agent_stays_in_the_table(tmp_path, monkeypatch):
    """Where only one is asked for, it is held against what is there."""
    finish(Training("sac", 0, tmp_path), {10: 5.0}, monkeypatch)
    finish(Training("shac", 0, tmp_path), {2: 6.0}, monkeypatch)
    monkeypatch.setattr(signal, "signal", lambda number, handler: signal.SIG_DFL)
    assert first_order.main(["--agents", "shac", "--seeds", "0", "--out", str(tmp_path)]) == 0
    kept = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert [(row["agent"], row["reached"]) for row in kept] == [("sac", "10"), ("shac", "2")]


def test_commands_take_the_presets_and_a_fifth_of_the_steps(capsys):
    """Both evaluate equally often per step of their own budget, on as many episodes."""
    assert first_order.main(["--dry-run", "--seeds", "3"]) == 0
    sac, shac = (line.split() for line in capsys.readouterr().out.splitlines())
    assert sac[:4] == ["simenv", "train", "sac", first_order.ID]
    assert shac[:4] == ["simenv", "train", "shac", first_order.ID]
    assert 5 * STEPS["shac"] == STEPS["sac"]
    for words in (sac, shac):
        assert int(words[words.index("--steps") + 1]) == STEPS[words[2]]
        assert words[words.index("--seed") + 1] == "3"
        assert preset(words[2], first_order.ID)["eval_episodes"] == 16


def test_an_unknown_agent_is_refused(capsys, tmp_path: Path):
    """By the command line."""
    with pytest.raises(SystemExit):
        first_order.main(["--agents", "ppo", "--out", str(tmp_path)])
    assert "invalid choice" in capsys.readouterr().err
