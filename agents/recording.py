"""`simenv record`: an episode of a run as GIF and MP4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from agents.controllers import Player, load_player
from agents.options import Record
from agents.runs import Run
from simenv.envs.functional import Functional
from simenv.envs.picture import Painter
from simenv.render import write_gif, write_mp4

FRESH = 10_000
"""Seed of an episode that no training has seen."""


def record(options: Record) -> list[Path]:
    """Write video/episode.gif and video/episode.mp4 into the run; returns their paths."""
    run = Run(options.run)
    functional = run.functional(num_envs=1, device=options.device)
    seed = start_of(run) if options.seed is None else options.seed
    seen = list(frames(functional, load_player(run, functional), seed, options.width))
    rate = round(1 / functional.task.scene.step)
    folder = run.path / "video"
    folder.mkdir(exist_ok=True)
    paths = [folder / "episode.gif", folder / "episode.mp4"]
    write_gif(paths[0], seen, fps=rate)
    write_mp4(paths[1], seen, fps=rate)
    return paths


def start_of(run: Run) -> int:
    """Seed of the episode that a run is shown by: a plan is worth something at its own start."""
    config = run.config
    plan = config["command"] == "optimise" and config["policy"] in ("open-loop", "plan")
    return int(config["seed"]) if plan else FRESH


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
