"""Descent by gradients through the simulator, keeping the best parameters seen."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from agents.schemes import Schemes
from agents.trajopt.adam import Adam
from agents.trajopt.keeper import Keeper, Report, Result, Save
from agents.trajopt.lbfgs import LBFGS
from agents.trajopt.objective import LossWindow, check_schemes
from agents.trajopt.policies import Policy
from agents.trajopt.rollout import Rollout, one_start, repeated, rollout
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError, require_count, require_one_of
from simenv.mpm import State


class Descent(Protocol):
    """A rule by which gradients change parameters."""

    def __init__(self, policy: Policy, learning_rate: float, iterations: int) -> None: ...

    def step(self, losses: Tensor, usable: Tensor) -> None:
        """Change the parameters by their gradients; where `usable` is False these are worthless."""

    def restart(self) -> None:
        """The objective has changed."""


DESCENTS: dict[str, type[Descent]] = {"adam": Adam, "lbfgs": LBFGS}


def optimise(
    functional: Functional,
    policy: Policy,
    *,
    method: str = "adam",
    iterations: int = 60,
    learning_rate: float = 0.1,
    schemes: Schemes | None = None,
    seed: int = 0,
    judge: Functional | None = None,
    report: Report | None = None,
    save: Save | None = None,
) -> Result:
    """Maximise the return of every parameter set by its gradient; each environment carries one.

    Args:
        functional: the task, with as many environments as the policy has sets.
        policy: optimised in place.
        method: "adam" or "lbfgs".
        iterations: every one is a rollout of the task's horizon and its gradient.
        learning_rate: Adam's step size, annealed to a tenth by a cosine; the largest change of a
            parameter in the first step of L-BFGS.
        schemes: switches (see `Schemes`); the window as the method has it, if none is given.
        seed: of the start state, the same for all sets.
        judge: the task whose returns count, where the gradients are those of a softer one; its
            rollouts come on top. None: `functional`.
        report: called with a row of figures after every iteration.
        save: called with the best set whenever a better one is found.

    Raises:
        ConfigurationError: an option outside its bounds, or not a set for every environment.
        SimenvError: no rollout had a finite return.
    """
    check_options(method=method, iterations=iterations, learning_rate=learning_rate)
    schemes = (schemes or Schemes()).of_method(method)
    check_schemes(schemes, functional.task, policy)
    policy.require_sets(functional.num_envs)
    descent = DESCENTS[method](policy, learning_rate, iterations)
    keeper, start = Keeper(save, schemes.keep_best), one_start(functional, seed)
    start = repeated(start, functional.num_envs)
    window = LossWindow(schemes, functional.task.horizon)
    per_iteration = functional.num_envs * functional.task.horizon * (1 if judge is None else 2)
    for iteration in range(iterations):
        run = rollout(
            functional,
            policy,
            start,
            schemes=schemes,
            loss_window=window.steps,
            frozen=window.frozen,
        )
        returns, success = _judged(run if judge is None else _judge(judge, policy, start))
        keeper.see(policy.pick, returns, success)
        norm = _descend(descent, policy, run, keeper, window.frozen)
        totals = run.gains.detach().sum(dim=0)
        worth = totals.masked_fill(run.failed | ~torch.isfinite(totals), -math.inf)
        if window.see(float(worth.max())):
            descent.restart()
        if report is not None:
            row = keeper.row(iteration, returns, (iteration + 1) * per_iteration)
            report(row | {"gradient_norm": norm})
    return keeper.result()


@torch.no_grad()
def _judge(judge: Functional, policy: Policy, start: State) -> Rollout:
    """What the policy does where it counts."""
    return rollout(judge, policy, start)


def _judged(run: Rollout) -> tuple[Tensor, Tensor]:
    """Returns (S,), NaN where a step broke, and whether the task was done, bool (S,)."""
    returns = run.rewards.detach().sum(dim=0).masked_fill(run.failed, torch.nan)
    return returns, run.success


def _descend(descent: Descent, policy: Policy, run: Rollout, keeper: Keeper, frozen: int) -> float:
    """One update; returns the norm of the gradients that are finite, over all sets."""
    policy.zero_grad()
    losses = -run.gains.sum(dim=0)
    losses.sum().backward()
    gradients = [p.grad.flatten(1).double() for p in policy.parameters() if p.grad is not None]
    squares = torch.stack([g.square().sum(dim=1) for g in gradients]).sum(dim=0)
    finite = torch.isfinite(squares)
    usable = finite & torch.isfinite(losses.detach()) & ~run.failed
    step = run.watch.first_bad_step
    since = "" if step is None else f" from step {step} back"
    _skip(~finite, keeper, "gradient of set {} not finite" + since + ": gone back half of the way")
    _skip(finite & ~usable, keeper, "a step of set {} broke: gone back half of the way")
    before = policy.table
    descent.step(losses.detach(), usable)
    policy.project()
    if frozen:
        _keep(policy, before, frozen, usable)
    return float(squares[finite].sum().sqrt())


def _keep(policy: Policy, before: Tensor, frozen: int, usable: Tensor) -> None:
    """Undo what momentum from earlier windows did to the first actions.

    Sets that broke, bool (S,) not `usable`, go back as a whole: it may be such an action that
    breaks them.
    """
    after = policy.table
    after[usable, :frozen] = before[usable, :frozen]
    policy.set_table(after)


def _skip(bad: Tensor, keeper: Keeper, why: str) -> None:
    """Count sets, bool (S,), that cannot be updated, and say `why` with their numbers."""
    if bool(bad.any()):
        keeper.skipped += int(bad.sum())
        tqdm.write(why.format(torch.nonzero(bad).flatten().tolist()))


def check_options(*, method: str = "adam", iterations: int, learning_rate: float) -> None:
    """Raise ConfigurationError for an option of `optimise` outside its bounds."""
    require_one_of("method", method, tuple(DESCENTS))
    require_count("iterations", iterations)
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigurationError(f"learning_rate = {learning_rate} must be finite and > 0")
