"""Errors that simenv raises on purpose. Each message names the value, the bound and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral


class SimenvError(Exception):
    """Base of every error that simenv raises on purpose."""


class ConfigurationError(SimenvError, ValueError):
    """A scene, material, task or option was given a value outside its bounds."""


class UnstableTimeStepError(ConfigurationError):
    """The requested substep is longer than the explicit scheme can take.

    Attributes:
        largest: the largest substep [s] that would do.
    """

    def __init__(self, message: str, largest: float) -> None:
        super().__init__(message)
        self.largest = largest


class ShapeError(SimenvError, ValueError):
    """An array has the wrong shape or dtype; the message gives expected against actual."""


class InvalidActionError(SimenvError, ValueError):
    """An action, or a tool's command, holds NaN or infinity; the message says where."""


class DeviceError(SimenvError, RuntimeError):
    """The device asked for does not exist on this machine."""


class UnknownTaskError(SimenvError, KeyError):
    """No task is registered under this id; the message suggests the nearest ones.

    Args:
        task_id: what was asked for.
        known: ids that there are.
        remedy: what to say of an id that is known elsewhere, instead of the nearest ones.
    """

    def __init__(self, task_id: str, known: Iterable[str], remedy: str | None = None) -> None:
        if remedy is not None:
            super().__init__(f"{task_id!r} {remedy}")
            return
        known = sorted(known)
        near = difflib.get_close_matches(task_id, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known ids: {', '.join(known)}"
        super().__init__(f"unknown task id {task_id!r}; {hint} ('simenv list' shows all)")

    def __str__(self) -> str:
        return str(self.args[0])


class RunError(SimenvError, RuntimeError):
    """A run folder lacks a file, or the file does not belong to this run."""


class CheckpointError(RunError):
    """A checkpoint is missing, damaged, or belongs to another agent or environment."""


class DatasetError(SimenvError, RuntimeError):
    """A dataset is missing, damaged, there already, or not what was asked for."""


class TrainingError(SimenvError, RuntimeError):
    """Training cannot go on: losses, gradients or observations are not finite; says since when."""


def require_count(name: str, value: object, least: int = 1) -> None:
    """Raise `ConfigurationError` unless a value is a whole number of at least `least`."""
    if not isinstance(value, Integral) or value < least:
        raise ConfigurationError(f"{name} = {value!r} must be a whole number of at least {least}")


def require_one_of(name: str, value: object, known: Iterable[object]) -> None:
    """Raise ConfigurationError unless `value` is one of the known ones."""
    known = list(known)
    if value not in known:
        raise ConfigurationError(f"{name} = {value!r} must be one of {known}")


def expect_shape(name: str, actual: Iterable[int], expected: Iterable[int]) -> None:
    """Raise `ShapeError` unless two shapes are equal."""
    actual, expected = tuple(actual), tuple(expected)
    if actual != expected:
        raise ShapeError(f"{name} has shape {actual}, expected {expected}")
