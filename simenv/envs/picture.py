"""Painter: frames of a task, drawn by the particle splatter."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from torch import Tensor

from simenv.envs.functional import Functional
from simenv.mpm import State
from simenv.render import Splatter

WIDTH, HEIGHT = 720, 360


class Painter:
    """Draws one environment of a task at a time; `Task.picture` says how.

    Args:
        functional: the task and its simulator.
        width: of the frames [pixels].
        height: of the frames [pixels].
    """

    def __init__(self, functional: Functional, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.functional = functional
        self.splatter = Splatter(width, height, device=functional.device)

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
        return self.splatter.render(state.x[index].detach(), **look)
