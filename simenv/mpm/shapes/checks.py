"""Checks of the numbers that make up a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simenv.errors import ConfigurationError


def checked_vector(name: str, value: Sequence[float]) -> NDArray[np.float64]:
    """A vector (2,) or (3,) of finite numbers, or ConfigurationError."""
    v = np.asarray(value, dtype=np.float64)
    if v.ndim != 1 or len(v) not in (2, 3) or not np.all(np.isfinite(v)):
        raise ConfigurationError(f"{name} = {value} must hold 2 or 3 finite numbers [m]")
    return v


def check_length(name: str, value: float) -> None:
    """Raise ConfigurationError unless a length [m] is finite and > 0."""
    if not (math.isfinite(value) and value > 0.0):
        raise ConfigurationError(f"{name} = {value} [m] must be finite and > 0")


def check_same_dim(name: str, **values: Sequence[float]) -> None:
    """Raise ConfigurationError unless both vectors have as many components."""
    (first, a), (second, b) = values.items()
    if len(a) != len(b):
        raise ConfigurationError(f"{name} {first} {a} and {second} {b} differ in d")
