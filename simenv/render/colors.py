"""Colours: a qualitative palette, a diverging map, and the reading of what users pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Eight hues that stay apart under the common colour vision deficiencies, red, green, blue.
PALETTE = np.array(
    [
        [0.180, 0.420, 0.800],  # blue
        [0.940, 0.545, 0.140],  # orange
        [0.090, 0.720, 0.600],  # teal
        [0.800, 0.290, 0.440],  # rose
        [0.980, 0.825, 0.360],  # yellow
        [0.380, 0.210, 0.570],  # violet
        [0.520, 0.790, 0.935],  # sky
        [0.265, 0.265, 0.310],  # slate
    ]
)
PALETTE.setflags(write=False)

_STOPS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
_DIVERGING = np.array(
    [
        [0.094, 0.310, 0.635],
        [0.380, 0.624, 0.847],
        [0.925, 0.918, 0.898],
        [0.949, 0.537, 0.325],
        [0.718, 0.122, 0.176],
    ]
)
_MISSING = np.array([0.6, 0.6, 0.6])


def qualitative(labels: npt.ArrayLike) -> np.ndarray:
    """One colour of the palette for each label; the palette repeats after eight.

    Args:
        labels: Integers, shape (P,).

    Returns:
        Colours in [0, 1], shape (P, 3).

    Raises:
        ValueError: If the labels are not integers in one dimension.
    """
    index = np.asarray(labels)
    if index.ndim != 1 or not (index.size == 0 or np.issubdtype(index.dtype, np.integer)):
        raise ValueError(f"labels must be integers of shape (P,), got {_kind(index)}")
    return PALETTE[index.astype(np.int64) % len(PALETTE)]


def diverging(values: npt.ArrayLike) -> np.ndarray:
    """Colours for signed values: blue at -1, pale at 0, red at 1; outside values are clipped.

    Args:
        values: Numbers such as muscle activations, shape (P,). NaN becomes grey.

    Returns:
        Colours in [0, 1], shape (P, 3).

    Raises:
        ValueError: If the values are not in one dimension.
    """
    level = np.asarray(values, dtype=float)
    if level.ndim != 1:
        raise ValueError(f"values must have shape (P,), got {level.shape}")
    channels = [np.interp(level, _STOPS, channel) for channel in _DIVERGING.T]
    return np.where(np.isnan(level)[:, None], _MISSING, np.stack(channels, axis=1))


def unit_colors(name: str, value: npt.ArrayLike) -> np.ndarray:
    """Colours as floats in [0, 1]: integers count as 0 to 255, floats as 0 to 1.

    Raises:
        ValueError: If the last axis is not of length three, a value is out of range or not finite,
            or the type is not numeric.
    """
    array = np.asarray(value)
    if array.ndim == 0 or array.shape[-1] != 3:
        raise ValueError(f"{name} must have a last axis of length 3, got {_kind(array)}")
    whole = np.issubdtype(array.dtype, np.integer)
    if not whole and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"{name} must be integers in 0..255 or floats in [0, 1], got {array.dtype}"
        )
    limit = 255 if whole else 1.0
    if not ((array >= 0) & (array <= limit)).all():
        raise ValueError(f"{name} of type {array.dtype} must lie in [0, {limit}]")
    return array.astype(np.float32) / np.float32(limit)


def _kind(array: np.ndarray) -> str:
    return f"shape {array.shape} of {array.dtype}"
