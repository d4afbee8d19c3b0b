"""The small table of offline agents on scripted sets."""

from __future__ import annotations

from benchmarks import offline_pendulum


def test_cells_have_a_decimal(monkeypatch, capsys, tmp_path):
    """Mean of the seeds, the worst and the best, as the documentation shows them."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setattr(offline_pendulum, "make_set", lambda name: name)
    monkeypatch.setattr(
        offline_pendulum, "score", lambda agent, dataset, seed, out: 50.04 + 1.5 * seed
    )
    words = ["--sets", "medium", "--agents", "bc", "--seeds", "0", "1", "--out", str(tmp_path)]
    offline_pendulum.main(words)
    assert capsys.readouterr().out.splitlines()[-1] == "| medium | 50.8 [50.0, 51.5] |"
