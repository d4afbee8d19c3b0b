"""Soft robots that move themselves by muscles."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from simenv.mpm import State
from tasks.gaits import TwoLegged


class SoftWalker2D(TwoLegged):
    """A soft body on two legs of two muscles each walks along rough ground.

    ## Description

    After the 2-D walker of ChainQueen (Hu et al., ICRA 2019), in SI units: a torso of 0.4 m by
    0.125 m on legs 0.1 m long, jelly of E = 40 kPa and 1000 kg/m³, Coulomb friction 0.8. Each leg
    is two vertical strips; contracting one bends the leg, contracting both shortens it.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | activation of the rear leg's rear strip; positive contracts | 8 kPa |
    | 1 | of the rear leg's front strip | 8 kPa |
    | 2 | of the front leg's rear strip | 8 kPa |
    | 3 | of the front leg's front strip | 8 kPa |

    ## Observation space

    Groups: the four strips in the order of the actions, then the rear, middle and front third of
    the torso.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–6 | mean x of each group, relative to the torso's mean | 0.25 m |
    | 7–13 | mean height of each group above the ground | 0.25 m |
    | 14–20 | mean x velocity of each group | 1 m/s |
    | 21–27 | mean y velocity of each group | 1 m/s |
    | 28–29 | sine and cosine of a 2 Hz phase | – |

    ## Reward

    100 times the head's advance [m] minus 0.01 |a|² per step. The task is done when the head (the
    front third) has advanced 0.3 m.

    ## Costs

    `speed`: 1 for every step that ends with the torso faster than 0.25 m/s along x. `tilt`: 1 for
    every step that ends with the torso tilted by more than 40°.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell and the body given a velocity of up to
    0.02 m/s along each axis. Reset options: `pose` moves it along x by up to 0.1 m, `material`
    multiplies E by 0.7 to 1.4.

    ## Episode end

    After 80 steps of 0.05 s; there is no early end.

    ## Arguments

    `size`: "small" (448 particles, 120 × 24 cells) or "full" (7,168 particles, 480 × 96).

    ## Version history

    v0: first version.
    """

    horizon: ClassVar[int] = 80

    max_activation: ClassVar[float] = 8.0e3
    goal: ClassVar[float] = 0.3
    torso: ClassVar[tuple[float, float]] = (0.4, 0.125)
    leg: ClassVar[tuple[float, float]] = (0.1, 0.1)
    cost_names: ClassVar[tuple[str, ...]] = ("speed", "tilt")
    speed_limit: ClassVar[float] = 0.25
    tilt_limit: ClassVar[float] = math.radians(40)

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = self.ground((3.0, 0.6), (120 * scale, 24 * scale))
        self.add_walker(E=4.0e4)

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Too fast, and tipping over."""
        speed = after.v[:, :, 0] @ self._torso
        rear, front = torch.einsum("gp,npd->gnd", self._groups[[4, 6]], after.x)
        tilt = torch.atan2((front - rear)[:, 1], (front - rear)[:, 0]).abs()
        flags = {"speed": speed > self.speed_limit, "tilt": tilt > self.tilt_limit}
        return {name: flag.to(speed.dtype) for name, flag in flags.items()}
