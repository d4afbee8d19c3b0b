"""Switches of gradient-based trajectory optimisation, the same for every task. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from simenv.errors import ConfigurationError

WINDOWS = {"adam": 20, "lbfgs": 0}
"""Windows of gradient truncation that methods have by themselves."""


OF_WINDOW = ("loss_growth", "patience", "min_gain", "freeze")
"""Switches of an expanding loss window."""
OF_GRADIENTS = (
    "window",
    "softness",
    "clip",
    "clip_action",
    "normalize",
    "loss_start",
    "freeze",
)
"""Switches that say nothing to a sampler."""


@dataclass(frozen=True)
class Schemes:
    """What helps a gradient find its way; every switch off by default but the first and the last.

    The loss window and freezing are FluidLab's (Xian et al., ICLR 2023), softness is
    PlasticineLab's (Huang et al., ICLR 2021), the Chamfer loss ILD's (Chen et al., CVPR 2023).
    """

    window: int | None = None
    """Gradient truncation: gradients flow through this many environment steps; 0: through all. By
    itself adam has 20 and lbfgs 0: its line search wants the gradient of what it measures."""
    softness: float = 0.0
    """Contact softness k of the tools [1/m], 100 or 666 for instance; 0 is hard contact."""
    loss_start: int = 0
    """Loss window: steps that count at first; 0: all of them from the start."""
    loss_growth: int = 20
    """Steps by which the loss window grows when the loss stands still."""
    patience: int = 5
    """Iterations without a better loss after which the loss window grows."""
    min_gain: float = 1e-3
    """Share of the loss by which a better one must be better; less is standing still."""
    freeze: int = 0
    """Keep actions older than this many steps before the end of the loss window, once an earlier
    window had them; 0: none. For policies with an action per step: open-loop and plan, without
    knots."""
    clip: float = 0.0
    """Clip the norm of the adjoint state at every step to this; 0 leaves it."""
    clip_action: float = 0.0
    """Clip the norm of the adjoint action at every step to this; 0 leaves a step's own whole."""
    normalize: bool = False
    """Bring adjoints up to these bounds too where they are smaller: all steps count alike."""
    loss: Literal["reward", "chamfer", "pointwise"] = "reward"
    """Minus the reward, or the distance of the particles to the task's target points."""
    attraction: float = 0.0
    """Weight of the distance [m] of tools to the material, added to the loss."""
    keep_best: bool = True
    """Return the best parameters seen, not the last."""

    def __post_init__(self) -> None:
        for name in ("window", "loss_start", "freeze"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigurationError(f"{name} = {getattr(self, name)} must be at least 0")
        for name in ("loss_growth", "patience"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("softness", "clip", "clip_action", "attraction", "min_gain"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(f"{name} = {value} must be finite and >= 0")
        if not self.loss_start and (given := self._changed(OF_WINDOW)):
            raise ConfigurationError(
                f"{', '.join(given)} go with a growing loss window; give loss_start too"
            )
        if self.normalize and not (self.clip or self.clip_action):
            raise ConfigurationError("normalize needs a norm to bring adjoints to: clip, such as 1")

    def require_no_gradients(self, method: str) -> None:
        """Raise ConfigurationError for a switch that says nothing to a method that samples."""
        if given := self._changed(OF_GRADIENTS):
            raise ConfigurationError(
                f"{', '.join(given)} shape gradients, and {method} uses none; leave them out"
            )

    def _changed(self, names: Sequence[str]) -> list[str]:
        usual = {field.name: field.default for field in fields(self)}
        return [name for name in names if getattr(self, name) != usual[name]]

    def of_method(self, method: str) -> Schemes:
        """With the window that a gradient method has, where none was given."""
        return replace(self, window=WINDOWS[method]) if self.window is None else self
