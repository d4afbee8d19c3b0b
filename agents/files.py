"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of a file, all at once, if the block ends well.

    Raises:
        OSError: the disk is full, or not writable; a file that was there before is as it was.
    """
    # A fresh name: one that somebody could foresee might be a link to elsewhere.
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece, in UTF-8."""
    with replacing(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, content: Any, indent: int = 2) -> None:
    """Write a JSON file in one piece."""
    write_text(path, json.dumps(content, indent=indent) + "\n")
