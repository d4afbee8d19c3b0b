"""`simenv record`: an episode of a run, or of a baseline, as GIF, MP4 and demonstration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.controllers import Player, load_player
from agents.demonstrations import Demonstration, demonstrate
from agents.episodes import Step, episode
from agents.optimise_options import TIMED
from agents.options import Record
from agents.runs import Run, reset_options
from simenv.envs.functional import Functional
from simenv.envs.picture import Painter
from simenv.envs.start import Start
from simenv.errors import RunError
from simenv.registry import TASKS
from simenv.render import write_gif, write_mp4

FRESH = 10_000
"""Seed of an episode that no training has seen."""


@dataclass(frozen=True)
class Source:
    """What is recorded.

    Attributes:
        task_id: of the task.
        functional: one environment of it.
        player: who plays.
        seed: of the start state.
        folder: to write to.
        start: what is drawn of the start state and what is given; None: as the task starts.
    """

    task_id: str
    functional: Functional
    player: Player
    seed: int
    folder: Path
    start: Start | None = None


def record(options: Record) -> list[Path]:
    """Write video/episode.gif and .mp4 and, if asked, demonstration.npz; returns their paths.

    Raises:
        RunError: no such run or baseline, or no actions of it for the seed.
        SimenvError: a step of what is to be a demonstration broke; nothing is written.
    """
    source = _of_baseline(options) if str(options.run) in TASKS else _of_run(options)
    seen, shown = _seen(source, options.width, demo=options.demo)
    folder = source.folder / "video"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "episode.gif", folder / "episode.mp4"]
    rate = round(1 / source.functional.task.scene.step)
    write_gif(paths[0], seen, fps=rate)
    write_mp4(paths[1], seen, fps=rate)
    if shown is not None:
        paths.append(shown.save(source.folder / "demonstration.npz"))
    return paths


def _seen(
    source: Source, width: int, *, demo: bool
) -> tuple[list[np.ndarray], Demonstration | None]:
    """Frames of an episode, and the same one as a demonstration if asked for."""
    play = source.functional, source.player, source.seed
    if not demo:
        return list(frames(*play, width, source.start)), None
    painter, seen = _painter(source.functional, width), list[np.ndarray]()
    shown = demonstrate(
        *play, source.task_id, source.start, lambda step: seen.extend(_drawn(painter, step))
    )
    return seen, shown


def start_of(run: Run) -> int:
    """Seed of the episode that a run is shown by: a plan is worth something at its own start."""
    config = run.config
    plan = config["command"] == "optimise" and config["policy"] in TIMED
    return int(config["seed"]) if plan else FRESH


def _of_run(options: Record) -> Source:
    run = Run(options.run)
    if (task_id := run.config["id"]) is None or not task_id.startswith("simenv/"):
        raise RunError(
            f"{run.path} was trained for {task_id or 'no environment'}, and record draws simenv's "
            "own tasks: for others, play what agents.training.load_agent loads in an environment "
            "wrapped in gymnasium.wrappers.RecordVideo"
        )
    functional = run.functional(num_envs=1, device=options.device)
    seed = start_of(run) if options.seed is None else options.seed
    player, folder = load_player(run, functional), options.out or run.path
    start = Start.of(reset_options(run.config, options.goals))
    return Source(run.config["id"], functional, player, seed, folder, start)


def _of_baseline(options: Record) -> Source:
    from agents.baselines import load_baseline, replaying

    task_id, seed = str(options.run), options.seed or 0
    functional = Functional(task_id, num_envs=1, device=options.device or "cpu")
    player = replaying(functional, load_baseline(task_id), seed)
    folder = options.out or Path("runs") / f"{task_id.split('/')[-1]}-baseline-{seed}"
    return Source(task_id, functional, player, seed, folder)


def frames(
    functional: Functional,
    player: Player,
    seed: int,
    width: int = 720,
    start: Start | None = None,
) -> Iterator[np.ndarray]:
    """Frames (width / 2, width, 3) of an episode, the start included."""
    painter = _painter(functional, width)
    for step in episode(functional, player, seed, start):
        yield from _drawn(painter, step)
        if bool(functional.terminal(step.after)[0]):
            return


def _drawn(painter: Painter, step: Step) -> Iterator[np.ndarray]:
    """The frame after a step; before the first one, that of the start too."""
    if step.t == 0:
        yield painter.frame(step.state, None)
    yield painter.frame(step.after, step.action)


def _painter(functional: Functional, width: int) -> Painter:
    return Painter(functional, width, width // 2)
