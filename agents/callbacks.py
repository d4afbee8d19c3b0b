"""Callbacks of a `Learner`: Stable-Baselines3's, a step of theirs being an update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)


class UpdateBar(ProgressBarCallback):
    """A progress bar of what a `Learner` counts."""

    def _on_step(self) -> bool:
        self.pbar.update(self.model.stride)  # type: ignore[attr-defined]
        return True


def as_callback(
    callback: BaseCallback | list[BaseCallback] | Callable[..., Any] | None, progress_bar: bool
) -> BaseCallback:
    """One callback out of whatever `learn` was given."""
    if callback is None:
        callback = []
    if not isinstance(callback, BaseCallback | list):
        callback = ConvertCallback(callback)
    callbacks = callback if isinstance(callback, list) else [callback]
    return CallbackList([*callbacks, *([UpdateBar()] if progress_bar else [])])
