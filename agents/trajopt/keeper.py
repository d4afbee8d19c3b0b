"""Keeper: the best parameters that a search has seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from simenv.errors import SimenvError

Report = Callable[[dict[str, float]], None]
Pick = Callable[[int], dict[str, Tensor]]
Save = Callable[[dict[str, Tensor]], None]


@dataclass(frozen=True)
class Result:
    """What an optimisation found.

    Attributes:
        best: state of a policy with one parameter set, the best one seen.
        best_return: its return.
        best_success: whether that rollout succeeded.
        skipped: rollouts and updates left out because something was not finite.
    """

    best: dict[str, Tensor]
    best_return: float
    best_success: bool
    skipped: int


class Keeper:
    """Remembers the best parameter set, or without `keep_best` the last one's best.

    Args:
        save: called with the best set whenever there is another one.
        keep_best: see there.
    """

    def __init__(self, save: Save | None, keep_best: bool) -> None:
        self.save, self.keep_best = save, keep_best
        self.best: dict[str, Tensor] = {}
        self.best_return, self.best_success, self.skipped = -math.inf, False, 0

    def see(self, pick: Pick, returns: Tensor, success: Tensor) -> None:
        """Note what sets came to: returns (S,) and bool (S,); `pick` gives one of them."""
        usable = torch.where(torch.isfinite(returns), returns, -torch.inf)
        index = int(usable.argmax())
        if not math.isfinite(float(usable[index])):
            return
        if float(usable[index]) > self.best_return or not self.keep_best:
            self.best_return, self.best_success = float(usable[index]), bool(success[index])
            self.best = pick(index)
            if self.save is not None:
                self.save(self.best)

    def row(self, iteration: int, returns: Tensor, simulated: int) -> dict[str, float]:
        """Figures of an iteration; `step` counts the environment steps taken so far."""
        finite = returns[torch.isfinite(returns)]
        return {
            "iteration": iteration,
            "step": simulated,
            "return_mean": float(finite.mean()) if len(finite) else math.nan,
            "return_max": float(finite.max()) if len(finite) else math.nan,
            "return_best": self.best_return,
            "success_best": float(self.best_success),
            "skipped": self.skipped,
        }

    def result(self) -> Result:
        """What was found.

        Raises:
            SimenvError: no rollout had a finite return.
        """
        if not self.best:
            raise SimenvError("no rollout had a finite return; try smaller steps or deviations")
        return Result(self.best, self.best_return, self.best_success, self.skipped)
