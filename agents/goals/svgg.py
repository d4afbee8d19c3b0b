"""SVGG: goals of intermediate difficulty, held by particles (Castanet et al., arXiv:2206.06719)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agents.goals.adam import get_adam_state, set_adam_state
from agents.goals.memory import Memory
from agents.goals.sampler import Episode, GoalBox, GoalSampler
from agents.goals.success import SuccessPredictor
from agents.goals.svgd import stein_direction
from agents.goals.validity import OneClassSVM
from simenv.errors import ConfigurationError, require_count

PARTICLE_PERIOD, PREDICTOR_PERIOD, VALIDITY_PERIOD, ANNEALING_PERIOD = 50, 100, 1000, 5000
"""Environment steps between updates of particles, predictor and validity, and of a cycle."""
ANNEALED_SHARE = 0.2
"""Share of a cycle in which the particles only repel each other."""


def difficulty(logits: Tensor, a: float, b: float) -> Tensor:
    """Beta density f_{a,b}(D) = D^{a−1} (1 − D)^{b−1}/B(a, b) of log D/(1 − D), (...).

    From logarithms, since powers of a D that has run to 0 or 1 have no finite slope.
    """
    constant = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    log_product = (a - 1) * F.logsigmoid(logits) + (b - 1) * F.logsigmoid(-logits)
    return torch.exp(log_product - constant)


class SVGG(GoalSampler):
    """Stein variational goal generation.

    Particles follow p̃(g) ∝ exp(T f_{α,β}(D(g₀, g))) p_valid(g): goals that the agent reaches some
    of the time, where goals have been achieved at all. Goals of new episodes are particles drawn
    evenly. Until predictor and validity are ready, goals come evenly from the box.

    All models see the box as [−1, 1].

    Args:
        box: where goals are.
        num_particles: m.
        temperature: T.
        alpha: α of the Beta density.
        beta: β of the Beta density.
        particle_steps: steps of Stein variational gradient descent per update of the particles.
        particle_learning_rate: of Adam on the particles, in half box widths.
        hidden: widths of the success predictor's layers.
        learning_rate: of the predictor.
        weight_decay: of the predictor.
        nu: ν of the one-class support vector machine.
        gamma: γ of its kernel, in half box widths.
        recent_episodes: episodes that the predictor learns from.
        batch_episodes: episodes in each of its gradient steps, and the least to start with.
        predictor_steps: its gradient steps per update.
        validity_goals: achieved goals that validity is fitted to.
        kept_goals: achieved goals that these are drawn from, the latest ones.
        seed: of all draws and initial weights.

    Raises:
        ConfigurationError: an option outside its bounds.
    """

    def __init__(
        self,
        box: GoalBox,
        *,
        num_particles: int = 200,
        temperature: float = 10.0,
        alpha: float = 2.0,
        beta: float = 3.0,
        particle_steps: int = 5,
        particle_learning_rate: float = 0.005,
        hidden: Sequence[int] = (64, 64),
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        nu: float = 0.05,
        gamma: float = 10.0,
        recent_episodes: int = 100,
        batch_episodes: int = 50,
        predictor_steps: int = 50,
        validity_goals: int = 2000,
        kept_goals: int = 50_000,
        seed: int = 0,
    ) -> None:
        for name, count in (
            ("num_particles", num_particles),
            ("particle_steps", particle_steps),
            ("batch_episodes", batch_episodes),
            ("predictor_steps", predictor_steps),
            ("validity_goals", validity_goals),
        ):
            require_count(name, count)
        if min(alpha, beta) < 1.0:
            raise ConfigurationError(
                f"alpha = {alpha} and beta = {beta} must be at least 1, for a finite density"
            )
        self.box, self.temperature, self.alpha, self.beta = box, temperature, alpha, beta
        self.particle_steps = particle_steps
        self.batch_episodes, self.predictor_steps = batch_episodes, predictor_steps
        self.validity_goals = validity_goals
        self.memory = Memory(box.num_goals, recent_episodes, kept_goals)
        self.predictor = SuccessPredictor(
            box.num_goals,
            hidden=hidden,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            seed=seed,
        )
        self.validity = OneClassSVM(nu=nu, gamma=gamma)
        self.particles = torch.zeros(num_particles, box.num_goals)
        self._optimizer = torch.optim.Adam([self.particles], lr=particle_learning_rate)
        self._rng = np.random.default_rng(seed)
        self._steps, self._fitted, self._placed = 0, False, False

    # ------------------------------------------------------------------ the four verbs

    def draw(self, count: int) -> np.ndarray:
        """Goals (count, G): particles, or points of the box before there are any."""
        if not self._placed:
            return self._rng.uniform(self.box.low, self.box.high, (count, self.box.num_goals))
        rows = self._rng.integers(len(self.particles), size=count)
        return self.box.from_unit(self.particles[rows].numpy().astype(np.float64))

    def observe(self, episode: Episode) -> None:
        """Keep an episode."""
        units = [self.box.to_unit(goal) for goal in episode[:3]]
        self.memory.add(units[0], units[1], units[2], episode.success)

    def advance(self, steps: int) -> None:
        """Do what falls due: a period that passed several times over is served once."""
        before, self._steps = self._steps, self._steps + steps
        if self._passed(before, VALIDITY_PERIOD) and self.memory.num_goals:
            self.validity.fit(self.memory.draw_goals(self._rng, self.validity_goals))
        if (
            self._passed(before, PREDICTOR_PERIOD)
            and self.memory.num_episodes >= self.batch_episodes
        ):
            self.fit_predictor()
        if self._passed(before, PARTICLE_PERIOD) and self._fitted and self.validity.ready:
            self._place()
            self.move(self.annealing)

    @property
    def annealing(self) -> float:
        """0 in the first fifth of a cycle of 5000 steps, else 1."""
        return float(self._steps % ANNEALING_PERIOD >= ANNEALED_SHARE * ANNEALING_PERIOD)

    def get_state(self) -> dict[str, Any]:
        """Models, particles, memory, counters and generator."""
        return {
            "predictor": self.predictor.get_state(),
            "validity": self.validity.get_state(),
            "memory": self.memory.get_state(),
            "particles": self.particles.clone(),
            "optimizer": get_adam_state(self._optimizer),
            "generator": self._rng.bit_generator.state,
            "counters": {"steps": self._steps, "fitted": self._fitted, "placed": self._placed},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.predictor.set_state(state["predictor"])
        self.validity.set_state(state["validity"])
        self.memory.set_state(state["memory"])
        self.particles.copy_(torch.as_tensor(state["particles"]))
        set_adam_state(self._optimizer, state["optimizer"])
        self._rng.bit_generator.state = state["generator"]
        self._steps, self._fitted, self._placed = (
            state["counters"][name] for name in ("steps", "fitted", "placed")
        )

    # ------------------------------------------------------------------ the models

    def fit_predictor(self) -> float:
        """Gradient steps of the success predictor on recent episodes; the mean loss."""
        losses = []
        for _ in range(self.predictor_steps):
            batch = self.memory.draw_episodes(self._rng, self.batch_episodes)
            losses.append(self.predictor.fit(*map(torch.from_numpy, batch)))
        self._fitted = True
        return float(np.mean(losses))

    def log_target(self, particles: Tensor, initial: Tensor) -> Tensor:
        """T f_{α,β}(D(g₀, g)) + log p_valid(g), (m,), of goals (m, G) from a start g₀ (G,)."""
        logits = self.predictor.logits(initial.expand_as(particles), particles)
        hard = difficulty(logits, self.alpha, self.beta)
        return self.temperature * hard + self.validity.log_validity(particles)

    def scores(self) -> Tensor:
        """∇log p̃ at each particle, (m, G), from the mean start of recent episodes."""
        initial = torch.from_numpy(self.memory.mean_initial()).to(self.particles)
        points = self.particles.clone().requires_grad_()
        log_target = self.log_target(points, initial).sum()
        return torch.autograd.grad(log_target, points)[0]

    def move(self, annealing: float = 1.0) -> None:
        """Stein variational gradient descent by Adam; the box holds the particles back."""
        for _ in range(self.particle_steps):
            scores = annealing * self.scores()
            self.particles.grad = -stein_direction(self.particles, scores)
            self._optimizer.step()
            self.particles.clamp_(-1.0, 1.0)

    def _place(self) -> None:
        """Particles start where goals have been achieved."""
        if not self._placed:
            goals = self.memory.draw_goals(self._rng, len(self.particles))
            self.particles.copy_(torch.from_numpy(goals).clamp(-1.0, 1.0))
            self._placed = True

    def _passed(self, before: int, period: int) -> bool:
        return self._steps // period > before // period
