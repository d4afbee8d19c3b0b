"""Search by trial: the sampler's candidates are the batch."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from agents.schemes import Schemes
from agents.trajopt.keeper import Keeper, Report, Result, Save
from agents.trajopt.objective import check_schemes
from agents.trajopt.policies import Policy
from agents.trajopt.rollout import one_start
from agents.trajopt.samplers import Sampler
from agents.trajopt.trials import Trials, Tried, by_table
from simenv.envs.functional import Functional
from simenv.errors import expect_shape, require_count


def sample(
    functional: Functional,
    policy: Policy,
    sampler: Sampler,
    *,
    iterations: int = 60,
    schemes: Schemes | None = None,
    seed: int = 0,
    judge: Functional | None = None,
    report: Report | None = None,
    save: Save | None = None,
) -> Result:
    """Search a policy's parameters by trial, all candidates from one start.

    In every iteration the sampler's own answer so far is tried beside its candidates, so that it
    counts among the best seen; what the last population teaches is tried after it.

    Args:
        functional: the task; `sampler.most` + 1 environments take an iteration in one go.
        policy: as many sets as environments; its parameters are what is searched.
        sampler: of tables (R, A) of the policy's parameters.
        iterations: of the search.
        schemes: what is gained by a step; with `keep_best` off the last answer tried is the
            result.
        seed: of the start state.
        judge: the task with one environment, for the last answer, which is then one rollout; None:
            all environments of `functional` play it.
        report: called with a row of figures after every iteration.
        save: called with the best set whenever a better one is found.

    Raises:
        ConfigurationError: an option outside its bounds, or not a set for every environment.
        ShapeError: a sampler of other tables than the policy's.
        SimenvError: no rollout had a finite return.
    """
    require_count("iterations", iterations)
    schemes = schemes or Schemes()
    schemes.require_no_gradients(type(sampler).__name__)
    check_schemes(schemes, functional.task)
    policy.require_sets(functional.num_envs)
    expect_shape("the sampler's plans (steps, actions)", sampler.shape, policy.table.shape[1:])
    judge = judge or functional
    lone = policy.copies(judge.num_envs)
    keeper, start = Keeper(save, schemes.keep_best), one_start(functional, seed)
    trials = Trials(functional, by_table(policy), schemes=schemes)
    last = Trials(judge, by_table(lone), schemes=schemes)
    for iteration in range(iterations):
        candidates = torch.cat([sampler.ask(), _answer(sampler)])
        tried = trials(start, candidates)
        _see(keeper, lone, candidates, tried)
        sampler.tell(-tried.gains[:-1])
        if iteration == iterations - 1:
            candidates = _answer(sampler)
            _see(keeper, lone, candidates, last(start, candidates))
        if report is not None:
            report(keeper.row(iteration, tried.returns, trials.simulated + last.simulated))
    return keeper.result()


def _answer(sampler: Sampler) -> Tensor:
    """What the sampler would do by now, (1, R, A)."""
    return sampler.plan[None].clamp(sampler.low, sampler.high)


def _see(keeper: Keeper, policy: Policy, candidates: Tensor, tried: Tried) -> None:
    """Note what candidates came to, the last of which is the sampler's answer."""
    shown = slice(None) if keeper.keep_best else slice(-1, None)
    pick = partial(_pick, policy, candidates[shown])
    keeper.see(pick, tried.returns[shown], tried.success[shown])
    keeper.skipped += int((~torch.isfinite(tried.gains)).sum())


def _pick(policy: Policy, candidates: Tensor, index: int) -> dict[str, Tensor]:
    """A candidate as the state of a policy with one set."""
    policy.set_table(candidates[index].expand_as(policy.table))
    return policy.pick(0)
