"""Options of `simenv train` for agents that learn from a dataset. Imports nothing heavy."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from agents.options import check_bounds
from agents.train_options import TrainRun, check_real, check_widths
from simenv.errors import ConfigurationError, UnknownTaskError

if TYPE_CHECKING:
    from agents.offline.data import Source

LEVELS = (0.01, 1.0)
"""Least and largest noise that scores are learnt at, in deviations of the data."""
LOG_STD = (-5.0, 2.0)
"""Bounds of the logarithm of an actor's standard deviation."""


@dataclass(frozen=True, kw_only=True)
class TrainOffline(TrainRun):
    """What every algorithm has that learns from a dataset."""

    RUN: ClassVar[tuple[str, ...]] = (*TrainRun.RUN, "dataset", "reference")

    dataset: str
    """Name of a Minari dataset on this machine."""
    id: str | None = None
    """Environment to evaluate in; default that of the dataset."""
    steps: int = 100_000
    """Updates."""
    batch_size: int = 256
    """Transitions per update."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    net_arch: tuple[int, ...] = field(default=(256, 256))
    """Hidden layers of every network."""
    normalize: bool | None = None
    """Standardise observations by the dataset's mean and deviation; default as in the paper."""
    skip_bad_episodes: bool = False
    """Leave out damaged episodes, and take files that have changed as they are; warn of both."""
    eval_every: int = 5_000
    """Updates between evaluations."""
    eval_episodes: int = 10
    """Episodes per evaluation, on seeds of their own."""
    save_every: int = 10_000
    """Updates between checkpoints; the last two are kept."""
    seed: int = 0
    """Seed of the networks, the batches and the noise."""
    size: str | None = None
    """Size of a simenv task: small or full; default that of the dataset."""
    reference: tuple[float, float] | None = None
    """Returns that count as 0 and 100 in the normalised score; default those of the dataset."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, batch_size=1)
        check_real(self, "learning_rate", above=0.0)
        check_widths(self)
        if self.reference is not None:
            low, high = self.reference
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigurationError(
                    f"reference = {self.reference} must be two finite returns, the lower one first"
                )

    def resolved(self) -> Self:
        """With environment and reference as the dataset names them, where none are given.

        Raises:
            DatasetError: there is no such dataset, or its metadata are damaged.
        """
        from agents.offline.reading import open_dataset, source_of

        return self.filled_in(source_of(open_dataset(self.dataset)))

    def filled_in(self, source: Source) -> Self:
        """`resolved`, by what the dataset says of itself."""
        known = source.env_options or {}
        return replace(
            self,
            id=self.id or _registered(source.env_id, self.dataset),
            size=self.size or str(known.get("size", "small")),
            reference=self.reference or source.reference,
        )


def _registered(task_id: str | None, dataset: str) -> str | None:
    """An id if it is known here; otherwise a warning, since learning does without it."""
    from agents.runs import require_id

    if task_id is None:
        return None
    try:
        require_id(task_id)
    except UnknownTaskError:
        warnings.warn(
            f"{task_id}, the environment of dataset {dataset}, is not registered here, so nothing "
            "will be evaluated; install it, or name another one with --id",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
    return task_id


@dataclass(frozen=True, kw_only=True)
class TrainValues(TrainOffline):
    """What every algorithm has that learns values from rewards."""

    gamma: float = 0.99
    """Discount."""
    reward_scale: float = 1.0
    """Rewards are learnt from as scale times reward plus shift."""
    reward_shift: float = 0.0
    """See there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "gamma", at_least=0.0, at_most=1.0)
        check_real(self, "reward_scale")
        check_real(self, "reward_shift")


@dataclass(frozen=True, kw_only=True)
class TrainTargets(TrainValues):
    """What every algorithm has whose networks have targets that follow them."""

    tau: float = 0.005
    """Share of the networks that goes into their targets at each update."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "tau", above=0.0, at_most=1.0)


@dataclass(frozen=True, kw_only=True)
class TrainBC(TrainOffline):
    """Clone the behaviour of a dataset."""


@dataclass(frozen=True, kw_only=True)
class TrainTD3BC(TrainTargets):
    """Train TD3 held to the actions of a dataset."""

    alpha: float = 2.5
    """Weight of the values against the distance from the data's actions."""
    policy_noise: float = 0.2
    """Deviation of the noise on target actions."""
    noise_clip: float = 0.5
    """Bound of that noise."""
    policy_delay: int = 2
    """Critic updates per update of the actor and the targets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, policy_delay=1)
        for name in ("alpha", "policy_noise", "noise_clip"):
            check_real(self, name, at_least=0.0)


@dataclass(frozen=True, kw_only=True)
class TrainIQL(TrainTargets):
    """Train implicit Q-learning on a dataset."""

    expectile: float = 0.7
    """Expectile of the value's regression, above 0 and below 1."""
    beta: float = 3.0
    """Inverse temperature of the weights of the actor's regression."""
    cosine: bool = True
    """Let the actor's step size fall along a cosine to 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "expectile", above=0.0, below=1.0)
        check_real(self, "beta", at_least=0.0)


@dataclass(frozen=True, kw_only=True)
class TrainODICE(TrainTargets):
    """Train a value by orthogonal gradients, and the actor that its residuals weigh."""

    learning_rate: float = 2e-4
    """Adam's step size."""
    dice_lambda: float = 0.6
    """Weight of the residuals against the values, above 0 and below 1; see positive_share."""
    eta: float = 1.0
    """Weight of the backward gradient."""
    gradient: Literal["orthogonal", "true", "semi"] = "orthogonal"
    """Project the backward gradient, take it as it is, or leave it out."""
    actor_arch: tuple[int, ...] = field(default=(1024, 1024))
    """Hidden layers of the actor; those of the values are net_arch."""
    layer_norm: bool = True
    """LayerNorm in the values."""
    tanh_mean: bool = False
    """Let the actor's mean pass through tanh."""
    weight_decay: float = 1e-4
    """Weight decay of the actor."""
    imitate: int | None = None
    """Number of the one episode to learn from, without its rewards; default all, with them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "dice_lambda", above=0.0, below=1.0)
        check_real(self, "eta", at_least=0.0)
        check_real(self, "weight_decay", at_least=0.0)
        check_widths(self, "actor_arch")
        if self.imitate is not None:
            check_bounds(self, imitate=0)


@dataclass(frozen=True, kw_only=True)
class TrainCDSA(TrainOffline):
    """Learn to move any policy's actions to where a dataset is denser."""

    policy: str | None = None
    """Run folder of the policy to adjust and evaluate; default none, and nothing to evaluate."""
    action_step: float = 0.5
    """Denoising steps of the action."""
    state_step: float = 0.5
    """Denoising steps of the next state."""
    tune: bool = True
    """Choose both at the end by the density of held-out data, where there is a policy."""
    sigma: float = 0.2
    """Noise at which scores are taken, in deviations of the data; 0.01 to 1, where they learn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "action_step", at_least=0.0)
        check_real(self, "state_step", at_least=0.0)
        check_real(self, "sigma", at_least=LEVELS[0], at_most=LEVELS[1])


@dataclass(frozen=True, kw_only=True)
class TrainCQL(TrainTargets):
    """Train conservative Q-learning on a dataset."""

    net_arch: tuple[int, ...] = field(default=(256, 256, 256))
    """Hidden layers of every network."""
    actor_learning_rate: float = 1e-4
    """Adam's step size of the actor; learning_rate is that of the critics."""
    temperature_learning_rate: float = 1e-4
    """Adam's step size of the logarithm of the temperature."""
    initial_temperature: float = 1.0
    """Temperature at first."""
    conservative_weight: float = 5.0
    """Weight of the conservative term; twice as much where rewards are twice as large."""
    num_samples: int = 10
    """Actions drawn from each of three distributions to estimate that term."""
    softmax_temperature: float = 1.0
    """Temperature of its soft maximum."""
    lagrange_threshold: float | None = None
    """Gap at which a multiplier of the weight comes to rest; default no multiplier."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, num_samples=1)
        check_real(self, "actor_learning_rate", above=0.0)
        check_real(self, "initial_temperature", above=0.0)
        check_real(self, "temperature_learning_rate", above=0.0)
        check_real(self, "conservative_weight", at_least=0.0)
        check_real(self, "softmax_temperature", above=0.0)
        check_real(self, "lagrange_threshold")
