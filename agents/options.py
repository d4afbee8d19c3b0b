"""Options of every command, as dataclasses. Imports nothing heavy: `simenv list` reads this too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from simenv.errors import ConfigurationError

Goals = Literal["run", "task"]
"""Who says which goals a run is played with."""


def check_bounds(options: object, **smallest: int) -> None:
    """Raise ConfigurationError for a number below its bound."""
    for name, bound in smallest.items():
        value = getattr(options, name)
        if value < bound:
            raise ConfigurationError(f"{name} = {value} must be at least {bound}")


def _check_runs(verb: str, runs: tuple[Path, ...]) -> None:
    if not runs:
        raise ConfigurationError(f"'simenv {verb}' needs at least one run folder")


@dataclass(frozen=True)
class Identify:
    """Find the parameters of a material from a trajectory, by gradients or by sampling."""

    id: Positional[str]
    """Id of an identification problem, for example simenv/MaterialID-Sand-v0."""
    method: Literal["adam", "lbfgs", "cmaes", "cbo"] = "adam"
    """Adam or L-BFGS by gradients, CMA-ES or consensus-based optimisation by sampling."""
    iterations: int = 60
    """Gradient evaluations at most, or populations of a sampler."""
    segment: int = 10
    """Start again from the reference every so many steps; 0: never."""
    steps: int = 50
    """Length of the trajectory."""
    start: Literal["below", "above", "random"] = "below"
    """A fifth of the truth, five times it (or the upper bound), or between the two by the seed."""
    population: int | None = None
    """Sets of parameters that a sampler tries at a time, in one batch (cmaes 8, cbo 16)."""
    learning_rate: float | None = None
    """Adam's step size (0.1)."""
    initial_std: float | None = None
    """Spread of a sampler's first population, in the logarithm (0.8)."""
    seed: int = 0
    """Seed of the samplers, and of a random start."""
    size: str = "small"
    """Problem size: small or full."""
    device: str = "cpu"
    """cpu, cuda:0 or auto."""
    out: Path | None = None
    """Run folder; default runs/<problem>-<method>-<seed>."""

    def __post_init__(self) -> None:
        check_bounds(self, iterations=1, segment=0, steps=1, seed=0)
        if self.population is not None:
            check_bounds(self, population=3)
        for name in ("population", "learning_rate", "initial_std"):
            methods = ("adam",) if name == "learning_rate" else ("cmaes", "cbo")
            if (value := getattr(self, name)) is not None and self.method not in methods:
                raise ConfigurationError(
                    f"{name} = {value:g} is a setting of {' and '.join(methods)}, not of "
                    f"{self.method}; leave it out"
                )


@dataclass(frozen=True)
class Named:
    """What says which presets hold for a training from a dataset; read before all other options."""

    dataset: str | None = None
    """Name of a Minari dataset on this machine."""
    id: str | None = None
    """Environment to evaluate in; default that of the dataset."""


@dataclass(frozen=True)
class Resume:
    """Go on with a training run, exactly as if it had never stopped."""

    run: Positional[Path]
    """Run folder."""
    steps: int | None = None
    """Environment steps, or updates from a dataset, altogether; default as the run was started."""
    checkpoint: str | None = None
    """Name of the checkpoint to go on from; default the newest."""
    progress_bar: bool = True
    """Show progress."""

    def __post_init__(self) -> None:
        if self.steps is not None:
            check_bounds(self, steps=1)


@dataclass(frozen=True)
class Evaluate:
    """Evaluate runs against random actions on fresh seeds; average over runs of one algorithm."""

    runs: Positional[tuple[Path, ...]]
    """Run folders."""
    episodes: int = 16
    """Episodes, one per seed."""
    seed: int = 10_000
    """First seed; episode i has seed + i."""
    goals: Goals = "run"
    """As the run was trained for: an imitator's is that of its demonstration. task: the task draws
    one for every episode."""
    device: str | None = None
    """cpu, cuda:0 or auto; default the run's own."""

    def __post_init__(self) -> None:
        _check_runs("evaluate", self.runs)
        check_bounds(self, episodes=1, seed=0)


@dataclass(frozen=True)
class Plot:
    """Draw learning curves of runs, averaged over the runs of one algorithm."""

    runs: Positional[tuple[Path, ...]]
    """Run folders."""
    out: Path = Path("curves.png")
    """Picture to write; its ending says the format (png, svg, pdf)."""
    metric: str | None = None
    """Column of metrics.csv that is drawn; default return_mean, of searches return_best, and of
    identification parameter_error."""

    def __post_init__(self) -> None:
        _check_runs("plot", self.runs)


@dataclass(frozen=True)
class Record:
    """Record an episode of a run, or of a task's baseline, as GIF and MP4."""

    run: Positional[Path]
    """Run folder, or a task id: the actions of its baseline."""
    demo: bool = False
    """Write the episode as a demonstration too, for 'simenv train ild' and 'gail'."""
    seed: int | None = None
    """Seed of the episode; default 10,000, of a plan the start that it was made for, and of a
    baseline 0."""
    goals: Goals = "run"
    """As for 'simenv evaluate'."""
    out: Path | None = None
    """Folder to write to; default the run folder, of a baseline runs/<task>-baseline-<seed>."""
    width: int = 720
    """Width of the frames [pixels]; the height is half of it."""
    device: str | None = None
    """cpu, cuda:0 or auto; default the run's own."""

    def __post_init__(self) -> None:
        check_bounds(self, width=16)
        if self.seed is not None:
            check_bounds(self, seed=0)


@dataclass(frozen=True)
class MakeBaseline:
    """Make a task's baseline on five seeds, and score it beside random actions."""

    ids: Positional[tuple[str, ...]]
    """Task ids."""
    run: Path | None = None
    """Run folder whose controller is played; default the task's own script."""
    device: str = "cpu"
    """cpu, cuda:0 or auto."""


@dataclass(frozen=True)
class Gallery:
    """Draw the gallery: one GIF, one thumbnail and one page per task, from the baselines."""

    ids: Positional[tuple[str, ...]] = ()
    """Task ids; none: all."""
    out: Path = Path("docs")
    """Folder of the pages."""
    width: int = 360
    """Width of the GIFs [pixels]; the height is half of it."""
    device: str = "cpu"
    """cpu, cuda:0 or auto."""

    def __post_init__(self) -> None:
        check_bounds(self, width=16)


@dataclass(frozen=True)
class MakeDataset:
    """Make an offline dataset, or go on with making it; the same options give the same data."""

    id: Positional[str]
    """Environment id, for example simenv/SoftWalker2D-v0 or Pendulum-v1."""
    split: Literal["random", "medium", "expert", "medium-replay", "medium-expert"]
    """Uniform actions, those of a half-trained agent, of a trained one, what the half-trained one
    had in its replay, or equal halves of the second and third."""
    transitions: int | None = None
    """Transitions at least; default 100,000. Of a replay, the newest; default all."""
    seed: int = 0
    """Seed of the episodes and of the actions."""
    policy: Path | None = None
    """Finished run of 'simenv train' that is the expert; default: one trained for the purpose."""
    algorithm: Literal["sac", "cal", "saclag", "sacpid", "flac"] = "sac"
    """What the expert is trained by."""
    expert_steps: int | None = None
    """Environment steps of its training; default as the id's preset says, else 100,000."""
    expert_seed: int = 0
    """Seed of its training."""
    version: int = 0
    """Number behind the dataset's name."""
    num_envs: int = 64
    """Environments stepped together, at most."""
    size: str = "small"
    """Size of a simenv task: small or full."""
    device: str = "cpu"
    """cpu, cuda:0 or auto."""
    progress_bar: bool = True
    """Show progress."""

    def __post_init__(self) -> None:
        check_bounds(self, seed=0, expert_seed=0, version=0, num_envs=1)
        for name in ("transitions", "expert_steps"):
            if getattr(self, name) is not None:
                check_bounds(self, **{name: 1})


@dataclass(frozen=True)
class ListDatasets:
    """List the local datasets."""


@dataclass(frozen=True)
class ShowDataset:
    """Print everything that is known about a dataset."""

    name: Positional[str]
    """Name, for example simenv/SoftWalker2D/medium-v0."""


@dataclass(frozen=True)
class CheckDatasets:
    """Check datasets for damage; exit code 1 if anything is wrong."""

    names: Positional[tuple[str, ...]] = ()
    """Names."""
    all: bool = False
    """Every local dataset."""

    def __post_init__(self) -> None:
        if bool(self.names) == self.all:
            raise ConfigurationError("'simenv dataset check' needs names, or else --all")


@dataclass(frozen=True)
class Bench:
    """Measure speed on this machine and write a table."""

    quick: bool = False
    """The comparison and the vector environment only, in under a minute."""
    taichi_python: str | None = None
    """Interpreter that has taichi installed, for the comparison; none leaves it out."""
    out: Path = Path("runs/bench")
    """Folder for results.json and table.md."""


@dataclass(frozen=True)
class Validate:
    """Measure physics against theory and experiment; exit code 1 if something is out of bounds."""

    cases: Positional[tuple[str, ...]] = ()
    """Cases by name, as in docs/validation.md; none runs every quick one."""
    plots: Path | None = None
    """Folder for a plot of each case, as PNG."""
    slow: bool = False
    """Run the slow cases as well."""
    table: Path | None = None
    """File for the table, in Markdown."""
