"""Datasets of a toy environment in folders of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.datasets import experts, references
from tests.agents.datasets.line import register
from tests.agents.datasets.made import make

register()

TRAINING = {
    "steps": 800,
    "num_envs": 4,
    "gradient_steps": 2,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "learning_starts": 100,
    "net_arch": (16,),
    "eval_every": 40,
    "eval_episodes": 4,
    "save_every": 200,
}
"""Seconds of learning, evaluated often enough to have a half-way."""


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of datasets in which an expert of the toy has been trained, and is kept."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def root(trained_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, where Minari looks for datasets, and presets of the toy."""
    return use(trained_root, monkeypatch)


@pytest.fixture
def fresh_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one."""
    return use(tmp_path / "datasets", monkeypatch)


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let Minari keep datasets in a folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    monkeypatch.setattr(references, "EPISODES", 20)
    monkeypatch.setattr(experts, "preset", lambda algorithm, task_id: TRAINING)
    return folder


@pytest.fixture(scope="session")
def splits() -> dict[str, str]:
    """Names of datasets that have been made already, by split."""
    return {}


@pytest.fixture
def split(root, splits):
    """Function that gives the name of a split's dataset, made when it is first asked for."""

    def find(which: str) -> str:
        if which not in splits:
            given = {"transitions": None} if which == "medium-replay" else {}
            splits[which] = make(which, root, **given)
        return splits[which]

    return find
