"""`simenv record`: an episode of a run, or of a baseline, as GIF, MP4 and demonstration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from agents.controllers import Player, load_player
from agents.demonstrations import demonstrate
from agents.options import Record
from agents.runs import Run
from simenv.envs.functional import Functional
from simenv.envs.picture import Painter
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
    """

    task_id: str
    functional: Functional
    player: Player
    seed: int
    folder: Path


def record(options: Record) -> list[Path]:
    """Write video/episode.gif and .mp4 and, if asked, demonstration.npz; returns their paths.

    Raises:
        RunError: no such run or baseline, or no actions of it for the seed.
    """
    source = _of_baseline(options) if str(options.run) in TASKS else _of_run(options)
    functional, player = source.functional, source.player
    folder = source.folder / "video"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "episode.gif", folder / "episode.mp4"]
    seen = list(frames(functional, player, source.seed, options.width))
    rate = round(1 / functional.task.scene.step)
    write_gif(paths[0], seen, fps=rate)
    write_mp4(paths[1], seen, fps=rate)
    if options.demo:
        found = demonstrate(functional, player, source.seed, source.task_id)
        paths.append(found.save(source.folder / "demonstration.npz"))
    return paths


def start_of(run: Run) -> int:
    """Seed of the episode that a run is shown by: a plan is worth something at its own start."""
    config = run.config
    plan = config["command"] == "optimise" and config["policy"] in ("open-loop", "plan")
    return int(config["seed"]) if plan else FRESH


def _of_run(options: Record) -> Source:
    run = Run(options.run)
    functional = run.functional(num_envs=1, device=options.device)
    seed = start_of(run) if options.seed is None else options.seed
    player, folder = load_player(run, functional), options.out or run.path
    return Source(run.config["id"], functional, player, seed, folder)


def _of_baseline(options: Record) -> Source:
    from agents.baselines import load_baseline, replaying

    task_id, seed = str(options.run), options.seed or 0
    functional = Functional(task_id, num_envs=1, device=options.device or "cpu")
    player = replaying(functional, load_baseline(task_id), seed)
    folder = options.out or Path("runs") / f"{task_id.split('/')[-1]}-baseline-{seed}"
    return Source(task_id, functional, player, seed, folder)


@torch.no_grad()
def frames(
    functional: Functional, player: Player, seed: int, width: int = 720
) -> Iterator[np.ndarray]:
    """Frames (width / 2, width, 3) of an episode, the start included."""
    painter = Painter(functional, width, width // 2)
    state = functional.initial(seed)
    yield painter.frame(state, None)
    for t in range(functional.task.horizon):
        action = player(state, t)
        state = functional.transition(state, action)
        yield painter.frame(state, action)
