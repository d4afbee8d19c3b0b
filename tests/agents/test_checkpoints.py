"""Checkpoints: written whole or not at all, read back bit by bit, never executed."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from agents import checkpoints
from simenv.errors import CheckpointError

STATE = {
    "parameters": {
        "weight": torch.arange(6.0).reshape(2, 3).T,
        "step": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "optimiser": {0: {"step": torch.tensor(1.0)}, 1: {"betas": (0.9, 0.999)}},
    },
    "loop": {"mask": np.array([True, False]), "none": None, "name": "x", "list": [1, -0.0, 1e-300]},
    "plain": 7,
}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A written checkpoint."""
    checkpoints.write(tmp_path / "step-1", STATE)
    return tmp_path / "step-1"


def same(one, other) -> bool:
    """Whether two states are alike: kinds, keys, shapes, dtypes and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if torch.is_tensor(one):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return repr(one) == repr(other)


def test_round_trip(folder):
    """Every kind of value comes back as it was: tensors, arrays, tuples, other keys."""
    assert same(checkpoints.read(folder), STATE)


def test_numbers_keep_their_bits(tmp_path):
    """Integers beyond 64 bits, as generators have them, and NaN and infinity survive."""
    state = {"random": {"big": 2**127 + 1, "nan": float("nan"), "inf": -float("inf")}}
    checkpoints.write(tmp_path / "a", state)
    assert same(checkpoints.read(tmp_path / "a"), state)


def test_scalars_of_numpy_become_plain(tmp_path):
    """A numpy scalar is kept as the number that it is."""
    checkpoints.write(tmp_path / "a", {"x": {"seed": np.int64(4), "r": np.float32(0.5)}})
    assert checkpoints.read(tmp_path / "a") == {"x": {"seed": 4, "r": 0.5}}


def test_parts(folder):
    """Some parts can be read without the others' files being there."""
    (folder / "loop.safetensors").unlink()
    found = checkpoints.read(folder, parts=("parameters",))
    assert same(found, {"parameters": STATE["parameters"]})


def test_a_later_write_replaces(folder):
    """Writing again to the same folder leaves the new state alone."""
    checkpoints.write(folder, {"plain": 8})
    assert checkpoints.read(folder) == {"plain": 8}
    assert [p.name for p in folder.parent.iterdir()] == ["step-1"]


@pytest.mark.parametrize("value", [object(), {"deep": [{1, 2}]}, np.array(["a"]), np.array([None])])
def test_other_kinds_are_refused(tmp_path, value):
    """What a checkpoint cannot hold is refused before anything is in its place."""
    with pytest.raises(TypeError, match="cannot"):
        checkpoints.write(tmp_path / "a", {"part": value})
    assert not list(tmp_path.iterdir())


def test_other_folders_are_left_alone(tmp_path):
    """A folder that holds something else is refused and keeps it; an empty one is taken."""
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(CheckpointError, match="something else than a checkpoint"):
        checkpoints.write(tmp_path, STATE)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    checkpoints.write(tmp_path / "empty", STATE)
    assert same(checkpoints.read(tmp_path / "empty"), STATE)


def test_paths_that_meet(tmp_path):
    """Keys whose paths are spelt alike keep an array each."""
    one, two, three = (torch.full((2,), float(i)) for i in range(3))
    state = {"part": {"a": {"b": one}, "a/b": two, 0: three, "0": one, (1, "x"): two}}
    checkpoints.write(tmp_path / "a", state)
    assert same(checkpoints.read(tmp_path / "a"), state)


# ------------------------------------------------------------------------------- crashes


def test_a_full_disk_is_an_os_error(folder, monkeypatch):
    """The library that writes tensors has an error of its own for a full disk."""

    def full(*args):
        raise checkpoints.SafetensorError("I/O error: no space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"parameters\.safetensors could not be written.*no space"):
        checkpoints.write(folder, STATE)
    assert files(folder.parent) == ["step-1"]


@pytest.mark.parametrize("fault", ["save_file", "replace", "fsync"])
def test_a_crash_keeps_the_previous(folder, monkeypatch, fault):
    """Disk full, or killed before the new folder is in place: the old state is still whole."""

    def broken(*args):
        raise OSError("no space left on device")

    owner = checkpoints if fault == "save_file" else checkpoints.os
    monkeypatch.setattr(owner, fault, broken)
    with pytest.raises(OSError, match="no space left"):
        checkpoints.write(folder, {**STATE, "plain": 8})
    monkeypatch.undo()
    assert same(checkpoints.read(folder), STATE)
    checkpoints.write(folder, {"plain": 8})
    assert checkpoints.read(folder) == {"plain": 8}


def test_killed_between_the_two_moves(folder, monkeypatch):
    """Killed when the old folder is out of the way and the new one not yet in: the old is read."""
    replace, calls = checkpoints.os.replace, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(checkpoints.os, "replace", second_fails)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(folder, {"plain": 8})
    monkeypatch.undo()
    assert not folder.exists()
    assert same(checkpoints.read(folder), STATE)
    checkpoints.write(folder, {"plain": 9})
    assert checkpoints.read(folder) == {"plain": 9}


# ------------------------------------------------------------------------------- damage


def files(folder: Path) -> list[str]:
    """Names of a checkpoint's files."""
    return sorted(p.name for p in folder.iterdir())


def test_every_flipped_byte_is_noticed(folder):
    """A flipped bit anywhere in any file is refused, or changes nothing that is read."""
    whole = {name: (folder / name).read_bytes() for name in files(folder)}
    for name, content in whole.items():
        for position in range(0, len(content), 1 if name == "manifest.json" else 7):
            damaged = bytearray(content)
            damaged[position] ^= 1 << position % 8
            (folder / name).write_bytes(damaged)
            try:
                found = checkpoints.read(folder)
            except CheckpointError:
                assert not checkpoints.whole(folder)
            else:
                # White space of the manifest, which means nothing.
                assert name == "manifest.json"
                assert same(found, STATE)
        (folder / name).write_bytes(content)
    assert checkpoints.whole(folder)


@pytest.mark.parametrize(
    "name", ["state.json", "parameters.safetensors", "loop.safetensors", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_a_damaged_file_is_named(folder, name, damage):
    """Truncated, emptied or deleted: the file is named."""
    file = folder / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 0 if damage == "empty" else 20])
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        checkpoints.read(folder)
    assert not checkpoints.whole(folder)


def reseal(folder: Path) -> None:
    """Write a manifest that fits the files, as an attacker would."""
    digests = {
        n: checkpoints.file_digest(folder / n) for n in files(folder) if n != "manifest.json"
    }
    manifest = {"format": checkpoints.FORMAT, "sha256": digests}
    (folder / "manifest.json").write_text(json.dumps(manifest))


class Trap:
    """Unpickling it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["state.json", "parameters.safetensors"])
@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_malicious_file_is_never_executed(folder, tmp_path, name, kind):
    """A pickle in the place of a file, manifest and all, is refused and leaves no trace."""
    trace = tmp_path / "executed"
    if kind == "pickle":
        (folder / name).write_bytes(pickle.dumps(Trap(trace)))
    else:
        torch.save(Trap(trace), folder / name)
    reseal(folder)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.read(folder)
    assert not trace.exists()
    # The trap is one: unpickled, it does leave its trace.
    pickle.loads(pickle.dumps(Trap(trace)))
    assert trace.exists()


@pytest.mark.parametrize(
    "plain",
    [
        [],
        {"parameters": {"$array": "parameters/nowhere", "kind": "torch"}},
        {"parameters": {"$array": ["a"], "kind": "torch"}},
        {"parameters": {"$items": 3}},
        {"parameters": {"$items": [[{"a": 1}, 2]]}},
    ],
)
def test_nonsense_in_the_right_form_is_refused(folder, plain):
    """Valid JSON that is no state is called damaged."""
    (folder / "state.json").write_text(json.dumps(plain))
    reseal(folder)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.read(folder)


@pytest.mark.parametrize("name", ["../state.json", "/etc/passwd", "state.pkl", "state.json/.."])
def test_only_files_of_the_folder_are_read(folder, name):
    """A manifest cannot name files elsewhere, or of another kind."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = "0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="names the files"):
        checkpoints.read(folder)


def test_another_format(folder):
    """A checkpoint of another format says which, and which is read."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99; this version reads format 1"):
        checkpoints.read(folder)


def test_no_checkpoint(tmp_path):
    """A folder without a manifest is none."""
    with pytest.raises(CheckpointError, match=r"no checkpoint: it has no manifest\.json"):
        checkpoints.read(tmp_path / "nowhere")
