"""Options of `simenv train` for agents that learn through the physics. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tyro.conf import Positional

from agents.imitation_options import TrainImitation
from agents.options import check_bounds
from agents.train_options import TrainRun, check_real, check_widths, require_betas
from simenv.errors import ConfigurationError


@dataclass(frozen=True)
class TrainFirstOrder(TrainRun):
    """What every algorithm has that learns by gradients through the simulator."""

    RUN: ClassVar[tuple[str, ...]] = (*TrainRun.RUN, "num_envs")

    id: Positional[str]
    """Task id of simenv, for example simenv/SoftWalker2D-v0."""
    num_envs: int = 64
    """Environments stepped together."""
    learning_rate: float = 2e-3
    """Step size of the policy."""
    final_learning_rate: float | None = 1e-5
    """Step sizes at the end, reached linearly."""
    net_arch: tuple[int, ...] = (128, 64, 32)
    """Hidden layers of the policy."""
    normalize: bool = True
    """Normalise observations by their running mean and deviation."""
    clip_adjoint: float = 0.0
    """Bound on the norm of the adjoint state of an environment's own sum at every step; 0: none."""
    clip_action: float = 0.0
    """Bound on the norm of its adjoint action; 0: none."""
    max_grad_norm: float = 1.0
    """Bound on the norm of a network's gradient."""
    size: str = "small"
    """Size of the task: small or full."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cost is not None:
            raise ConfigurationError("cost is for plain Gymnasium ids; a -Safe id has its own")
        check_bounds(self, num_envs=1)
        for name in ("learning_rate", "final_learning_rate", "max_grad_norm"):
            check_real(self, name, above=0.0)
        check_real(self, "clip_adjoint", at_least=0.0)
        check_real(self, "clip_action", at_least=0.0)
        check_widths(self)


@dataclass(frozen=True)
class TrainWindows(TrainFirstOrder):
    """What SHAC and SAPO have in common."""

    window: int = 32
    """Steps through which gradients flow."""
    gamma: float = 0.99
    """Discount."""
    reward_scale: float = 1.0
    """Rewards are learnt from as scale times reward."""
    td_lambda: float = 0.95
    """Parameter λ of the values' targets."""
    critic_learning_rate: float = 2e-3
    """Step size of the values."""
    critic_arch: tuple[int, ...] = (64, 64)
    """Their hidden layers."""
    critic_epochs: int = 16
    """Passes over a window by which they are fitted."""
    critic_batches: int = 4
    """Mini-batches of a pass."""
    betas: tuple[float, float] = (0.7, 0.95)
    """Adam's decay rates."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, window=1, critic_epochs=1, critic_batches=1)
        check_real(self, "gamma", above=0.0, at_most=1.0)
        check_real(self, "reward_scale")
        check_real(self, "td_lambda", at_least=0.0, at_most=1.0)
        check_real(self, "critic_learning_rate", above=0.0)
        check_widths(self, "critic_arch")
        require_betas(self.betas)


@dataclass(frozen=True)
class TrainSHAC(TrainWindows):
    """Train short-horizon actor-critic, through the simulator."""

    target_share: float = 0.2
    """Share of the target values that is kept at each update."""
    initial_std: float = 0.3679
    """Deviation of the policy at first, before tanh."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "target_share", at_least=0.0, below=1.0)
        check_real(self, "initial_std", above=0.0)


@dataclass(frozen=True)
class TrainSAPO(TrainWindows):
    """Train soft analytic policy optimisation, through the simulator."""

    critic_learning_rate: float = 5e-4
    """Step size of the values."""
    max_grad_norm: float = 0.5
    """Bound on the norm of a network's gradient."""
    initial_temperature: float = 1.0
    """Temperature at first."""
    temperature_learning_rate: float = 5e-3
    """Step size of its logarithm."""
    target_entropy: float | None = None
    """Entropy that it aims at, below 0; default minus half the number of actions."""
    weight_decay: float = 0.01
    """Of AdamW."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "initial_temperature", above=0.0)
        check_real(self, "temperature_learning_rate", at_least=0.0)
        check_real(self, "target_entropy", below=0.0)
        check_real(self, "weight_decay", at_least=0.0)


@dataclass(frozen=True)
class TrainILD(TrainImitation, TrainFirstOrder):
    """Imitate a demonstration by matching its states, through the simulator."""

    num_envs: int = 16
    """Environments stepped together."""
    learning_rate: float = 1e-3
    """Step size of the policy."""
    net_arch: tuple[int, ...] = (512, 256)
    """Hidden layers of the policy."""
    normalize: bool = True
    """Standardise observations by the demonstration's."""
    clip_adjoint: float = 1.0
    """Bound on the norm of the adjoint state of an environment's own loss at every step; 0: none.
    """
    max_grad_norm: float = 0.3
    """Bound on the norm of the policy's gradient."""
    match: Literal["statistics", "features", "particles"] = "statistics"
    """What is matched: statistics of the bodies, the task's features, or some particles."""
    loss: Literal["chamfer", "pointwise"] = "chamfer"
    """Each state to the nearest of the demonstration and back, or to that of the same step."""
    kappa: float = 1.0
    """Weight of the way from the rollout to the demonstration."""
    reverse_discount: float = 1.0
    """Distances of states t steps before the end count this to the power of t."""
    state_weight: float = 1.0
    """Weight of the states' distance."""
    action_weight: float = 0.0
    """Weight of the actions' distance."""
    entropy_weight: float = 0.0
    """Weight of the policy's negative entropy."""
    squash: bool = False
    """The loss of an episode is the tanh of the weighted sum."""
    truncation: int = 10
    """Steps through which gradients flow; 0: all."""
    clip_action: float = 1.0
    """As clip-adjoint, of the adjoint action."""
    warmup: int = 1_000
    """Steps of behavioural cloning before the first update."""
    keep_best: bool = True
    """At the end, go back to the policy whose episodes had the lowest loss."""
    initial_std: float = 0.1
    """Deviation of the policy at first, before tanh."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, truncation=0, warmup=0)
        for name in ("kappa", "state_weight", "action_weight", "clip_action"):
            check_real(self, name, at_least=0.0)
        check_real(self, "reverse_discount", above=0.0, at_most=1.0)
        check_real(self, "entropy_weight")
        check_real(self, "initial_std", above=0.0)
