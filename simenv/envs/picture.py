"""Painter: frames of a task, drawn by the particle splatter."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from torch import Tensor

from simenv.envs.functional import Functional
from simenv.envs.solids import Solids, Spheres
from simenv.mpm import State
from simenv.render import Splatter
from simenv.render.colors import unit_colors

WIDTH, HEIGHT = 720, 360


class Painter:
    """Draws one environment of a task at a time; `Task.picture` says how.

    Tools are slate and free rigid bodies violet (see `Solids`).

    Args:
        functional: the task and its simulator.
        width: of the frames [pixels].
        height: of the frames [pixels].
    """

    def __init__(self, functional: Functional, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.functional = functional
        self.splatter = Splatter(width, height, device=functional.device)
        self.solids = Solids(functional.task.scene)

    def frame(self, state: State | None, action: Tensor | None, index: int = 0) -> np.ndarray:
        """Frame (height, width, 3), uint8, of environment `index`.

        Raises:
            ResetNeeded: there is no state yet.
        """
        if state is None:
            raise gymnasium.error.ResetNeeded("call reset() before render()")
        row = slice(index, index + 1)
        look: dict[str, Any] = self.functional.task.picture(
            state[row], None if action is None else action[row]
        )
        x = state.x[index].detach().cpu().numpy()
        if len(self.solids):
            eye = look["camera"].pose.eye if x.shape[1] == 3 else None
            x, look = _with_spheres(x, look, self.solids.spheres(state.pose[index], eye))
        return self.splatter.render(x, **look)


def _with_spheres(
    x: np.ndarray, look: dict[str, Any], spheres: Spheres
) -> tuple[np.ndarray, dict[str, Any]]:
    """Particles and how they look, followed by those of tools and rigid bodies."""
    colors = np.broadcast_to(unit_colors("colors", look["colors"]), (len(x), 3))
    radii = np.broadcast_to(np.asarray(look["radius"]), len(x))
    look = {
        **look,
        "colors": np.concatenate([colors, spheres.colors]),
        "radius": np.concatenate([radii, spheres.radii]),
    }
    return np.concatenate([x, spheres.positions]), look
