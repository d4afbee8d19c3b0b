"""CMA-ES, by the package `cma`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.train_options import check_range
from agents.trajopt.samplers import Sampler
from simenv.errors import ConfigurationError, require_count

DIAGONAL_ABOVE = 50
"""Numbers of a plan above which the covariance is kept diagonal: a full one would cost too much."""


class CMAES(Sampler):
    """Covariance matrix adaptation (Hansen, "The CMA evolution strategy: a tutorial", 2016).

    Args:
        steps: see `Sampler`.
        actions: see there.
        population: N; None: 4 + ⌊3 ln(TA)⌋, as the package has it.
        initial_std: σ₀.
        bounds: everything else that `Sampler` takes.
    """

    def __init__(
        self,
        steps: int,
        actions: int,
        *,
        population: int | None = None,
        initial_std: float = 0.5,
        **bounds: Any,
    ) -> None:
        super().__init__(steps, actions, **bounds)
        if population is not None:
            require_count("population", population)
            if population < 3:
                raise ConfigurationError(f"population = {population} must be at least 3")
        check_range("initial_std", initial_std, above=0.0)
        size = steps * actions
        self.population = population or 4 + int(3 * math.log(size))
        self.initial_std = initial_std
        middle = 0.5 * (self.low + self.high) if math.isfinite(self.high - self.low) else 0.0
        self._random = np.random.default_rng(self.generator.initial_seed())
        self.centre(torch.full(self.shape, middle))

    def centre(self, plan: Tensor) -> None:
        """A fresh search around it."""
        import cma

        self.mean = plan.cpu().double()
        size = self.mean.numel()
        options = {
            # Its own draws would be numpy's global ones.
            "randn": lambda *shape: self._random.standard_normal(shape),
            "seed": math.nan,
            "verbose": -9,
            "CMA_diagonal": size > DIAGONAL_ABOVE,
            # Ends are the caller's business.
            "tolfun": 0.0,
            "tolx": 0.0,
            "tolstagnation": math.inf,
            "tolflatfitness": math.inf,
            "popsize": self.population,
        }
        start = self.mean.flatten().tolist()
        self._strategy = cma.CMAEvolutionStrategy(start, self.initial_std, options)
        self._drawn: list[Any] = []

    @property
    def plan(self) -> Tensor:
        """The mean of the distribution."""
        return self.mean.to(self.device, torch.float32)

    def propose(self) -> Tensor:
        """Draws."""
        self._drawn = self._strategy.ask()
        flat = torch.as_tensor(np.stack(self._drawn), dtype=torch.float32, device=self.device)
        return flat.reshape(-1, *self.shape)

    def learn(self, plans: Tensor, costs: Tensor) -> None:
        """Tell the package; draws that were clipped count as drawn, farther out a little dearer."""
        drawn = torch.as_tensor(np.stack(self._drawn), dtype=torch.float64)
        excess = (drawn - drawn.clamp(self.low, self.high)).square().sum(dim=1)
        costs = costs.cpu()
        known = costs[torch.isfinite(costs)]
        # In units of the costs, so that the mean does not wander off where nothing pulls it back,
        # and no scale of the costs changes the search; only the order counts where all are equal.
        unit = float(known.std(correction=0)) or 1.0
        told = costs.where(torch.isfinite(costs), known.max() + unit) + unit * excess
        self._strategy.tell(self._drawn, told.tolist())
        self.mean = torch.as_tensor(self._strategy.mean, dtype=torch.float64).reshape(self.shape)
