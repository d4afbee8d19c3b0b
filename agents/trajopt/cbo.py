"""Consensus-based optimisation: particles drift to a weighted mean, shaken by their distance."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from agents.train_options import check_range
from agents.trajopt.samplers import Sampler
from simenv.errors import require_count, require_one_of

Noise = Literal["anisotropic", "isotropic"]


class CBO(Sampler):
    """Consensus-based optimisation (Pinnau et al. 2017; Carrillo et al. 2021 for its noise).

    xᵢ ← xᵢ − λ (xᵢ − m) Δt + σ √Δt |xᵢ − m| ⊙ N(0, I), with the consensus
    m = Σ e^(−α C(xᵢ)) xᵢ / Σ e^(−α C(xᵢ)); isotropic noise has the norm ‖xᵢ − m‖ in the place of
    the components' sizes. "Gradient is all you need?" (arXiv:2306.09778) reads m as a step of
    gradient descent.

    Args:
        steps: see `Sampler`.
        actions: see there.
        population: N, particles.
        drift: λ.
        diffusion: σ.
        inverse_temperature: α.
        time_step: Δt.
        noise_kind: "anisotropic" or "isotropic"; the latter wants a smaller σ.
        initial_mean: of the particles' coordinates.
        initial_std: of the same.
        low: least coordinate; none by default.
        high: greatest; none by default.
        seed: of the draws.
        device: where particles live.
    """

    def __init__(
        self,
        steps: int,
        actions: int,
        *,
        population: int = 100,
        drift: float = 1.0,
        diffusion: float = 8.0,
        inverse_temperature: float = 100.0,
        time_step: float = 0.01,
        noise_kind: Noise = "anisotropic",
        initial_mean: float = 0.0,
        initial_std: float = 0.5,
        low: float = -math.inf,
        high: float = math.inf,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(steps, actions, low=low, high=high, seed=seed, device=device)
        require_count("population", population)
        positive = {
            "drift": drift,
            "inverse_temperature": inverse_temperature,
            "time_step": time_step,
            "initial_std": initial_std,
        }
        for name, value in positive.items():
            check_range(name, value, above=0.0)
        check_range("diffusion", diffusion, at_least=0.0)
        check_range("initial_mean", initial_mean)
        require_one_of("noise_kind", noise_kind, get_args(Noise))
        self.drift, self.diffusion, self.time_step = drift, diffusion, time_step
        self.inverse_temperature, self.noise_kind = inverse_temperature, noise_kind
        self.population, self.initial_std = population, initial_std
        self.centre(torch.full(self.shape, initial_mean, device=self.device))

    @property
    def plan(self) -> Tensor:
        """The consensus."""
        return self.mean

    def propose(self) -> Tensor:
        """The particles."""
        return self.particles

    def learn(self, plans: Tensor, costs: Tensor) -> None:
        """Move the particles."""
        # A softmax, so that no weight underflows where all costs are large.
        weights = torch.softmax(-self.inverse_temperature * costs, dim=0).to(plans.dtype)
        self.mean = torch.einsum("n,nta->ta", weights, plans)
        away = plans - self.mean
        size = away.abs()
        if self.noise_kind == "isotropic":
            size = away.flatten(1).norm(dim=1)[:, None, None]
        shake = self.diffusion * math.sqrt(self.time_step) * size * self.noise(len(plans))
        self.particles = plans - self.drift * self.time_step * away + shake

    def redraw(self) -> None:
        """Particles that stayed where all of them failed would fail again: spread them anew."""
        self.centre(self.mean)

    def centre(self, plan: Tensor) -> None:
        """Spread the particles about it."""
        plan = plan.to(self.device, torch.float32)
        self.particles = plan + self.initial_std * self.noise(self.population)
        self.mean = plan.clone()
