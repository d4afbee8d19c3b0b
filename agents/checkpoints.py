"""Checkpoints: nested states as safetensors and JSON, written whole or not at all, never pickled.

A checkpoint is a folder:

PART.safetensors   every tensor and array of one part of the state (parameters, replay, …)
state.json         everything else; arrays are referred to by part and name
manifest.json      format, and the SHA-256 of each of the other files
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from simenv.errors import CheckpointError

FORMAT = 1
ARRAY, TUPLE, ITEMS = "$array", "$tuple", "$items"
"""What stands in JSON for a tensor or array, a tuple, and a dictionary with other keys than str."""
NONSENSE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What decoding raises when it meets JSON that no state was encoded as."""
NAME = re.compile(r"[a-z_]+\.(json|safetensors)")


def write(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a state to `folder`; whatever happens on the way, a state there before stays whole.

    Args:
        folder: where to; its parent is made if need be. It must be absent, empty or a checkpoint.
        state: parts by name ([a-z_]+), each nested dictionaries, lists and tuples of tensors,
            arrays, numbers, strings, booleans and None.

    Raises:
        CheckpointError: the folder holds something else, which would be lost.
        TypeError: a value of another kind.
        OSError: the disk is full, or not writable.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "manifest.json").is_file() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} holds something else than a checkpoint")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_files(partial, state)
        _put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, folder: Path) -> None:
    # A folder cannot take the place of another in one step; `read` knows of the old one.
    old = _old(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(folder, old)
    os.replace(partial, folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def read(folder: Path, parts: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The state in `folder`, or only some parts of it.

    Raises:
        CheckpointError: no such folder, a file that is missing or differs from the manifest, or
            another format. Nothing in a file is ever executed.
    """
    folder = Path(folder)
    if not folder.is_dir() and _old(folder).is_dir():
        folder = _old(folder)
    digests = _manifest(folder)
    for name, digest in digests.items():
        _check(folder / name, digest, parts)
    try:
        plain = json.loads((folder / "state.json").read_text())
        chosen = {k: v for k, v in plain.items() if parts is None or k in parts}
        return {part: _decode(v, _arrays(folder, part, digests)) for part, v in chosen.items()}
    except (*NONSENSE, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {error!r}") from error


def whole(folder: Path) -> bool:
    """Whether a checkpoint is there and all its files are as they were written."""
    try:
        for name, digest in _manifest(folder).items():
            _check(folder / name, digest, None)
    except CheckpointError:
        return False
    return True


# ------------------------------------------------------------------------------- files


def _write_files(folder: Path, state: Mapping[str, Any]) -> None:
    plain: dict[str, Any] = {}
    for part, value in state.items():
        arrays: dict[str, np.ndarray] = {}
        plain[part] = _encode(value, part, arrays)
        if arrays:
            _save_arrays(arrays, folder / f"{part}.safetensors")
    (folder / "state.json").write_text(json.dumps(plain))
    digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    manifest = {"format": FORMAT, "sha256": digests}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for path in (*folder.iterdir(), folder):
        sync(path)


def _save_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    try:
        save_file(arrays, path)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error


def _manifest(folder: Path) -> dict[str, str]:
    """SHA-256 by file name."""
    file = folder / "manifest.json"
    if not file.is_file():
        raise CheckpointError(f"{folder} is no checkpoint: it has no manifest.json")
    try:
        manifest = json.loads(file.read_text())
        written, digests = manifest["format"], dict(manifest["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged: {error!r}") from error
    if written != FORMAT:
        raise CheckpointError(f"{file} has format {written!r}; this version reads format {FORMAT}")
    if "state.json" not in digests or not all(map(NAME.fullmatch, digests)):
        raise CheckpointError(f"{file} is damaged: it names the files {sorted(digests)}")
    return digests


def _check(path: Path, digest: str, parts: tuple[str, ...] | None) -> None:
    if parts is not None and path.stem not in (*parts, "state"):
        return
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path.parent} is damaged: {path.name} is missing")
    if file_digest(path) != digest:
        raise CheckpointError(
            f"checkpoint {path.parent} is damaged: the SHA-256 of {path.name} is not that of its "
            "manifest"
        )


def _arrays(folder: Path, part: str, digests: Mapping[str, str]) -> dict[str, np.ndarray]:
    file = f"{part}.safetensors"
    # Only what the manifest vouches for.
    return dict(load_file(folder / file)) if file in digests else {}


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have a file or folder written to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


# ------------------------------------------------------------------------------- values


def holds(value: Any) -> bool:
    """Whether a checkpoint can hold a value."""
    try:
        _encode(value, "value", {})
    except TypeError:
        return False
    return True


def _encode(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON; its tensors and arrays go to `arrays` under their path."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        kind = "torch" if torch.is_tensor(value) else "numpy"
        while path in arrays:  # keys such as "a/b" and 0 beside "0" may lead to the same path
            path += "~"
        arrays[path] = _array(value)
        return {ARRAY: path, "kind": kind}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return _encode_mapping(value, path, arrays)
    if isinstance(value, (list, tuple)):
        items = [_encode(v, f"{path}/{i}", arrays) for i, v in enumerate(value)]
        return {TUPLE: items} if isinstance(value, tuple) else items
    raise TypeError(f"{path} is a {type(value).__name__}, which a checkpoint cannot hold")


def _encode_mapping(value: Mapping[Any, Any], path: str, arrays: dict[str, np.ndarray]) -> Any:
    items = [(key, _encode(v, f"{path}/{key}", arrays)) for key, v in value.items()]
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return dict(items)
    return {ITEMS: [[_encode(key, path, arrays), v] for key, v in items]}


def _array(value: Any) -> np.ndarray:
    array = value.detach().cpu().numpy() if torch.is_tensor(value) else value
    if array.dtype.kind not in "biuf":
        raise TypeError(f"an array of {array.dtype} cannot go into a checkpoint")
    return np.ascontiguousarray(array).reshape(array.shape)


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_decode(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if ARRAY in value:
        found = arrays[value[ARRAY]]
        return torch.from_numpy(found.copy()) if value["kind"] == "torch" else found
    if TUPLE in value:
        return tuple(_decode(v, arrays) for v in value[TUPLE])
    return dict(_pairs(value, arrays))


def _pairs(value: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, Any]]:
    for key, v in value[ITEMS] if ITEMS in value else value.items():
        yield _decode(key, arrays), _decode(v, arrays)
