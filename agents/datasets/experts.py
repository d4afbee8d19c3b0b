"""Whose behaviour the splits show: an expert, trained once and kept, and the same one half-way."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from agents.algorithms import ALGORITHMS
from agents.datasets.names import digest, environment_name, work
from agents.options import MakeDataset, Resume
from agents.runs import Run
from agents.train_options import Train, preset
from agents.training import restore_options, resume, train
from simenv.errors import DatasetError


def find_expert(options: MakeDataset) -> Run:
    """The run of `--policy`, or one trained with the id's presets beside the datasets.

    A training that was broken off goes on where it stopped; a finished one is taken as it is.

    Raises:
        DatasetError: the run of `--policy` is not finished, learnt in another environment, or has
            no half-way where the split asks for one.
    """
    if options.policy is not None:
        return _given(options)
    settings = expert_options(options)
    return _trained(options.algorithm, settings)


def expert_options(options: MakeDataset) -> Train:
    """Options of the expert's training, and its folder, which they determine."""
    given: dict[str, Any] = {**preset(options.algorithm, options.id), "seed": options.expert_seed}
    if options.expert_steps is not None:
        given["steps"] = options.expert_steps
    # A step size that falls with the length of a training would lead a shorter one elsewhere.
    given["final_learning_rate"] = None
    kind = cast(type[Train], ALGORITHMS[options.algorithm].options)
    settings = kind(options.id, **given | {"size": options.size, "device": options.device})
    name = environment_name(options.id, options.size).replace("/", "-")
    told = {k: v for k, v in asdict(settings).items() if k != "progress_bar"}
    folder = f"{name}-{options.algorithm}-{settings.seed}-{digest(told)}"
    return replace(settings, out=work("runs", folder), progress_bar=options.progress_bar)


def half_way(expert: Run, random_return: float, *, progress_bar: bool) -> Run:
    """The expert when its return first reached half-way from random actions to what it came to.

    Training is deterministic to the last bit (on the CPU), so that the same options with fewer
    steps lead to the very same agent.

    Args:
        expert: a finished run.
        random_return: mean return of random actions.
        progress_bar: show progress.

    Raises:
        DatasetError: the expert ended no better than random actions, or its step size fell with the
            length of its training.
    """
    if expert.config.get("final_learning_rate") is not None:
        raise DatasetError(
            f"the step size of {expert.path} fell with the length of its training, so that fewer "
            "steps lead to another agent; give a --policy trained without final_learning_rate"
        )
    settings, step = cast(Train, restore_options(expert)), half_way_step(expert, random_return)
    folder = f"{expert.path.name}-{identity(expert)}-step-{step}"
    shorter = replace(settings, steps=step, out=work("runs", folder), progress_bar=progress_bar)
    return _trained(expert.config["command"], shorter)


def half_way_step(expert: Run, random_return: float) -> int:
    """Step of the first evaluation with a return of at least random + ½ (last − random)."""
    metrics = expert.metrics()
    returns, steps = metrics["return_mean"], metrics["step"]
    if not returns[-1] > random_return:
        raise DatasetError(
            f"the expert {expert.path} returns {returns[-1]:.4g}, no more than random actions "
            f"({random_return:.4g}); train a better one (--expert-steps, or --policy RUN)"
        )
    threshold = random_return + 0.5 * (returns[-1] - random_return)
    reached = (int(s) for s, r in zip(steps, returns, strict=True) if s > 0 and r >= threshold)
    return next(reached)


def identity(run: Run) -> str:
    """Eight hexadecimal digits of what a run has learnt."""
    return digest((run.checkpoints()[-1] / "manifest.json").read_text())


def finished(run: Run, steps: int) -> bool:
    """Whether a run has a checkpoint of that step, or a later one."""
    found = run.checkpoints()
    return bool(found) and int(found[-1].name[5:]) >= steps


def describe(run: Run) -> dict[str, Any]:
    """What a dataset's metadata say about a run."""
    config = run.config
    names = ("command", "id", "size", "seed", "steps", "num_envs")
    about = {name: config[name] for name in names if name in config}
    return about | {
        "checkpoint": run.checkpoints()[-1].name,
        "identity": identity(run),
        "return": run.metrics()["return_mean"][-1],
    }


def _given(options: MakeDataset) -> Run:
    run = Run(Path(options.policy or ""))
    settings = restore_options(run)
    for name in ("id", "size"):
        if (theirs := getattr(settings, name)) != (mine := getattr(options, name)):
            raise DatasetError(f"{run.path} learnt with {name} {theirs!r}, not {mine!r}")
    if not finished(run, settings.steps):
        raise DatasetError(f"{run.path} is not finished; 'simenv train --resume {run.path}' does")
    if options.split != "expert" and not isinstance(settings, Train):
        raise DatasetError(
            f"{run.path} is a run of {run.config['command']}, of which fewer steps may be another "
            f"training, so that it has no half-way for --split {options.split}; take --split "
            "expert, or a run of sac or of what is built on it"
        )
    return run


def _trained(algorithm: str, settings: Train) -> Run:
    """A run of these options: as found, gone on with, or begun."""
    run = Run(Path(settings.out or ""))
    if finished(run, settings.steps):
        return run
    if (run.path / "config.json").exists():
        return resume(Resume(run.path, progress_bar=settings.progress_bar))
    return train(algorithm, settings)
