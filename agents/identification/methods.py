"""Ways to search for parameters: Adam and L-BFGS by gradients, CMA-ES and CBO by sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.identification.problem import Problem
from agents.identification.search import Report, Row, Search
from agents.train_options import check_range
from agents.trajopt.cbo import CBO
from agents.trajopt.cmaes import CMAES
from agents.trajopt.samplers import Sampler
from simenv.errors import ConfigurationError, SimenvError, require_count, require_one_of

BETAS = (0.8, 0.9)
"""Adam's decay rates: with β₂ = 0.999 the large gradients of the start are remembered too long."""
CBO_STEP: Mapping[str, Any] = {
    "drift": 1.0,
    "diffusion": 1.1,
    "time_step": 1.0,
    "inverse_temperature": 4.0,
}
"""Few and long steps, as trajectories are dear: x ← m + σ |x − m| N(0, 1), whose distance from m
falls typically by σ exp(E ln |N(0, 1)|) = 0.53 σ. The weights e^(−α ln error) are error^(−α)."""


class Settings(NamedTuple):
    """Options that the methods share, as `identify` explains them."""

    iterations: int
    learning_rate: float
    initial_std: float
    seed: int


@dataclass(frozen=True)
class Result:
    """What a search found.

    Attributes:
        values: best values by name.
        error: their error [m²].
        relative: their relative errors by name.
        history: a row for every batch of trajectories.
        steps: environment steps simulated, those in backward included.
        trajectories: sets of parameters that were tried.
        gradients: those among them that a gradient was taken of.
        skipped: those among them whose error or gradient was not finite.
    """

    values: dict[str, float]
    error: float
    relative: dict[str, float]
    history: list[Row]
    steps: int
    trajectories: int
    gradients: int
    skipped: int


def identify(
    problem: Problem,
    method: str = "adam",
    *,
    iterations: int = 60,
    start: Tensor | None = None,
    learning_rate: float = 0.1,
    initial_std: float = 0.8,
    seed: int = 0,
    report: Report | None = None,
) -> Result:
    """Search for the parameters that made a trajectory, in their logarithms and within bounds.

    Args:
        problem: such as `simenv.identification("MaterialID-Sand", segment=10)`; the samplers try
            as many sets at a time as it has environments, the others want one.
        method: one of `METHODS`.
        iterations: gradient evaluations at most, or populations of a sampler.
        start: values (K,) to start from; default the problem's.
        learning_rate: Adam's step size, which falls to zero by a cosine.
        initial_std: of the samplers' first population, in the logarithm.
        seed: of the samplers' draws.
        report: called with every row of the history.

    Raises:
        ConfigurationError: an option outside its bounds, or another number of environments.
        SimenvError: no trajectory had a finite error.

    Example:
        >>> result = identify(simenv.identification("MaterialID-Jelly", segment=10))
        >>> result.values["E"], result.relative["E"], result.gradients
    """
    require_one_of("method", method, METHODS)
    require_count("iterations", iterations)
    check_range("learning_rate", learning_rate, above=0.0)
    check_range("initial_std", initial_std, above=0.0)
    chosen = METHODS[method]
    if chosen.by_gradient and problem.num_envs != 1:
        raise ConfigurationError(f"{method} wants a problem with num_envs = 1")
    search = Search(problem, problem.start if start is None else start, report)
    chosen.run(search, Settings(iterations, learning_rate, initial_std, seed))
    search.require_found()
    return _result(search)


def _result(search: Search) -> Result:
    names = [parameter.name for parameter in search.problem.parameters]
    return Result(
        dict(zip(names, search.best.tolist(), strict=True)),
        search.best_error,
        search.relative(),
        search.history,
        search.steps,
        search.trajectories,
        search.gradients,
        search.skipped,
    )


# ------------------------------------------------------------------ by gradients


def adam(search: Search, settings: Settings) -> None:
    """Adam, whose step size falls by a cosine.

    Where error or gradient is not finite it goes back to where they last were and begins anew from
    there, with steps half as long.
    """
    point = search.start.clone().requires_grad_()
    optimiser, share = _fresh_adam(point), 1.0
    sound: tuple[Tensor, Tensor] | None = None
    for iteration in range(settings.iterations):
        at = point.detach().clone()
        if (found := search.slope(at)) is not None:
            sound = at, found[1]
        else:
            optimiser, share = _fresh_adam(point), 0.5 * share
        last, point.grad = _known(sound)
        cosine = 0.5 * (1.0 + math.cos(math.pi * iteration / settings.iterations))
        optimiser.param_groups[0]["lr"] = share * settings.learning_rate * cosine
        with torch.no_grad():
            point.copy_(last)
            optimiser.step()
            point.copy_(search.inside(point))


def _fresh_adam(point: Tensor) -> torch.optim.Adam:
    return torch.optim.Adam([point], betas=BETAS)


def _known(sound: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    if sound is None:
        raise SimenvError("error or gradient at the start is not finite; choose another start")
    return sound


class _Spent(Exception):
    """All evaluations have been made."""


class _NotFinite(Exception):
    """A line search met an error or gradient that is not finite."""


def lbfgs(search: Search, settings: Settings) -> None:
    """L-BFGS with a strong-Wolfe line search (torch's), on the error over that of the start.

    Beyond the bounds counts the error at the bounds and the squared distance to them. A line search
    that meets an error or gradient that is not finite is given up: it begins anew from the best
    logarithms, its first steps half as long.
    """
    descent = _Descent(search, settings.iterations)
    first_step = 1.0
    while True:
        optimiser = torch.optim.LBFGS(
            [descent.point],
            lr=first_step,
            max_iter=settings.iterations,
            max_eval=2 * settings.iterations,
            tolerance_grad=1e-9,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )
        try:
            optimiser.step(descent.loss)
            return
        except _Spent:
            return
        except _NotFinite:
            first_step *= 0.5
            descent.go_back()


class _Descent:
    """A point and its loss, as torch's optimisers want them."""

    def __init__(self, search: Search, evaluations: int) -> None:
        self.search, self.left = search, evaluations
        self.point = search.start.clone().requires_grad_()
        self.scale: float | None = None
        self.sound: tuple[Tensor, Tensor] | None = None
        self.least = math.inf

    def loss(self) -> float:
        """Loss at the point, whose gradient is set."""
        if self.left == 0:
            raise _Spent
        self.left -= 1
        at = self.point.detach().clone()
        inside = self.search.inside(at)
        found = self.search.slope(inside)
        if found is None:
            raise _NotFinite
        error, gradient = found
        if self.scale is None:
            self.scale = error or 1.0
        excess = at - inside
        self.point.grad = torch.where(excess == 0, gradient / self.scale, 2 * excess)
        if error < self.least:
            self.sound, self.least = (inside, gradient), error
        return error / self.scale + float(excess.square().sum())

    def go_back(self) -> None:
        """To the best logarithms so far."""
        with torch.no_grad():
            self.point.copy_(_known(self.sound)[0])


# ------------------------------------------------------------------ by sampling


def cmaes(search: Search, settings: Settings) -> None:
    """CMA-ES around the start; the population is the batch."""
    sampler = CMAES(
        1,
        len(search.start),
        population=search.problem.num_envs,
        initial_std=settings.initial_std,
        low=-torch.inf,
        high=torch.inf,
        seed=settings.seed,
    )
    _sample(search, sampler, settings.iterations)


def cbo(search: Search, settings: Settings) -> None:
    """Consensus-based optimisation around the start; the particles are the batch."""
    sampler = CBO(
        1,
        len(search.start),
        population=search.problem.num_envs,
        initial_std=settings.initial_std,
        seed=settings.seed,
        **CBO_STEP,
    )
    _sample(search, sampler, settings.iterations)


def _sample(search: Search, sampler: Sampler, iterations: int) -> None:
    """Plans are offsets from the start's logarithms, their costs logarithms of the error.

    Beyond the bounds counts the error at the bounds; the squared distance to them comes on top.
    """
    for _ in range(iterations):
        logs = search.start + sampler.ask()[:, 0].to(search.start)
        inside = search.inside(logs)
        errors = search.errors(inside)
        # The truth itself has no error, whose logarithm would not be finite.
        cost = errors.clamp(min=torch.finfo(errors.dtype).tiny).log()
        sampler.tell(cost + (logs - inside).square().sum(dim=1))


class Method(NamedTuple):
    """A way to search.

    Attributes:
        run: searches.
        population: sets of parameters that it tries at a time, unless told otherwise; None: it
            wants gradients, of one set at a time.
    """

    run: Callable[[Search, Settings], None]
    population: int | None = None

    @property
    def by_gradient(self) -> bool:
        """Whether it wants gradients."""
        return self.population is None


METHODS: Mapping[str, Method] = {
    "adam": Method(adam),
    "lbfgs": Method(lbfgs),
    "cmaes": Method(cmaes, 8),
    "cbo": Method(cbo, 16),
}
"""Of eight particles CBO loses too many."""
