"""Options of `simenv train` for agents that learn in a model. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self, get_args

from agents.offline.options import LOG_STD, TrainTargets, TrainValues
from agents.options import check_bounds
from agents.train_options import check_real
from simenv.errors import ConfigurationError, require_one_of
from simenv.registry import TASKS

if TYPE_CHECKING:
    from agents.offline.data import Source

Starts = Literal["any", "first"]
"""Observations that rollouts of OGSRL start from."""
CloneFrom = Literal["any", "cheap"]
"""Episodes that its policy is cloned from."""


@dataclass(frozen=True, kw_only=True)
class TrainModelBased(TrainValues):
    """What every algorithm has that learns in a model of the dynamics."""

    model_members: int = 7
    """Networks in the ensemble that is the model."""
    model_elites: int = 5
    """Of which so many make predictions."""
    model_widths: tuple[int, ...] = (200, 200, 200, 200)
    """Their hidden layers."""
    model_learning_rate: float = 1e-3
    """Adam's step size in the fit of the model."""
    model_batch_size: int = 256
    """Rows of a step of the fit."""
    model_patience: int = 5
    """Epochs without improvement that end the fit."""
    model_max_epochs: int | None = None
    """Epochs that end it in any case; default no bound."""
    termination: str = "auto"
    """Where episodes end in the model: auto, never, learnt, or a rule such as Hopper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, model_members=1, model_elites=1, model_batch_size=1, model_patience=1)
        if self.model_elites > self.model_members:
            raise ConfigurationError(
                f"model_elites = {self.model_elites} must be at most model_members = "
                f"{self.model_members}"
            )
        if self.model_max_epochs is not None:
            check_bounds(self, model_max_epochs=1)
        if not self.model_widths or min(self.model_widths) < 1:
            raise ConfigurationError(
                f"model_widths = {self.model_widths} must be widths of at least 1, such as 100 100"
            )
        check_real(self, "model_learning_rate", above=0.0)


@dataclass(frozen=True, kw_only=True)
class TrainModelSAC(TrainModelBased, TrainTargets):
    """What soft actor-critics in a model have in common."""

    actor_learning_rate: float = 1e-4
    """Adam's step size of the actor."""
    temperature: float | None = None
    """Temperature that stays as it is; default: it is learnt."""
    initial_temperature: float = 1.0
    """Temperature at first, where it is learnt."""
    temperature_learning_rate: float = 1e-4
    """Adam's step size of its logarithm."""
    target_entropy: float | None = None
    """Entropy that the temperature aims at; default minus the number of actions."""
    entropy_backup: bool = True
    """Count the entropy of the next action in targets."""
    rollout_every: int = 1_000
    """Updates between rollouts in the model."""
    rollout_batch: int = 50_000
    """Rollouts at a time."""
    rollout_length: int = 5
    """Steps of each."""
    rollout_retain: int = 5
    """Rollouts' worth of steps that are kept."""
    real_ratio: float = 0.05
    """Share of a batch that comes from the dataset."""
    cosine: bool = True
    """Let the actor's step size fall along a cosine to 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, rollout_every=1, rollout_batch=1, rollout_length=1, rollout_retain=1)
        for name in ("actor_learning_rate", "initial_temperature", "temperature_learning_rate"):
            check_real(self, name, above=0.0)
        check_real(self, "temperature", at_least=0.0)
        check_real(self, "target_entropy")
        check_real(self, "real_ratio", at_least=0.0, at_most=1.0)


@dataclass(frozen=True, kw_only=True)
class TrainMOPO(TrainModelSAC):
    """Train soft actor-critic in a model whose rewards are lowered where it is not sure."""

    penalty: float = 0.5
    """Reward per unit of the model's deviation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "penalty", at_least=0.0)


@dataclass(frozen=True, kw_only=True)
class TrainMOBILE(TrainModelSAC):
    """Train soft actor-critic in a model, with targets lowered where its members disagree."""

    penalty: float = 1.5
    """Weight of the members' disagreement on targets."""
    penalty_samples: int = 10
    """Draws from each member, over which its target is averaged."""
    clamp: bool = False
    """Raise targets below 0 to 0; never where rewards are negative."""
    rollout_length: int = 1
    """Steps of each."""
    entropy_backup: bool = False
    """Count the entropy of the next action in targets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, penalty_samples=1)
        check_bounds(self, model_elites=2)
        check_real(self, "penalty", at_least=0.0)


@dataclass(frozen=True, kw_only=True)
class TrainOGSRL(TrainModelBased):
    """Train a policy in a model under cost budgets, one of them on leaving the data."""

    steps: int = 200
    """Iterations: rollouts, one step of the policy, a few of the values."""
    learning_rate: float = 1e-3
    """Adam's step size of the values, and of cloning."""
    net_arch: tuple[int, ...] = (128, 128)
    """Hidden layers of every network."""
    eval_every: int = 40
    """Iterations between evaluations."""
    save_every: int = 40
    """Iterations between checkpoints; the last two are kept."""
    cost_limit: float | None = None
    """Budget of an episode's cost, undiscounted; default: what simenv suggests for the -Safe id
    of the dataset, elsewhere none, and the dataset needs no costs."""
    horizon: int | None = None
    """Steps of an episode; default the environment's limit."""
    guardian_limit: float = 0.05
    """Budget of the share of steps outside of the data."""
    guardian_share: float = 0.05
    """Share of the data that counts as outside, at most 0.1."""
    guardian_points: int = 4_000
    """Transitions that the density is made of."""
    guardian_bandwidth: float | None = None
    """Deviation of its kernel, in features that span -1 to 1; default: chosen by data held out."""
    rollouts: int = 256
    """Rollouts per iteration."""
    rollout_length: int = 20
    """Steps of each."""
    starts: Starts = "any"
    """Start from any observation of the cloned episodes, or from the first ones of all."""
    clone_from: CloneFrom = "any"
    """Clone any episode, or cheap ones: within cost_limit, or of the tenth of least cost."""
    gae_lambda: float = 0.95
    """Parameter of generalised advantage estimation."""
    max_kl: float = 0.01
    """Trust region of a step, a mean divergence."""
    damping: float = 0.1
    """Added to the curvature of the divergence."""
    search_steps: int = 30
    """Steps of a line search."""
    value_epochs: int = 2
    """Passes over an iteration's states by which values are fitted."""
    clone_steps: int = 2_000
    """Updates by which the policy is cloned from the data at first; 0: it starts untrained."""
    initial_std: float = 0.6065
    """Deviation of the policy at first; of a cloned one, the largest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, rollouts=1, rollout_length=1, search_steps=1, value_epochs=1)
        check_bounds(self, guardian_points=2, clone_steps=0)
        if self.horizon is not None:
            check_bounds(self, horizon=1)
        check_real(self, "cost_limit", at_least=0.0)
        require_one_of("starts", self.starts, get_args(Starts))
        require_one_of("clone_from", self.clone_from, get_args(CloneFrom))
        check_real(self, "guardian_limit", at_least=0.0, at_most=1.0)
        check_real(self, "guardian_share", above=0.0, at_most=0.1)
        # A discount of 0 has no budget (agents.safe.discounted_budget).
        for name in ("gamma", "guardian_bandwidth", "max_kl"):
            check_real(self, name, above=0.0)
        # Within these a policy's deviation is held.
        low, high = (math.exp(bound) for bound in LOG_STD)
        check_real(self, "initial_std", at_least=low, at_most=high)
        check_real(self, "gae_lambda", at_least=0.0, at_most=1.0)
        check_real(self, "damping", at_least=0.0)

    def filled_in(self, source: Source) -> Self:
        """With the suggested limit as well: the run's config must say which it was."""
        made, task = super().filled_in(source), TASKS.get(source.env_id or "")
        # By the dataset's own id: costs are learnt from the data, wherever one evaluates.
        if made.cost_limit is None and task is not None and task.variant == "safe":
            made = replace(made, cost_limit=task.cost_limit)
        return made
