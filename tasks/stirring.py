"""A stirrer in a tray of viscous fluid, seen from above."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm import Control, Shape, Simulator, State
from tasks.liquids import MILK, WATER, FluidTask, sliding

TRAY = 0.24
"""Edge of the square tray [m]."""
RADIUS = 0.012
"""Of the stirrer [m]."""
TOUCHING = 1e-3
"""Gap to the wall [m], beyond the half cell that the grid fills, below which it is touched."""
ROWS = (1.5, 0.5, -0.5, -1.5, -0.5, 0.5) * 3
"""Rows that the scripted mixing goes along in turn, to the right and to the left."""
PITCH, ACROSS = 0.05, 0.09
"""Distance of two rows, and half their length [m]."""


class Stirring(FluidTask):
    """A round stirrer in a square tray.

    From above rather than from the side: without gravity and a free surface the fluid stays where
    the stirrer leaves it, so that what is drawn keeps its shape.

    Attributes:
        home: where the stirrer starts (x, y) [m].
    """

    num_actions: ClassVar[int] = 2
    home: ClassVar[tuple[float, float]]
    cost_names: ClassVar[tuple[str, ...]] = ("wall",)
    material_ranges = {"dynamic_viscosity": (0.5, 2.0)}

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        cells = 24 if size == "small" else 96
        self.scene = mpm.Scene(
            size=(TRAY, TRAY),
            cells=(cells, cells),
            gravity=(0.0, 0.0),
            step=0.05,
            walls={"default": mpm.Wall("sticky")},
        )
        # Sound at ten times the stirrer's top speed.
        syrup = mpm.Fluid(bulk_modulus=9.0e3, density=1.0e3, dynamic_viscosity=1.0)
        for name, shape in self.fluids(mpm.Sphere(self.home, RADIUS)).items():
            self.scene.add_body(shape, syrup, name=name)
        stirrer = mpm.Sphere(self.home, RADIUS)
        self.scene.add_tool(stirrer, name="stirrer", mode="sticky", softness=self.softness)
        self._edge = RADIUS + 0.5 * self.scene.dx

    @abstractmethod
    def fluids(self, stirrer: Shape) -> dict[str, Shape]:
        """The two parts of the fluid around the stirrer, by name."""

    def control(self, state: State, action: Tensor) -> Control:
        """The stirrer's velocity; it stops at the walls."""
        low, high = (self._edge,) * 2, (TRAY - self._edge,) * 2
        return sliding(self.steered(state, "stirrer", action * self.top_speed, low, high))

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Touching the wall."""
        place = after.pose[:, 0, :2]
        gap = torch.minimum(place, TRAY - place).amin(dim=1) - self._edge
        return {"wall": (gap < TOUCHING).to(gap.dtype)}

    @abstractmethod
    def path(self, t: int) -> tuple[float, float]:
        """Where the scripted stirrer is after t steps [m]."""

    def script(self, state: State, t: int) -> Tensor:
        """Go along the path."""
        ahead = state.x.new_tensor(self.path(t + 1)) - state.pose[:, 0, :2]
        return ahead / (self.scene.step * self.top_speed)

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """The first fluid pale, the second blue, and the tray's edge."""
        from simenv.render import Camera2D

        first, second = (self.simulator.particles(body.name) for body in self.scene.bodies)
        colors = np.empty((state.x.shape[1], 3))
        colors[first], colors[second] = MILK, WATER
        return {
            "colors": colors,
            "radius": 0.75 * math.sqrt(self.scene.bodies[0].volume),
            "camera": Camera2D(center=(TRAY / 2, TRAY / 2), height=1.75 * TRAY),
            "bounds": ((0.0, 0.0), (TRAY, TRAY)),
        }


class LatteStir(Stirring):
    """A stirrer draws a square of milk out into a figure.

    ## Description

    After FluidLab's LatteArtStir (Xian et al., ICLR 2023), seen from above: a tray of 0.24 m by
    0.24 m full of fluid of 1000 kg/m³ and 1 Pa s (a syrup: in coffee the picture would swirl on),
    sound at 3 m/s, no slip at walls and stirrer. A square of 0.08 m in the middle is marked as
    milk, which is the same fluid. The stirrer is 24 mm thick and, unlike in FluidLab, cannot leave
    the fluid. The target is where the milk goes when the stirrer swings once to either side on its
    way down through it and returns to the middle, computed with hard contact on the same grid when
    the first environment is made: that takes half a second at the small size, and about half a
    minute at the full one on a CPU.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the stirrer along x; it stops at the walls | 0.1 m/s |
    | 1 | along y | 0.1 m/s |

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–399 | x and y of 100 particles of milk and 100 of the rest, from the middle | 0.12 m |
    | 400–799 | x and y velocity of the same particles | 0.1 m/s |
    | 800–803 | x, y from the middle, and x, y velocity of the stirrer | 0.12 m, 0.1 m/s |
    | 804 | time since the start | 7.5 s |

    ## Reward

    Minus the mean square distance of milk particles to their targets of that moment, over the same
    at the end of an episode in which the milk stays where it was. The task is done when this ratio
    is at most 0.1 at the end of the episode.

    ## Costs

    `wall`: 1 for every step that ends with the stirrer touching a wall, within half a cell and a
    millimetre.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell. Reset options: `material` multiplies the
    viscosity by 0.5 to 2.

    ## Episode end

    After 150 steps of 0.05 s; there is no early end.

    ## Arguments

    `size`: "small" (2,288 particles, 24 × 24 cells) or "full" (36,580 particles, 96 × 96).

    ## Version history

    v0: first version.
    """

    num_observations: ClassVar[int] = 805
    top_speed: ClassVar[float] = 0.1
    horizon: ClassVar[int] = 150
    shown: ClassVar[int] = 200
    home: ClassVar[tuple[float, float]] = (0.12, 0.19)
    goal: ClassVar[float] = 0.1
    down: ClassVar[int] = 100
    sway: ClassVar[float] = 0.05
    low: ClassVar[float] = 0.05
    end: ClassVar[float] = 0.11

    def fluids(self, stirrer: Shape) -> dict[str, Shape]:
        """A square of milk in the middle, and the rest without the stirrer."""
        milk = mpm.Box((TRAY / 2, TRAY / 2), (TRAY / 3, TRAY / 3))
        whole = mpm.Box((TRAY / 2, TRAY / 2), (TRAY, TRAY))
        return {"milk": milk, "coffee": mpm.Difference(whole, mpm.Union(milk, stirrer))}

    def bind(self, simulator: Simulator) -> None:
        """Observed particles, and the target (T + 1, M, 2) [m]."""
        super().bind(simulator)
        milk, total = len(self.scene.bodies[0].x), simulator.num_particles
        parts = np.linspace(0, milk - 1, 100), np.linspace(milk, total - 1, 100)
        shown = np.concatenate(parts).round().astype(int)
        self._shown = torch.as_tensor(shown, device=simulator.device)
        dtype = str(simulator.dtype).removeprefix("torch.")
        target = self._target = _drawn(self.size, dtype, simulator.device)
        self._idle = (target[-1] - target[0]).square().sum(dim=1).mean()

    def path(self, t: int) -> tuple[float, float]:
        """The motion that draws the target: down, a swing to either side, back to the middle."""
        (x, y), share = self.home, t / self.down
        if share > 1.0:
            back = (t - self.down) / (self.horizon - self.down)
            return x, self.low + back * (self.end - self.low)
        return x + self.sway * math.sin(2 * math.pi * share), y + share * (self.low - y)

    def observe(self, state: State) -> Tensor:
        """Particles, stirrer and time."""
        time = state.time.to(state.x.dtype)[:, None] / self.horizon
        return torch.cat([self.sample(state), self.tool(state, "stirrer"), time], dim=1)

    def error(self, state: State) -> Tensor:
        """Mean square distance of milk and target, over that of idle milk at the end, (N,)."""
        wanted = self._target[state.time.clamp(max=self.horizon)]
        gap = state.x[:, self.simulator.particles("milk")] - wanted
        return gap.square().sum(dim=2).mean(dim=1) / self._idle

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the error."""
        return -self.error(after)

    def success(self, state: State) -> Tensor:
        """The picture is drawn at the end of the episode."""
        return (state.time >= self.horizon) & (self.error(state) <= self.goal)

    def target_points(self) -> Tensor:
        """Where the milk should be at the end."""
        return self._target[-1]

    def target_particles(self) -> slice:
        """The milk."""
        return self.simulator.particles("milk")


class Mixing(Stirring):
    """A stirrer mixes the two halves of a tray.

    ## Description

    After FluidLab's Mixing (Xian et al., ICLR 2023), seen from above: the tray, fluid and stirrer
    of `LatteStir`, the left and the right half of the fluid marked. FluidLab measures mixing by
    the distances between all pairs of particles of a little milk; here it is Danckwerts' intensity
    of segregation (Appl. Sci. Res. A 3, 1952): the variance of the left fluid's share over parcels
    of 0.04 m, which overlap as bilinear weights do, over the variance of fluids that do not mix at
    all; 1 for these, and 0 where the share is the same everywhere.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the stirrer along x; it stops at the walls | 0.3 m/s |
    | 1 | along y | 0.3 m/s |

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–48 | the left fluid's share in 7 × 7 parcels, x slowest, minus one half | 0.5 |
    | 49–148 | x and y of 50 particles, evenly by number, from the middle | 0.12 m |
    | 149–248 | x and y velocity of the same particles | 0.3 m/s |
    | 249–252 | x, y from the middle, and x, y velocity of the stirrer | 0.12 m, 0.3 m/s |

    ## Reward

    Minus the intensity of segregation. The task is done when that is at most 0.25.

    ## Costs

    `wall`: 1 for every step that ends with the stirrer touching a wall, within half a cell and a
    millimetre.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell. Reset options: `material` multiplies the
    viscosity by 0.5 to 2.

    ## Episode end

    After 200 steps of 0.05 s; there is no early end.

    ## Arguments

    `size`: "small" (2,288 particles, 24 × 24 cells) or "full" (36,580 particles, 96 × 96).

    ## Version history

    v0: first version.
    """

    num_observations: ClassVar[int] = 253
    horizon: ClassVar[int] = 200
    top_speed: ClassVar[float] = 0.3
    home: ClassVar[tuple[float, float]] = (TRAY / 2, TRAY / 2)
    goal: ClassVar[float] = 0.25
    parcels: ClassVar[int] = 7

    def fluids(self, stirrer: Shape) -> dict[str, Shape]:
        """The halves of the tray, without the stirrer."""
        half = (TRAY / 2, TRAY)
        left, right = (mpm.Box((x * TRAY, TRAY / 2), half) for x in (0.25, 0.75))
        return {"left": mpm.Difference(left, stirrer), "right": mpm.Difference(right, stirrer)}

    def shares(self, state: State) -> tuple[Tensor, Tensor]:
        """The left fluid's share in every parcel, and the parcel's share of all, (N, 49) each."""
        halves = [state.x[:, self.simulator.particles(name)] for name in ("left", "right")]
        part, rest = (self._parcelled(x) for x in halves)
        whole = part + rest
        return part / whole.clamp(min=1e-6), whole / state.x.shape[1]

    def _parcelled(self, x: Tensor) -> Tensor:
        """Particles (N, P, 2) counted by bilinear weights, (N, 49)."""
        place = x * ((self.parcels - 1) / TRAY)
        # Towards zero, which unlike `floor` leaves torch's threads asleep.
        corner = place.detach().long().clamp(0, self.parcels - 2)
        upper = place - corner
        row = self.parcels**2 * torch.arange(len(x), device=x.device)[:, None]
        counts = x.new_zeros(len(x) * self.parcels**2)
        for i, j in itertools.product((0, 1), repeat=2):
            weight = (upper if i else 1.0 - upper)[..., 0] * (upper if j else 1.0 - upper)[..., 1]
            index = row + (corner[..., 0] + i) * self.parcels + corner[..., 1] + j
            counts = counts.index_add(0, index.flatten(), weight.flatten())
        return counts.reshape(len(x), -1)

    def segregation(self, state: State) -> Tensor:
        """Intensity of segregation (N,)."""
        share, weight = self.shares(state)
        mean = (share * weight).sum(dim=1, keepdim=True)
        spread = ((share - mean).square() * weight).sum(dim=1)
        return spread / (mean * (1.0 - mean))[:, 0]

    def observe(self, state: State) -> Tensor:
        """Shares, particles and stirrer."""
        share = 2.0 * self.shares(state)[0] - 1.0
        return torch.cat([share, self.sample(state), self.tool(state, "stirrer")], dim=1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the intensity of segregation."""
        return -self.segregation(after)

    def success(self, state: State) -> Tensor:
        """Mixed well enough."""
        return self.segregation(state) <= self.goal

    def path(self, t: int) -> tuple[float, float]:
        """Where the stirrer is after t steps [m] when it goes along rows, down the tray and up."""
        corners = [self.home]
        for k, row in enumerate(ROWS):
            side = ACROSS if k % 2 == 0 else -ACROSS
            corners += [(TRAY / 2 + x, TRAY / 2 + row * PITCH) for x in (-side, side)]
        lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
        # A little slower than it could, to catch up after the corners.
        gone = 0.95 * t * self.scene.step * self.top_speed
        x, y = (np.interp(gone, [0.0, *lengths.cumsum()], axis) for axis in np.transpose(corners))
        return float(x), float(y)


@lru_cache(maxsize=4)
@torch.no_grad()
def _drawn(size: str, dtype: str, device: str) -> Tensor:
    """Milk (T + 1, M, 2) [m] at every step of the motion that makes the target, from rest."""
    task = LatteStir(size=size)
    simulator = task.scene.build(1, dtype=dtype, device=device)
    FluidTask.bind(task, simulator)
    state, milk = simulator.initial_state(), simulator.particles("milk")
    seen = [state.x[0, milk]]
    for t in range(task.horizon):
        state = simulator.step(state, task.control(state, task.script(state, t)))
        seen.append(state.x[0, milk])
    return torch.stack(seen)
