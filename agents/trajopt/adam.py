"""Adam through the simulator, keeping the best parameters seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from agents.schemes import Schemes
from agents.trajopt.objective import LossWindow, check_schemes
from agents.trajopt.policies import Policy
from agents.trajopt.rollout import Rollout, rollout
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError, SimenvError

Report = Callable[[dict[str, float]], None]
Save = Callable[[dict[str, Tensor]], None]


@dataclass(frozen=True)
class Result:
    """What an optimisation found.

    Attributes:
        best: state of a policy with one parameter set, the best one seen.
        best_return: its return.
        best_success: whether that rollout succeeded.
        skipped: updates left out because a set's gradient was not finite.
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
    schemes: Schemes | None = None,
    seed: int = 0,
    report: Report | None = None,
    save: Save | None = None,
) -> Result:
    """Maximise the return of every parameter set by Adam; each environment carries one set.

    Args:
        functional: the task, with as many environments as the policy has sets.
        policy: optimised in place.
        iterations: gradient iterations; every one is a rollout of the task's horizon.
        learning_rate: Adam's step size, annealed to a tenth by a cosine.
        schemes: switches (see `Schemes`).
        seed: of the start states.
        report: called with a row of figures after every iteration.
        save: called with the best set whenever a better one is found.

    Raises:
        ConfigurationError: an option outside its bounds.
        SimenvError: no rollout had a finite return.
    """
    check_options(iterations=iterations, learning_rate=learning_rate)
    schemes = schemes or Schemes()
    check_schemes(schemes, functional.task)
    adam = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        adam, iterations, eta_min=learning_rate / 10
    )
    keeper, start = _Keeper(save, schemes.keep_best), functional.initial(seed)
    loss_window = LossWindow(schemes, functional.task.horizon)
    for iteration in range(iterations):
        run = rollout(
            functional,
            policy,
            start,
            schemes=schemes,
            loss_window=loss_window.steps,
            frozen=loss_window.frozen,
        )
        returns = run.rewards.detach().sum(dim=0)
        keeper.see(policy, returns, run.success)
        norm = _descend(adam, policy, run, keeper)
        totals = run.gains.detach().sum(dim=0)
        loss_window.see(float(totals.nan_to_num(nan=-math.inf).max()))
        schedule.step()
        if report is not None:
            report(keeper.row(iteration, returns, norm))
    return keeper.result()


class _Keeper:
    """Remembers the best parameter set, or without `keep_best` the last one's best."""

    def __init__(self, save: Save | None, keep_best: bool) -> None:
        self.save, self.keep_best = save, keep_best
        self.best: dict[str, Tensor] = {}
        self.best_return, self.best_success, self.skipped = -math.inf, False, 0

    def see(self, policy: Policy, returns: Tensor, success: Tensor) -> None:
        usable = torch.where(torch.isfinite(returns), returns, -torch.inf)
        index = int(usable.argmax())
        if not math.isfinite(float(usable[index])):
            return
        if float(usable[index]) > self.best_return or not self.keep_best:
            self.best_return, self.best_success = float(usable[index]), bool(success[index])
            self.best = policy.pick(index)
            if self.save is not None:
                self.save(self.best)

    def skip(self, usable: Tensor, run: Rollout) -> None:
        bad = torch.nonzero(~usable).flatten().tolist()
        if bad:
            self.skipped += len(bad)
            step = run.watch.first_bad_step
            since = "" if step is None else f" from step {step} back"
            tqdm.write(f"gradient of set {bad} not finite{since}: not updated")

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
        if not self.best:
            raise SimenvError("no rollout had a finite return; try a smaller learning_rate")
        return Result(self.best, self.best_return, self.best_success, self.skipped)


def _descend(adam: torch.optim.Optimizer, policy: Policy, run: Rollout, keeper: _Keeper) -> float:
    """One update; returns the gradient's norm. Sets with a gradient not finite stay as they are."""
    adam.zero_grad()
    (-run.gains.sum()).backward()
    pairs = [(p, p.grad) for p in policy.parameters() if p.grad is not None]
    usable = torch.stack([g.flatten(1).isfinite().all(dim=1) for _, g in pairs]).all(dim=0)
    held = [(p, p.detach()[~usable].clone()) for p, _ in pairs]
    for _, gradient in pairs:
        gradient[~usable] = 0.0
    norm = float(torch.sqrt(torch.stack([g.double().square().sum() for _, g in pairs]).sum()))
    adam.step()
    with torch.no_grad():
        for parameter, values in held:
            parameter[~usable] = values
    keeper.skip(usable, run)
    return norm


def check_options(*, iterations: int, learning_rate: float) -> None:
    """Raise ConfigurationError for an option of `optimise` outside its bounds."""
    if iterations < 1:
        raise ConfigurationError(f"iterations = {iterations} must be at least 1")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigurationError(f"learning_rate = {learning_rate} must be finite and > 0")
