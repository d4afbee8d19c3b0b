"""Bodies that float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm import Control, State
from tasks.liquids import FluidTask, side_view, sliding, water


class GatherFloat(FluidTask):
    """A paddle drives water that carries two floats to the far end of a basin.

    ## Description

    After FluidLab's Gathering (Xian et al., ICLR 2023), in a vertical plane: a basin 1.6 m long
    with water 0.1 m deep, 1000 kg/m³ and 1 Pa s, sound at 12 m/s. Two discs of 0.08 m across and
    300 kg/m³ float on it. A paddle 0.35 m high and 0.05 m thick starts above the water at the left
    and may go as far as x = 1 m; the zone is what lies beyond x = 1.1 m. Pushed back, the water
    piles up in the zone, and when the paddle is lifted or hurries it runs off again.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the paddle along x; it stops at 0.1 m and 1 m | 0.6 m/s |
    | 1 | along y; it stops half a cell above the floor and 0.45 m up | 0.6 m/s |

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–99 | x and y of 50 particles, evenly by number, from the middle of the domain | 0.8 m |
    | 100–199 | x and y velocity of the same particles | 0.6 m/s |
    | 200–203 | x, y from the middle, and x, y velocity of the paddle | 0.8 m, 0.6 m/s |
    | 204–207 | the same of the first float | 0.8 m, 0.6 m/s |
    | 208–211 | the same of the second float | 0.8 m, 0.6 m/s |

    ## Reward

    Minus the sum of the floats' distances to x = 1.3 m, in metres, rounded off within 0.01 m. The
    task is done when the middles of both are in the zone.

    ## Costs

    `speed`: 1 for every step in which the paddle is faster than 0.4 m/s.

    ## Start

    The floats are set on the water at x between 0.45 m and 0.65 m and between 0.7 m and 0.9 m; each
    particle is displaced by up to 2 % of a cell. Reset options: `material` multiplies the viscosity
    by 0.5 to 2.

    ## Episode end

    After 240 steps of 0.02 s; there is no early end.

    ## Arguments

    `size`: "small" (1,024 particles, 64 × 32 cells) or "full" (16,384 particles, 256 × 128).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 2
    num_observations: ClassVar[int] = 212
    horizon: ClassVar[int] = 240
    top_speed: ClassVar[float] = 0.6
    cost_names: ClassVar[tuple[str, ...]] = ("speed",)
    material_ranges = {"dynamic_viscosity": (0.5, 2.0)}

    basin: ClassVar[tuple[float, float]] = (1.6, 0.8)
    depth: ClassVar[float] = 0.1
    radius: ClassVar[float] = 0.04
    floats: ClassVar[tuple[str, ...]] = ("first", "second")
    starts: ClassVar[tuple[tuple[float, float], ...]] = ((0.45, 0.65), (0.7, 0.9))
    paddle: ClassVar[tuple[float, float]] = (0.05, 0.35)
    reach: ClassVar[tuple[float, float]] = (0.1, 1.0)
    lifted: ClassVar[float] = 0.45
    zone: ClassVar[float] = 1.1
    middle: ClassVar[float] = 1.3
    speed_limit: ClassVar[float] = 0.4

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = mpm.Scene(size=self.basin, cells=(64 * scale, 32 * scale), step=0.02)
        length = self.basin[0]
        pool = mpm.Box((length / 2, self.depth / 2), (length, self.depth))
        self.scene.add_body(pool, water(12.0), name="water")
        left, top = self.reach[0], self.lifted
        plate = mpm.Box((left, top), self.paddle)
        self.scene.add_tool(plate, name="paddle", softness=self.softness)
        for name, (low, high) in zip(self.floats, self.starts, strict=True):
            disc = mpm.Sphere(((low + high) / 2, self.depth + self.radius), self.radius)
            self.scene.add_rigid(disc, density=300.0, name=name)

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Displace every particle, and draw where the floats are."""
        state, pose = super().perturb(rest, rngs), rest.pose.clone()
        drawn = np.stack([[rng.uniform(*ends) for ends in self.starts] for rng in rngs])
        pose[:, 1:, 0] = torch.as_tensor(drawn).to(pose)
        return state.replace(pose=pose)

    def control(self, state: State, action: Tensor) -> Control:
        """The paddle's velocity; it stops at the ends of its ranges."""
        floor = 0.5 * (self.paddle[1] + self.scene.dx)
        low, high = (self.reach[0], floor), (self.reach[1], self.lifted)
        return sliding(self.steered(state, "paddle", action * self.top_speed, low, high))

    def observe(self, state: State) -> Tensor:
        """Particles, paddle and floats."""
        rigid = [self.tool(state, name) for name in ("paddle", *self.floats)]
        return torch.cat([self.sample(state), *rigid], dim=1)

    def places(self, state: State) -> Tensor:
        """Where the floats are along x [m], (N, 2)."""
        return state.pose[:, 1:, 0]

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the floats' distances to the middle of the zone."""
        gap = self.places(after) - self.middle
        return -torch.sqrt(gap.square() + 1e-4).sum(dim=1)

    def success(self, state: State) -> Tensor:
        """Both floats are in the zone."""
        return (self.places(state) >= self.zone).all(dim=1)

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """A hasty paddle."""
        speed = torch.linalg.vector_norm(after.twist[:, 0, :2], dim=1)
        return {"speed": (speed > self.speed_limit).to(speed.dtype)}

    def script(self, state: State, t: int) -> Tensor:
        """Down, then to the right."""
        down, across = state.x.new_tensor([[0.0, -0.35], [0.35, -0.1]]) / self.top_speed
        dipped = state.pose[:, :1, 1] < 0.5 * self.paddle[1] + self.scene.dx
        return torch.where(dipped, across, down)

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Blue water."""
        return side_view(self.scene)
