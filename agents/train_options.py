"""Options of `simenv train`: one dataclass per algorithm. Imports nothing heavy."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from tyro.conf import Positional

from agents.budgets import suggested_limit
from agents.options import check_bounds
from simenv.errors import ConfigurationError

PRESETS = Path(__file__).with_name("presets.toml")


def check_real(options: Any, name: str, **bounds: float) -> None:
    """`check_range` of an option, whose default is named; None passes."""
    value = getattr(options, name)
    if value is not None:
        default = next(f.default for f in fields(options) if f.name == name)
        check_range(name, value, remedy=f"; its default is {default}", **bounds)


def check_range(
    name: str,
    value: float,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    remedy: str = "",
) -> None:
    """Raise ConfigurationError for a number outside its bounds, or not finite."""
    tests = {
        f"above {above}": above is None or value > above,
        f"at least {at_least}": at_least is None or value >= at_least,
        f"at most {at_most}": at_most is None or value <= at_most,
        f"below {below}": below is None or value < below,
    }
    if not (math.isfinite(value) and all(tests.values())):
        wanted = [words for words in tests if not words.endswith("None")]
        words = " and ".join(["finite", *wanted])
        raise ConfigurationError(f"{name} = {value} must be {words}{remedy}")


def check_window(options: Any) -> None:
    """Raise ConfigurationError for a window without episodes; None passes."""
    if options.cost_window is not None:
        check_bounds(options, cost_window=1)


@dataclass(frozen=True, kw_only=True)
class TrainRun:
    """What every training has, from environments or from a dataset.

    Attributes of a run concern how it is trained, watched and kept; all others are arguments of the
    agent's class under the same name.
    """

    RUN: ClassVar[tuple[str, ...]] = (
        "id",
        "steps",
        "cost",
        "eval_every",
        "eval_episodes",
        "save_every",
        "size",
        "out",
        "progress_bar",
    )

    steps: int = 100_000
    """Environment steps, over all environments."""
    cost: str | None = None
    """Cost to add to a plain Gymnasium environment: effort (mean size of the action)."""
    eval_every: int = 10_000
    """Environment steps between evaluations."""
    eval_episodes: int = 8
    """Episodes per evaluation, on seeds of their own."""
    save_every: int = 10_000
    """Environment steps between checkpoints; the last two are kept."""
    seed: int = 0
    """Seed of the networks, the environments and the exploration."""
    device: str = "cpu"
    """cpu, cuda:0 or auto."""
    out: Path | None = None
    """Run folder; default runs/<task>-<algorithm>-<seed>."""
    progress_bar: bool = True
    """Show progress."""

    def __post_init__(self) -> None:
        check_bounds(self, steps=1, eval_every=1, eval_episodes=1, save_every=1)
        check_bounds(self, seed=0)

    def resolved(self) -> Self:
        """With everything that the options leave to what they name; nothing here."""
        return self

    def environment_options(self) -> dict[str, Any]:
        """Options of the environments beside id, size and device; none here."""
        return {}

    def agent_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the agent's class."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in mine.items() if k not in self.RUN}


def check_widths(options: Any, name: str = "net_arch") -> None:
    """Raise ConfigurationError unless an option names hidden layers."""
    require_widths(name, getattr(options, name))


def require_widths(name: str, widths: Sequence[int]) -> None:
    """Raise ConfigurationError unless these are widths of hidden layers."""
    if not widths or min(widths) < 1:
        raise ConfigurationError(
            f"{name} = {tuple(widths)} must name widths of at least 1, such as 128 128"
        )


def require_betas(betas: Sequence[float]) -> None:
    """Raise ConfigurationError unless these are decay rates of Adam."""
    if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
        raise ConfigurationError(
            f"betas = {tuple(betas)} must be two numbers in [0, 1), such as 0.9 0.999"
        )


@dataclass(frozen=True)
class Train(TrainRun):
    """What every algorithm has that learns in environments.

    Attributes of a policy concern its networks.
    """

    RUN: ClassVar[tuple[str, ...]] = (*TrainRun.RUN, "num_envs", "goals")
    POLICY: ClassVar[tuple[str, ...]] = ("net_arch", "layer_norm", "simba", "normalize")

    id: Positional[str]
    """Environment id, for example simenv/SoftWalker2D-v0 or Pendulum-v1."""
    num_envs: int = 16
    """Environments stepped together."""
    batch_size: int = 256
    """Transitions per update."""
    gradient_steps: int = 8
    """Updates after every vector step; -1: as many as environments."""
    learning_rate: float = 1e-3
    """Adam's step size for actor, critics and temperature."""
    final_learning_rate: float | None = None
    """That at the end, reached linearly; default: no change."""
    buffer_size: int = 200_000
    """Replay capacity [transitions]."""
    learning_starts: int = 1_000
    """Random steps before the first update."""
    gamma: float = 0.98
    """Discount."""
    tau: float = 0.005
    """Share of the critics that goes into their targets at each update."""
    n_steps: int = 1
    """Rewards summed before the bootstrap."""
    target_entropy: float | None = None
    """Entropy that the temperature aims at; default minus the number of actions. Not for FLAC."""
    net_arch: tuple[int, ...] = field(default=(128, 128))
    """Hidden layers of actor and critics."""
    layer_norm: bool = False
    """LayerNorm in the critics."""
    simba: bool = False
    """SimBa residual blocks in actor and critics."""
    normalize: bool = False
    """Normalise observations by their running mean and deviation."""
    size: str = "small"
    """Size of a simenv task: small or full."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, num_envs=1, batch_size=1, gradient_steps=-1, buffer_size=1)
        check_bounds(self, learning_starts=0, n_steps=1)
        check_real(self, "learning_rate", above=0.0)
        check_real(self, "final_learning_rate", above=0.0)
        check_real(self, "gamma", above=0.0, at_most=1.0)
        check_real(self, "tau", above=0.0, at_most=1.0)
        check_real(self, "target_entropy")
        check_widths(self)
        if self.gradient_steps == 0:
            raise ConfigurationError("gradient_steps = 0 learns nothing; use at least 1, or -1")

    def agent_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the agent's class."""
        mine = super().agent_arguments()
        policy = {name: mine.pop(name) for name in self.POLICY}
        policy = {k: list(v) if isinstance(v, tuple) else v for k, v in policy.items() if v}
        if self.target_entropy is None:
            del mine["target_entropy"]
        return mine | {"policy_kwargs": policy}


@dataclass(frozen=True)
class TrainSAC(Train):
    """Train soft actor-critic."""

    munchausen: float = 0.0
    """Weight of the Munchausen bonus, usually 0.9; 0 leaves it out."""
    ent_coef: str = "auto"
    """Temperature: auto, auto_X to start learning it from X, or a number."""
    policy_delay: int = 1
    """Critic updates per update of actor and temperature."""
    goals: Literal["task", "uniform", "svgg"] = "task"
    """Who chooses the goals of a -Goal id: the task, or a sampler of the whole box of goals."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, policy_delay=1)
        check_real(self, "munchausen", at_least=0.0)
        self._temperature()

    def agent_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the agent's class."""
        return {**super().agent_arguments(), "ent_coef": self._temperature()}

    def _temperature(self) -> str | float:
        """What stands after "auto_" must be above 0, since its logarithm is learnt."""
        if self.ent_coef == "auto":
            return self.ent_coef
        word = self.ent_coef.removeprefix("auto_")
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        learnt = word != self.ent_coef
        if math.isfinite(value) and (value > 0.0 if learnt else value >= 0.0):
            return self.ent_coef if learnt else value
        raise ConfigurationError(
            f"ent_coef = {self.ent_coef!r} must be auto, auto_X with X above 0 to start from, or a "
            "number of at least 0"
        )


@dataclass(frozen=True)
class TrainFLAC(Train):
    """Train an actor that is a flow, kept near its noise by a price on kinetic energy."""

    POLICY: ClassVar[tuple[str, ...]] = (*Train.POLICY, "flow_steps")

    tau: float = 0.01
    """Share of the critics that goes into their targets at each update."""
    flow_steps: int = 1
    """Midpoint steps from noise to action."""
    energy_budget: float = 2.5
    """Kinetic energy per action dimension that the temperature aims at."""
    policy_delay: int = 2
    """Critic updates per update of actor and temperature."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, flow_steps=1, policy_delay=1)
        check_real(self, "energy_budget", above=0.0)


@dataclass(frozen=True)
class TrainSafe(Train):
    """What algorithms under a cost budget have in common."""

    cost_limit: float | None = None
    """Budget of an episode's cost, undiscounted; default: what simenv suggests for the id."""
    cost_gamma: float | None = None
    """Discount of the cost critics; default that of the rewards."""
    cost_critics: int = 4
    """Members of the ensemble of cost critics."""
    cost_pessimism: float = 0.5
    """Standard deviations over the ensemble that are added to its mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds(self, cost_critics=1)
        check_real(self, "cost_pessimism", at_least=0.0)
        check_real(self, "cost_limit", at_least=0.0)
        check_real(self, "cost_gamma", above=0.0, at_most=1.0)
        suggestion = suggested_limit(self.id)
        if self.cost_limit is None:
            # Frozen, but the run's config must say which limit it was.
            object.__setattr__(self, "cost_limit", suggestion)


@dataclass(frozen=True)
class TrainCAL(TrainSafe):
    """Train under a cost budget by a conservative augmented Lagrangian."""

    penalty: float = 10.0
    """Weight c of the squared violation [reward per squared cost]; 0: the plain Lagrangian."""
    dual_learning_rate: float = 3e-4
    """Step size of the logarithm of the multiplier."""
    initial_multiplier: float = 0.6931
    """Multiplier at first."""
    dual_actions: Literal["buffer", "policy"] = "buffer"
    """Whose expected cost is held against the budget: the replay's actions or the policy's."""
    dual_window: int = 0
    """Newest transitions in whose states it is taken; 0: in those of the whole replay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real(self, "penalty", at_least=0.0)
        check_real(self, "dual_learning_rate", at_least=0.0)
        check_real(self, "initial_multiplier", above=0.0)


@dataclass(frozen=True)
class TrainSACLag(TrainSafe):
    """Train under a cost budget by a multiplier that follows the cost of training episodes."""

    cost_pessimism: float = 0.0
    """Standard deviations over the ensemble that are added to its mean."""
    cost_window: int | None = None
    """Finished episodes whose mean cost the multiplier follows; default num_envs, at least 10."""
    dual_learning_rate: float = 1e-4
    """Step size of the multiplier (Adam): about its change per update."""
    initial_multiplier: float = 0.001
    """Multiplier at first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self)
        check_real(self, "dual_learning_rate", at_least=0.0)
        check_real(self, "initial_multiplier", at_least=0.0)


@dataclass(frozen=True)
class TrainSACPID(TrainSafe):
    """Train under a cost budget by a PID-controlled multiplier."""

    cost_pessimism: float = 0.0
    """Standard deviations over the ensemble that are added to its mean."""
    cost_window: int | None = None
    """Finished episodes of one measurement; default a multiple of num_envs, at least 10."""
    proportional_gain: float = 0.1
    """Multiplier per unit of an episode's cost above the limit."""
    integral_gain: float = 0.01
    """What every measurement adds to it, per unit."""
    derivative_gain: float = 0.01
    """Multiplier per unit of a rise since the last measurement."""
    max_multiplier: float = 100.0
    """Largest multiplier."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self)
        for name in ("proportional_gain", "integral_gain", "derivative_gain", "max_multiplier"):
            check_real(self, name, at_least=0.0)


def presets() -> dict[str, dict[str, dict[str, Any]]]:
    """Options by algorithm and id, as presets.toml has them, those of families put in."""
    with PRESETS.open("rb") as stream:
        tables = tomllib.load(stream)
    families = tables.pop("families")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in sorted(tables, key=lambda name: name not in families):
        for algorithm in families.get(name, [name]):
            mine = found.setdefault(algorithm, {})
            for task_id, options in tables[name].items():
                mine[task_id] = mine.get(task_id, {}) | options
    return found


def preset(algorithm: str, task_id: str | None) -> dict[str, Any]:
    """What presets.toml says of an algorithm and an id, or dataset; empty where nothing."""
    found = presets().get(algorithm, {}).get(task_id or "", {})
    return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
