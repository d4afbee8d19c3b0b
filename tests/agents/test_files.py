"""Files are written whole or not at all."""

from __future__ import annotations

import json
import os
import stat

import pytest

from agents.files import replacing, write_json, write_text


def test_a_file_is_replaced(tmp_path):
    """By what was written, which others may read; nothing is left beside it."""
    path = tmp_path / "a.txt"
    for text in ("one\r\n", "zwei ü\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    write_json(tmp_path / "b.json", {"a": [1.5]})
    assert json.loads((tmp_path / "b.json").read_text()) == {"a": [1.5]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.json"]


def full(*given):
    """A disk without room."""
    raise OSError("disk full")


def broken_off(path, text):
    """Write half, and then no more."""
    with replacing(path) as stream:
        stream.write(text[:2].encode())
        full()


@pytest.mark.parametrize("fault", ["fsync", "replace", None])
def test_a_write_that_fails_leaves_the_old_file(fault, tmp_path, monkeypatch):
    """Whatever it fails at, and nothing is left beside it."""
    path = tmp_path / "a.txt"
    write_text(path, "old")
    if fault is not None:
        monkeypatch.setattr(os, fault, full)
    write = broken_off if fault is None else write_text
    with pytest.raises(OSError, match="disk full"):
        write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_not_followed(tmp_path):
    """A link in the place of the file does not lead the write elsewhere."""
    target, link = tmp_path / "precious", tmp_path / "link"
    target.write_text("mine")
    link.symlink_to(target)
    write_text(link, "new")
    assert (target.read_text(), link.read_text()) == ("mine", "new")
    assert not link.is_symlink()
