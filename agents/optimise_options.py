"""Options of `simenv optimise`. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes, Positional

from agents.options import check_bounds
from agents.schemes import Schemes
from simenv.errors import ConfigurationError

Method = Literal["adam", "lbfgs", "cem", "icem", "mppi", "cmaes", "cbo"]
Kind = Literal["gait", "open-loop", "plan", "feedback"]
TIMED: tuple[Kind, ...] = ("open-loop", "plan")
"""Actions in time: worth something from the one start that they were made for."""
GRADIENT = ("adam", "lbfgs")
"""Methods that go by gradients through the simulator; the others sample."""
LEARNING_RATE = 0.1
"""Their step size, if none is given."""


@dataclass(frozen=True)
class Sampling:
    """Settings of samplers. What is not given is as the method has it; not every one has all."""

    elites: int | None = None
    """cem, icem: candidates that the distribution is moved to (10)."""
    smoothing: float | None = None
    """cem, icem: share of mean and deviation that is kept (0.1)."""
    initial_std: float | None = None
    """cem, icem: first deviation, in half-ranges of the parameters (0.5); cmaes, cbo: in theirs."""
    color: float | None = None
    """icem: exponent of the noise, whose power falls as 1/f^color (3)."""
    decay: float | None = None
    """icem with --receding: factor by which populations shrink within a step's search (1.25)."""
    keep: float | None = None
    """icem: share of the elites that stays (0.3)."""
    temperature: float | None = None
    """mppi: λ, in units of the return (1)."""
    std: float | None = None
    """mppi: deviation in half-ranges of the parameters (0.75)."""
    drift: float | None = None
    """cbo: λ (1)."""
    diffusion: float | None = None
    """cbo: σ (8)."""
    inverse_temperature: float | None = None
    """cbo: α, in units of 1 / return (100)."""
    time_step: float | None = None
    """cbo: Δt (0.01)."""
    noise_kind: Literal["anisotropic", "isotropic"] | None = None
    """cbo: noise of each coordinate's own size, or of the same in all (anisotropic)."""

    def given(self) -> dict[str, Any]:
        """What was set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Optimise:
    """Optimise control from one start: by gradients through the simulator, or by trial in it."""

    id: Positional[str]
    """Task id, for example simenv/SoftWalker2D-v0."""
    method: Method = "adam"
    """adam and lbfgs follow gradients; the others sample, their population being the batch."""
    policy: Kind = "gait"
    """What is optimised: a periodic gait, one action per step through a tanh (open-loop) or clipped
    (plan; so it is with --receding), or linear feedback of the observation."""
    knots: int = 0
    """Of open-loop and plan: rows in time, between which actions are linear; 0: one per step."""
    iterations: int = 60
    """Gradient iterations, or populations tried; with --receding, in every step."""
    population: int | None = None
    """Parameter sets in the batch: of a gradient independent random ones (4), of a sampler its
    candidates (as the method has it)."""
    learning_rate: float | None = None
    """Adam's step size, or of lbfgs the largest change of a parameter in the first step (0.1)."""
    receding: int = 0
    """Receding horizon of a sampler: at every step, plan so many steps and take the first; 0: one
    plan for the episode."""
    initial: Path | None = None
    """Begin at the best parameters of this run of the same policy, not at random ones."""
    schemes: OmitArgPrefixes[Schemes] = field(default_factory=Schemes)
    """Switches of the optimisation."""
    sampling: OmitArgPrefixes[Sampling] = field(default_factory=Sampling)
    """Settings of samplers."""
    seed: int = 0
    """Seed of the initial parameters and of the start state."""
    size: str = "small"
    """Task size: small or full."""
    device: str = "cpu"
    """cpu, cuda:0 or auto."""
    out: Path | None = None
    """Run folder; default runs/<task>-optimise-<seed>."""

    def __post_init__(self) -> None:
        check_bounds(self, iterations=1, seed=0, knots=0, receding=0)
        if self.population is not None:
            check_bounds(self, population=1)
        if self.method in GRADIENT:
            self._check_gradient()
        else:
            self._check_sampler()

    def _check_gradient(self) -> None:
        if self.receding:
            raise ConfigurationError(
                f"receding = {self.receding} wants a method that samples, such as icem; "
                f"{self.method} follows gradients"
            )
        if given := sorted(self.sampling.given()):
            raise ConfigurationError(f"{given} are settings of samplers; {self.method} has none")

    def _check_sampler(self) -> None:
        self.schemes.require_no_gradients(self.method)
        if self.learning_rate is not None:
            raise ConfigurationError(
                f"learning_rate = {self.learning_rate:g} is a step size along gradients, and "
                f"{self.method} uses none; leave it out"
            )
        if self.receding:
            self._check_receding()
        several = self.receding and self.iterations > 1
        if self.method == "icem" and not several and self.sampling.decay is not None:
            raise ConfigurationError(
                f"decay = {self.sampling.decay:g} shrinks the populations of one step's search, "
                f"which takes receding and iterations of at least 2; these are {self.receding} and "
                f"{self.iterations}: leave decay out, or give both"
            )

    def _check_receding(self) -> None:
        if self.policy not in ("gait", "plan") or self.knots:
            raise ConfigurationError(
                f"a receding horizon plans an action per step; leave out policy = {self.policy!r} "
                f"and knots = {self.knots}"
            )
        if self.initial is not None:
            raise ConfigurationError("a receding horizon begins with no plan; leave out initial")
        if not self.schemes.keep_best:
            raise ConfigurationError(
                "a receding horizon keeps the actions that it took, whether keep_best or not; "
                "leave it out"
            )

    @property
    def step_size(self) -> float:
        """Of a gradient."""
        return LEARNING_RATE if self.learning_rate is None else self.learning_rate

    def resolved(self) -> Optimise:
        """With the policy that a receding horizon leaves, and what a gradient has by itself."""
        if self.method in GRADIENT:
            schemes = self.schemes.of_method(self.method)
            return replace(self, schemes=schemes, learning_rate=self.step_size)
        return replace(self, policy="plan") if self.receding else self
