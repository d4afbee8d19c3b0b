"""`simenv optimise`: control by gradients through the simulator or by trial, as a run folder."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from tqdm import tqdm

from agents.episodes import episode
from agents.optimise_options import GRADIENT, Optimise
from agents.runs import Run
from agents.trajopt import check_options, check_schemes, make_policy, optimise, sample
from agents.trajopt.methods import make_sampler
from agents.trajopt.policies import INITIAL_SCALE, Policy
from agents.trajopt.receding import Receding
from agents.trajopt.samplers import Sampler
from agents.trajopt.trials import Trials
from simenv.envs.functional import Functional
from simenv.envs.task import load_task
from simenv.errors import ConfigurationError, RunError
from simenv.mpm.device import resolve_device
from simenv.registry import face_of

SETS = 4
"""Parameter sets of a gradient method."""


def run_optimise(options: Optimise) -> Run:
    """Optimise as the options say; returns the finished run."""
    options = options.resolved()
    if options.method in GRADIENT:
        return _descend(options)
    return _recede(options) if options.receding else _sample(options)


def _functional(options: Optimise, count: int, softness: float = 0.0) -> Functional:
    return Functional(
        options.id,
        num_envs=count,
        size=options.size,
        softness=softness,
        device=options.device,
    )


# ------------------------------------------------------------------------------- gradients


def _descend(options: Optimise) -> Run:
    check_options(
        method=options.method, iterations=options.iterations, learning_rate=options.step_size
    )
    count, softness = options.population or SETS, options.schemes.softness
    functional = _functional(options, count, softness)
    policy = make_policy(
        options.policy, functional.task, functional.num_envs, options.seed, options.knots
    )
    check_schemes(options.schemes, functional.task, policy)
    if options.initial is not None:
        # The first set as it was found, the others a little beside it.
        policy.set_table(
            _found(options.initial, policy, options.policy) + _shaken(policy, options.seed)
        )
        policy.project()
    run = Run.create("optimise", options, options.seed)
    with Progress(run, options.iterations) as progress:
        optimise(
            functional,
            policy.to(functional.device),
            method=options.method,
            iterations=options.iterations,
            learning_rate=options.step_size,
            schemes=options.schemes,
            seed=options.seed,
            judge=_functional(options, count) if softness else None,
            report=progress,
            save=lambda best: run.save("best", best),
        )
    return run


def _shaken(policy: Policy, seed: int) -> Tensor:
    """Random steps (S, R, A), none for the first set."""
    generator = torch.Generator().manual_seed(seed)
    steps = INITIAL_SCALE * torch.randn(policy.table.shape, generator=generator)
    steps[0] = 0.0
    return steps


def _found(path: Path, policy: Policy, kind: str) -> Tensor:
    """The table (1, R, A) of a run's best parameters, in the shape of a policy's sets.

    Raises:
        RunError: no such run, or one of another policy.
    """
    run = Run(path)
    if run.config.get("policy") != kind:
        raise RunError(f"{path} holds no {kind}; take a run of the same policy")
    found = run.load("best")
    wanted = {name: value.shape[1:] for name, value in policy.state_dict().items()}
    shapes = {name: value.shape[1:] for name, value in found.items()}
    if shapes != wanted:
        raise RunError(f"the best of {path} has the shapes {shapes}, wanted are {wanted}")
    rows = [found[name].reshape(1, -1, policy.table.shape[2]) for name in wanted]
    return torch.cat(rows, dim=1)


# ------------------------------------------------------------------------------- samples


def _sample(options: Optimise) -> Run:
    lone = _lone_policy(options)
    sampler = _sampler(options, (lone.table.shape[1], lone.table.shape[2]), lone.bound)
    if options.initial is not None:
        sampler.centre(_found(options.initial, lone, options.policy)[0])
    functional = _functional(options, sampler.most + 1)
    check_schemes(options.schemes, functional.task)
    policy = make_policy(options.policy, functional.task, functional.num_envs, knots=options.knots)
    run = Run.create("optimise", options, options.seed)
    with Progress(run, options.iterations) as progress:
        sample(
            functional,
            policy.to(functional.device),
            sampler,
            iterations=options.iterations,
            schemes=options.schemes,
            seed=options.seed,
            judge=_functional(options, 1),
            report=progress,
            save=lambda best: run.save("best", best),
        )
    return run


def _lone_policy(options: Optimise) -> Policy:
    """One set of what is searched; it says how large a table is, before anything is simulated."""
    task = load_task(face_of(options.id)["task"], size=options.size)
    return make_policy(options.policy, task, 1, options.seed, options.knots)


def _sampler(options: Optimise, shape: tuple[int, int], bound: float) -> Sampler:
    settings = options.sampling.given()
    if options.population is not None:
        settings["population"] = options.population
    if options.method == "icem":
        # Populations shrink within the search of a step; those of an episode's plan all fill the
        # batch, whose environments cost the same whether they are needed or not.
        settings["iterations"] = options.iterations if options.receding else 1
    return make_sampler(
        options.method,
        shape,
        settings,
        low=-bound,
        high=bound,
        seed=options.seed,
        device=resolve_device(options.device),
    )


# ------------------------------------------------------------------------------- receding horizon


@torch.no_grad()
def _recede(options: Optimise) -> Run:
    """Play one episode; the actions taken are the plan that is saved."""
    lone = _lone_policy(options)
    shape = options.receding, lone.table.shape[2]

    def fresh() -> Sampler:
        return _sampler(options, shape, lone.bound)

    trials = Trials(
        _functional(options, fresh().most), schemes=options.schemes, steps=options.receding
    )
    stage = _functional(options, 1)
    check_schemes(options.schemes, stage.task)
    if options.receding > stage.task.horizon:
        raise ConfigurationError(
            f"receding = {options.receding} must be at most the horizon, {stage.task.horizon}"
        )
    player = Receding(fresh, trials, options.iterations)
    run = Run.create("optimise", options, options.seed)
    done = torch.zeros_like(lone.table)
    total, success = 0.0, False
    with Progress(run, stage.task.horizon, "return_so_far") as progress:
        for step in episode(stage, player, options.seed):
            if bool(step.after.failed):
                tqdm.write(f"step {step.t} broke: the episode ends there")
                break
            done[:, step.t] = step.action
            total += float(step.reward)
            success = success or bool(stage.success(step.after))
            run.save("best", {"actions": done})
            progress(
                {
                    "iteration": step.t,
                    "step": trials.simulated,
                    "return_so_far": total,
                    "success_best": float(success),
                }
            )
            if bool(stage.terminal(step.after)):
                break
    return run


class Progress(AbstractContextManager["Progress"]):
    """Writes rows into a run and shows a bar.

    Args:
        run: that is written into.
        total: rows that there will be.
        shown: column of the return that the bar has.
    """

    def __init__(self, run: Run, total: int, shown: str = "return_best") -> None:
        self.run, self.shown, self.began = run, shown, time.perf_counter()
        self.bar = tqdm(total=total, desc="optimise", unit="it")

    def __call__(self, row: dict[str, float]) -> None:
        """One iteration, or step, is done."""
        self.run.write_metrics([{**row, "seconds": time.perf_counter() - self.began}])
        found = {self.shown.removeprefix("return_"): f"{row[self.shown]:.1f}"}
        self.bar.set_postfix(found | {"success": bool(row["success_best"])})
        self.bar.update()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()
