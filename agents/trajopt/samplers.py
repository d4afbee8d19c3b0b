"""Samplers: plans by trial, the population being the batch. CEM, iCEM and MPPI."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from agents.train_options import check_range
from simenv.errors import ConfigurationError, expect_shape, require_count


class Sampler(ABC):
    """Asks for the costs of plans, and is told them.

    Args:
        steps: T.
        actions: A.
        low: least action.
        high: greatest action.
        seed: of the draws.
        device: where plans live.

    Attributes:
        mean: what is searched around, (T, A).
        population: N, how many plans are asked for.
        best: the plan (T, A) of the least cost since the last `shift`; None before the first
            `tell`.
        best_cost: its cost.
    """

    mean: Tensor
    population: int

    def __init__(
        self,
        steps: int,
        actions: int,
        *,
        low: float = -1.0,
        high: float = 1.0,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        require_count("steps", steps)
        require_count("actions", actions)
        if not low < high:
            raise ConfigurationError(f"low = {low} must be below high = {high}")
        self.shape, self.low, self.high, self.device = (steps, actions), low, high, device
        self.generator = torch.Generator(device).manual_seed(seed)
        self.best: Tensor | None = None
        self.best_cost = math.inf
        self._asked = torch.empty(0, device=device)

    @property
    def most(self) -> int:
        """The most plans that are ever asked for at once."""
        return self.population

    def ask(self) -> Tensor:
        """Plans (N, T, A) whose costs are wanted."""
        self._asked = self.propose().clamp(self.low, self.high)
        return self._asked

    def tell(self, costs: Tensor) -> None:
        """Learn from the costs (N,) of what was asked last; one that is not finite is the worst.

        Where none is finite there is nothing to learn: what is asked next is drawn anew, as before.

        Raises:
            ShapeError: another number of costs.
        """
        expect_shape("costs", costs.shape, (len(self._asked),))
        costs = costs.detach().to(self.device, torch.float64)
        costs = costs.masked_fill(~torch.isfinite(costs), math.inf)
        least = int(costs.argmin())
        if math.isinf(float(costs[least])):
            self.redraw()
            return
        if float(costs[least]) < self.best_cost:
            self.best, self.best_cost = self._asked[least].clone(), float(costs[least])
        self.learn(self._asked, costs)

    @abstractmethod
    def propose(self) -> Tensor:
        """Plans (N, T, A), which are clipped to the bounds."""

    @abstractmethod
    def learn(self, plans: Tensor, costs: Tensor) -> None:
        """Change what is proposed next, by plans (N, T, A) and their costs (N,), some finite."""

    @property
    @abstractmethod
    def plan(self) -> Tensor:
        """What to do by the present state of the search, (T, A)."""

    @abstractmethod
    def centre(self, plan: Tensor) -> None:
        """Begin anew around a plan (T, A), with the spread of the start."""

    def redraw(self) -> None:  # noqa: B027 - a hook, which most do not need
        """See to it that other plans are asked next; nothing to do where `propose` draws."""

    def shift(self) -> None:
        """Go on one step later: what was planned for a step is now planned for the one before."""
        self.best, self.best_cost = None, math.inf
        self.centre(later(self.mean))

    def noise(self, count: int) -> Tensor:
        """Standard normal draws (count, T, A)."""
        return torch.randn((count, *self.shape), generator=self.generator, device=self.device)


class AroundMean(Sampler):
    """Base of the samplers that draw around a mean.

    Args:
        steps: see `Sampler`.
        actions: see there.
        population: N.
        std: σ of the draws at first, in half-ranges of the actions.
        bounds: everything else that `Sampler` takes.
    """

    def __init__(
        self, steps: int, actions: int, population: int, std: float, **bounds: float
    ) -> None:
        super().__init__(steps, actions, **bounds)  # type: ignore[arg-type]
        require_count("population", population)
        self.population, self.start_std = population, 0.5 * (self.high - self.low) * std
        middle = 0.5 * (self.high + self.low)
        self.centre(torch.full(self.shape, middle, device=self.device))

    @property
    def plan(self) -> Tensor:
        """The mean."""
        return self.mean

    def propose(self) -> Tensor:
        """Draws of the normal."""
        return self.mean + self.std * self.noise(self.population)

    def centre(self, plan: Tensor) -> None:
        """Draw around it, with the deviation of the start."""
        self.mean = plan.to(self.device, torch.float32).clone()
        self.std = torch.full(self.shape, self.start_std, device=self.device)


class CEM(AroundMean):
    """Cross-entropy method: a normal around the plans, moved to the best of its draws.

    Args:
        steps: see `Sampler`.
        actions: see there.
        population: N.
        elites: K, draws that it is moved to.
        initial_std: σ₀, in half-ranges of the actions.
        smoothing: share of mean and deviation that is kept.
        bounds: everything else that `Sampler` takes.
    """

    def __init__(
        self,
        steps: int,
        actions: int,
        *,
        population: int = 100,
        elites: int = 10,
        initial_std: float = 0.5,
        smoothing: float = 0.1,
        **bounds: float,
    ) -> None:
        super().__init__(steps, actions, population, initial_std, **bounds)
        require_count("elites", elites)
        if elites > population:
            raise ConfigurationError(
                f"elites = {elites} must be at most population = {population}; give fewer of them, "
                "or a larger population"
            )
        check_range("initial_std", initial_std, above=0.0)
        check_range("smoothing", smoothing, at_least=0.0, below=1.0)
        self.elites, self.smoothing = elites, smoothing

    def learn(self, plans: Tensor, costs: Tensor) -> None:
        """Move mean and deviation to those of the elites."""
        elite = plans[best_of(costs, self.elites)]
        self.mean = self.smoothing * self.mean + (1 - self.smoothing) * elite.mean(dim=0)
        spread = elite.std(dim=0, correction=0)
        self.std = self.smoothing * self.std + (1 - self.smoothing) * spread


class ICEM(CEM):
    """Improved cross-entropy method (Pinneri et al., CoRL 2020, arXiv:2008.06389).

    Noise is coloured in time, populations shrink from one iteration to the next, some elites stay,
    also into the next step, and the mean is among the draws of the last iteration.

    Args:
        steps: see `Sampler`.
        actions: see there.
        population: N of the first iteration, at least 2 K.
        elites: K.
        color: β of the noise, whose power falls as 1/f^β.
        decay: factor by which populations shrink, down to 2 K.
        keep: share of the elites that stays.
        iterations: of a search, after which populations are large again.
        options: everything else that `CEM` takes.
    """

    _iteration: int

    def __init__(
        self,
        steps: int,
        actions: int,
        *,
        population: int = 40,
        elites: int = 10,
        color: float = 3.0,
        decay: float = 1.25,
        keep: float = 0.3,
        iterations: int = 3,
        **options: float,
    ) -> None:
        super().__init__(steps, actions, population=population, elites=elites, **options)
        check_range("color", color, at_least=0.0)
        check_range("decay", decay, at_least=1.0)
        check_range("keep", keep, at_least=0.0, at_most=1.0)
        require_count("iterations", iterations)
        if population < 2 * elites:
            raise ConfigurationError(
                f"population = {population} must be at least twice elites = {elites}, below which "
                "iCEM's do not shrink; give fewer elites, or a larger population"
            )
        self.color, self.decay, self.keep, self.iterations = color, decay, keep, iterations

    @property
    def plan(self) -> Tensor:
        """The best plan seen, where there is one."""
        return self.mean if self.best is None else self.best

    @property
    def most(self) -> int:
        """With the elites that stay, and the mean."""
        return self.population + int(self.keep * self.elites) + 1

    def propose(self) -> Tensor:
        """Draws, elites that stayed, and in the last iteration the mean."""
        count = max(round(self.population / self.decay**self._iteration), 2 * self.elites)
        parts = [self.mean + self.std * self.noise(count), self._kept]
        if self._iteration == self.iterations - 1:
            parts.append(self.mean[None])
        return torch.cat(parts)

    def noise(self, count: int) -> Tensor:
        """Coloured draws (count, T, A) of unit variance."""
        white = super().noise(count)
        return colored(white, self.color)

    def learn(self, plans: Tensor, costs: Tensor) -> None:
        """As CEM, keeping a share of the elites for the next population."""
        super().learn(plans, costs)
        share = int(self.keep * self.elites)
        self._kept = plans[best_of(costs, share)]
        self._iteration = (self._iteration + 1) % self.iterations

    def centre(self, plan: Tensor) -> None:
        """As CEM, with a large population and no elites."""
        super().centre(plan)
        self._iteration, self._kept = 0, self.mean[None][:0]

    def shift(self) -> None:
        """One step later, the elites that stayed as well, their last action drawn anew."""
        kept = self._kept
        super().shift()
        last = self.mean[-1] + self.std[-1] * super().noise(len(kept))[:, -1]
        self._kept = torch.cat([kept[:, 1:], last[:, None]], dim=1)


class MPPI(AroundMean):
    """Model predictive path integral control: draws around a plan, averaged by their costs.

    wₖ ∝ exp(−(Cₖ − min C) / λ), μ ← Σ wₖ Uₖ (Williams et al., ICRA 2017).

    Args:
        steps: see `Sampler`.
        actions: see there.
        population: N.
        temperature: λ, in units of the cost.
        std: σ of the draws, in half-ranges of the actions.
        bounds: everything else that `Sampler` takes.
    """

    def __init__(
        self,
        steps: int,
        actions: int,
        *,
        population: int = 400,
        temperature: float = 1.0,
        std: float = 0.75,
        **bounds: float,
    ) -> None:
        super().__init__(steps, actions, population, std, **bounds)
        check_range("temperature", temperature, above=0.0)
        check_range("std", std, above=0.0)
        self.temperature = temperature

    def learn(self, plans: Tensor, costs: Tensor) -> None:
        """Average the plans by their weights."""
        weights = torch.softmax(-costs / self.temperature, dim=0).to(plans.dtype)
        self.mean = torch.einsum("n,nta->ta", weights, plans)


def best_of(costs: Tensor, count: int) -> Tensor:
    """Indices of the least costs (N,), at most so many; none that is infinite."""
    least = costs.argsort()[:count]
    return least[torch.isfinite(costs[least])]


def later(plan: Tensor) -> Tensor:
    """A plan (T, A) one step later: its last action stays."""
    return torch.cat([plan[1:], plan[-1:]])


def colored(white: Tensor, color: float) -> Tensor:
    """White noise (N, T, A) made to have the power 1/f^color, of unit variance.

    The mean over time has the power of the lowest frequency, as in Timmer & König, "On generating
    power law noise", Astronomy & Astrophysics 300 (1995).
    """
    steps = white.shape[1]
    if steps == 1 or color == 0.0:
        return white
    frequencies = torch.fft.rfftfreq(steps, device=white.device)
    frequencies[0] = frequencies[1]
    scale = frequencies ** (-color / 2)
    # Each frequency but the first and, of an even number, the last stands for two.
    twice = torch.full_like(scale, 2.0)
    twice[0] = 1.0
    if steps % 2 == 0:
        twice[-1] = 1.0
    scale = scale / torch.sqrt((twice * scale.square()).sum() / steps)
    spectrum = torch.fft.rfft(white, dim=1) * scale[:, None]
    return torch.fft.irfft(spectrum, n=steps, dim=1)
