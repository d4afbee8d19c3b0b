"""Archives of arrays (.npz), read without a pickle."""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np

# TypeError: a single array is no archive. RuntimeError: it claims to be encrypted.
DAMAGE = (ValueError, TypeError, OSError, EOFError, RuntimeError, BadZipFile, zlib.error)
"""What reading a file may end with that is no archive of arrays, or no whole one."""


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, by name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged one, or no archive; says why.
    """
    try:
        with Path(path).open("rb") as whole:
            if not is_zipfile(whole):
                raise ValueError("it is no .npz file")
            whole.seek(0)
            with np.load(whole, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(str(error)) from error
