"""Adam through the simulator, keeping the best parameters seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.trajopt.policies import Policy
from agents.trajopt.rollout import Rollout, rollout
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError

Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Result:
    """What an optimisation found.

    Attributes:
        best: state of a policy with one parameter set, the best one seen.
        best_return: its return.
        best_success: whether that rollout succeeded.
        skipped: iterations whose gradient was not finite and whose update was skipped.
    """

    best: dict[str, Tensor]
    best_return: float
    best_success: bool
    skipped: int


def optimise(
    functional: Functional,
    policy: Policy,
    *,
    iterations: int = 60,
    learning_rate: float = 0.1,
    window: int | None = 20,
    clip: float = 0.0,
    seed: int = 0,
    report: Report | None = None,
) -> Result:
    """Maximise the return of every parameter set by Adam; each environment carries one set.

    Args:
        functional: the task, with as many environments as the policy has sets.
        policy: optimised in place; the best set seen is returned, not the last.
        iterations: gradient iterations; every one is a rollout of the task's horizon.
        learning_rate: Adam's step size, annealed to a tenth by a cosine.
        window: truncation of the graph [steps]; None for the full horizon.
        clip: bound on adjoint norms (see `rollout`).
        seed: of the start states.
        report: called with a row of figures after every iteration.

    Raises:
        ConfigurationError: an option outside its bounds.
    """
    _check(iterations=iterations, learning_rate=learning_rate, clip=clip, window=window)
    adam = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        adam, iterations, eta_min=learning_rate / 10
    )
    keeper, start = _Keeper(), functional.initial(seed)
    for iteration in range(iterations):
        run = rollout(functional, policy, start, window=window, clip=clip)
        returns = run.rewards.detach().sum(dim=0)
        keeper.see(policy, returns, run.success)
        norm = _descend(adam, policy, run, keeper)
        if math.isfinite(norm):
            schedule.step()
        if report is not None:
            report(keeper.row(iteration, returns, norm))
    return keeper.result()


class _Keeper:
    """Remembers the best parameter set."""

    def __init__(self) -> None:
        self.best: dict[str, Tensor] = {}
        self.best_return, self.best_success, self.skipped = -math.inf, False, 0

    def see(self, policy: Policy, returns: Tensor, success: Tensor) -> None:
        usable = torch.where(torch.isfinite(returns), returns, -torch.inf)
        index = int(usable.argmax())
        if float(usable[index]) > self.best_return:
            self.best_return, self.best_success = float(usable[index]), bool(success[index])
            self.best = policy.pick(index)

    def row(self, iteration: int, returns: Tensor, norm: float) -> dict[str, float]:
        return {
            "iteration": iteration,
            "return_mean": float(returns.mean()),
            "return_max": float(returns.max()),
            "return_best": self.best_return,
            "success_best": float(self.best_success),
            "gradient_norm": norm,
            "skipped": self.skipped,
        }

    def result(self) -> Result:
        return Result(self.best, self.best_return, self.best_success, self.skipped)


def _descend(adam: torch.optim.Optimizer, policy: Policy, run: Rollout, keeper: _Keeper) -> float:
    """One update; returns the gradient's norm. A gradient that is not finite is not used."""
    adam.zero_grad()
    (-run.rewards.sum()).backward()
    gradients = [p.grad for p in policy.parameters() if p.grad is not None]
    norm = float(torch.sqrt(torch.stack([g.square().sum() for g in gradients]).sum()))
    if math.isfinite(norm):
        adam.step()
    else:
        keeper.skipped += 1
        print(f"gradient not finite (from step {run.watch.first_bad_step} back): update skipped")
    return norm


def _check(iterations: int, learning_rate: float, clip: float, window: int | None) -> None:
    if iterations < 1:
        raise ConfigurationError(f"iterations = {iterations} must be at least 1")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigurationError(f"learning_rate = {learning_rate} must be finite and > 0")
    if not (math.isfinite(clip) and clip >= 0):
        raise ConfigurationError(f"clip = {clip} must be finite and >= 0 (0: no clipping)")
    if window is not None and window < 1:
        raise ConfigurationError(f"window = {window} must be at least 1, or None")
