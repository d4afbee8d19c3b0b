"""Numbers that are not finite: kept out of the networks, and reported where they came from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from simenv.errors import TrainingError

PATIENCE = 20
"""Updates of one optimiser that may be skipped in a row."""


class StepGuard:
    """Lets an optimiser step only where its loss and all of its gradients are finite.

    The first step kept back of each loss is reported by a warning; the others are counted.

    Attributes:
        skipped: steps kept back so far.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._in_row: dict[str, int] = {}
        self._reported: set[str] = set()

    def admits(
        self,
        optimizer: Optimizer,
        name: str,
        loss: Tensor,
        update: int,
        bad_step: int | None = None,
    ) -> bool:
        """Whether to take the step; call it after `backward`.

        Args:
            optimizer: about to step.
            name: of the loss.
            loss: () or (1,); with the norm of the gradient on top, where that was clipped.
            update: number of the update, for the report.
            bad_step: step of a rollout from which back its adjoints are not finite, if any.

        Raises:
            TrainingError: the `PATIENCE`-th step in a row of this loss is not finite.
        """
        if _finite(optimizer, loss):
            self._in_row.pop(name, None)
            return True
        self.skipped += 1
        place = f"update {update}" + ("" if bad_step is None else f", from step {bad_step} back")
        self._in_row[name] = self._in_row.get(name, 0) + 1
        if self._in_row[name] >= PATIENCE:
            raise TrainingError(
                f"{name} or its gradient was not finite in {PATIENCE} updates in a row, the last "
                f"of them {place}; {REMEDY}"
            )
        if name not in self._reported:
            self._reported.add(name)
            warnings.warn(
                f"{name} or its gradient is not finite at {place}; this step of its "
                f"optimiser is skipped, and so are later ones (train/skipped counts them). If it "
                f"goes on, {REMEDY}",
                RuntimeWarning,
                stacklevel=3,
            )
        return False

    def get_state(self) -> dict[str, Any]:
        """The counts, and what has been reported."""
        reported = sorted(self._reported)
        return {"skipped": self.skipped, "in_row": dict(self._in_row), "reported": reported}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.skipped, self._in_row = state["skipped"], dict(state["in_row"])
        self._reported = set(state["reported"])


def require_finite(observations: Any, steps: int, environment: int | None = None) -> None:
    """Raise `TrainingError` where an environment shows NaN or infinity.

    Args:
        observations: (N, …) arrays or tensors, or a dictionary of such.
        steps: transitions taken so far, for the report.
        environment: the one whose observation (…) it is; None: they are those of all.
    """
    parts = observations.values() if isinstance(observations, Mapping) else (observations,)
    for part in parts:
        if torch.is_tensor(part):
            if bool(torch.isfinite(part).all()):
                continue
            part = part.cpu().numpy()
        part = np.asarray(part)
        if part.dtype.kind != "f" or np.isfinite(part).all():
            continue
        rows = part if environment is None else part[None]
        bad = np.flatnonzero(~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)).tolist()
        names = bad if environment is None else [environment]
        raise TrainingError(
            f"environments {names} gave observations that are not finite after {steps} steps of "
            "training; end such episodes in the environment with their last finite observation, "
            "or bound its actions, rewards or time step"
        )


def _finite(optimizer: Optimizer, loss: Tensor) -> bool:
    """One number is read from the device: a sum is finite only where all of its parts are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    sums = [p.grad.sum() for p in parameters if p.grad is not None]
    return bool(torch.isfinite(torch.stack([loss.detach().sum(), *sums]).sum()))


REMEDY = (
    "look for NaN or infinity in the environment's rewards and costs, scale them to about one, or "
    "lower learning_rate"
)
