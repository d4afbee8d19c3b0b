"""Water in a cup: carried, and poured into a glass."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm import Control, State
from tasks.liquids import FluidTask, side_view, sliding, water

WALL = 0.05
"""Thickness of cups and glasses [m]: two cells and more, so that little seeps out."""
CUP_HALF, TALL = 0.19, 0.4
"""Half width of the cup, and height of cup and glass, outside [m]."""
BLUR = 0.01
"""Of the sigmoids that count particles in rewards [m]."""


class FluidTransport(FluidTask):
    """A cup carries water to a goal without spilling.

    ## Description

    After the FluidMove of rewarped (Xing et al., ICLR 2025) and FluidLab's Transporting, in a
    vertical plane of 1.5 m by 1 m: a cup 0.38 m wide and 0.4 m high, with walls of 0.05 m, holds
    water 0.2 m deep, 1000 kg/m³, sound at 15 m/s. Its viscosity of 1 Pa s stands for what a grid
    this coarse cannot resolve. The cup's middle is to reach the goal. A particle is spilled while
    it is beyond the cup's sides or below it.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the cup along x; it stops 0.05 m from the walls | 0.8 m/s |
    | 1 | along y | 0.8 m/s |

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–99 | x and y of 50 particles, evenly by number, from the middle of the domain | 0.75 m |
    | 100–199 | x and y velocity of the same particles | 0.8 m/s |
    | 200–203 | x, y from the middle, and x, y velocity of the cup | 0.75 m, 0.8 m/s |
    | 204–205 | x and y of the goal from the middle | 0.75 m |

    ## Reward

    (1/(1 + (d/0.25 m)²))² minus the spilled fraction, d the distance of the cup's middle to the
    goal, each particle counted by a sigmoid of 0.01 m; rewarped weighs the first by 0.1 and takes d
    in metres. The task is done when d < 0.03 m and less than 2 % is spilled. The goal variant has
    the distance to the goal alone.

    ## Costs

    `spill`: the spilled fraction at the end of the step.

    ## Start

    The cup stands still at (0.3, 0.35) m; each particle is displaced by up to 2 % of a cell. The
    goal is drawn in 0.7 m to 1.2 m by 0.3 m to 0.7 m. Reset options: `target`, and `material`
    multiplies the viscosity by 0.5 to 2.

    ## Episode end

    After 150 steps of 0.02 s; there is no early end.

    ## Arguments

    `size`: "small" (513 particles, 72 × 48 cells) or "full" (8,316 particles, 288 × 192).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 2
    num_observations: ClassVar[int] = 204
    num_goals: ClassVar[int] = 2
    goal_tolerance: ClassVar[float] = 0.03
    horizon: ClassVar[int] = 150
    top_speed: ClassVar[float] = 0.8
    cost_names: ClassVar[tuple[str, ...]] = ("spill",)
    material_ranges = {"dynamic_viscosity": (0.5, 2.0)}

    home: ClassVar[tuple[float, float]] = (0.3, 0.35)
    depth: ClassVar[float] = 0.2
    goal_low: ClassVar[tuple[float, ...]] = (0.7, 0.3)
    goal_high: ClassVar[tuple[float, ...]] = (1.2, 0.7)
    near: ClassVar[float] = 0.25
    most_spilled: ClassVar[float] = 0.02

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = mpm.Scene(size=(1.5, 1.0), cells=(72 * scale, 48 * scale), step=0.02)
        self.scene.add_body(pool(self.home, self.depth), water(15.0), name="water")
        shape = vessel(CUP_HALF, TALL)
        self.scene.add_tool(shape, name="cup", position=self.home, softness=self.softness)

    def control(self, state: State, action: Tensor) -> Control:
        """The cup's velocity; it stops at the walls."""
        reach = np.array([CUP_HALF, TALL / 2]) + 0.05
        velocity = action * self.top_speed
        return sliding(self.steered(state, "cup", velocity, reach, self.scene.size - reach))

    def observe(self, state: State) -> Tensor:
        """Particles and cup."""
        return torch.cat([self.sample(state), self.tool(state, "cup")], dim=1)

    def spilled(self, state: State, blur: float = 0.0) -> Tensor:
        """Fraction (N,) of the particles beside or below the cup; each by a sigmoid if blurred."""
        place = state.x - state.pose[:, None, 0, :2]
        aside = CUP_HALF - place[..., 0].abs()
        return 1.0 - inside([aside, place[..., 1] + TALL / 2], blur).mean(dim=1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Nearness to the goal minus the spilled fraction."""
        gap = self.achieved_goal(after) - self.desired_goal(after)
        near = 1.0 / (1.0 + gap.square().sum(dim=1) / self.near**2)
        return near.square() - self.spilled(after, BLUR)

    def success(self, state: State) -> Tensor:
        """At the goal, with next to nothing spilled."""
        distance = self.goal_distance(self.achieved_goal(state), self.desired_goal(state))
        return (distance < self.goal_tolerance) & (self.spilled(state) < self.most_spilled)

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """The spilled fraction."""
        return {"spill": self.spilled(after)}

    def draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        """Evenly from the box of goals."""
        return rng.uniform(self.goal_low, self.goal_high)

    def middle_goal(self) -> np.ndarray:
        """The middle of that box."""
        return np.mean([self.goal_low, self.goal_high], axis=0)

    def achieved_goal(self, state: State) -> Tensor:
        """The middle of the cup."""
        return state.pose[:, 0, :2]

    def goal_features(self, state: State) -> Tensor:
        """The goal as places are observed."""
        return self.relative(self.desired_goal(state))

    def script(self, state: State, t: int) -> Tensor:
        """Towards the goal with small changes of velocity, slower the nearer it is."""
        velocity = state.twist[:, 0, :2]
        wanted = (2.5 * (self.desired_goal(state) - self.achieved_goal(state))).clamp(-0.6, 0.6)
        change = (wanted - velocity).clamp(-0.03, 0.03)
        return (velocity + change) / self.top_speed

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Blue water."""
        return side_view(self.scene)


class Pour(FluidTask):
    """A cup is tilted to pour its water into a glass.

    ## Description

    After FluidLab's Pouring (Xian et al., ICLR 2023), in a vertical plane of 1.2 m by 1.2 m, with
    water alone: a cup 0.38 m wide and 0.4 m high holds water 0.25 m deep, the fluid and walls of
    `FluidTransport`. It turns about its middle, 0.8 m above the floor, on which a glass 0.5 m wide
    and 0.4 m high stands at x = 0.85 m. A particle lower than the glass's rim is either in the
    glass or spilled.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | rate of tilt, clockwise, towards the glass; it stops at 0 and 2.4 rad | 1.5 rad/s |
    | 1 | velocity of the cup along x; it stops at 0.3 m and 0.9 m | 0.5 m/s |

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–99 | x and y of 50 particles, evenly by number, from the middle of the domain | 0.6 m |
    | 100–199 | x and y velocity of the same particles | 2 m/s |
    | 200–201 | x of the cup from the middle, and its velocity | 0.6 m, 0.5 m/s |
    | 202–203 | sine and cosine of the tilt | – |
    | 204 | rate of tilt | 1.5 rad/s |

    ## Reward

    The fraction in the glass minus the fraction spilled, each particle counted by sigmoids of
    0.01 m. The task is done when at least 90 % is in the glass.

    ## Costs

    `spill`: the spilled fraction at the end of the step.

    ## Start

    The cup stands upright at x = 0.35 m; each particle is displaced by up to 2 % of a cell. Reset
    options: `material` multiplies the viscosity by 0.5 to 2.

    ## Episode end

    After 200 steps of 0.02 s; there is no early end.

    ## Arguments

    `size`: "small" (440 particles, 48 × 48 cells) or "full" (7,200 particles, 192 × 192).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 2
    num_observations: ClassVar[int] = 205
    horizon: ClassVar[int] = 200
    top_speed: ClassVar[float] = 2.0
    cost_names: ClassVar[tuple[str, ...]] = ("spill",)
    material_ranges = {"dynamic_viscosity": (0.5, 2.0)}

    home: ClassVar[tuple[float, float]] = (0.35, 0.8)
    glass: ClassVar[tuple[float, float]] = (0.85, 0.2)
    glass_half: ClassVar[float] = 0.25
    depth: ClassVar[float] = 0.25
    slide_range: ClassVar[tuple[float, float]] = (0.3, 0.9)
    most_tilt: ClassVar[float] = 2.4
    units: ClassVar[tuple[float, float]] = (1.5, 0.5)
    goal: ClassVar[float] = 0.9

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        cells = 48 if size == "small" else 192
        self.scene = mpm.Scene(size=(1.2, 1.2), cells=(cells, cells), step=0.02)
        self.scene.add_body(pool(self.home, self.depth), water(20.0), name="water")
        cup, glass = vessel(CUP_HALF, TALL), vessel(self.glass_half, TALL)
        self.scene.add_tool(cup, name="cup", position=self.home, softness=self.softness)
        self.scene.add_tool(glass, name="glass", position=self.glass, softness=self.softness)

    def control(self, state: State, action: Tensor) -> Control:
        """The cup's velocity and turning; it stops at the ends of its ranges."""
        rate, speed = (action * action.new_tensor(self.units)).unbind(dim=1)
        wanted = torch.stack([speed, torch.zeros_like(speed), -rate], dim=1)
        (left, right), height = self.slide_range, self.home[1]
        low, high = (left, height, -self.most_tilt), (right, height, 0.0)
        cup = self.steered(state, "cup", wanted, low, high)
        return Control(tools=torch.stack([cup, torch.zeros_like(cup)], dim=1))

    def observe(self, state: State) -> Tensor:
        """Particles and cup."""
        place, motion, tilt = state.pose[:, 0], state.twist[:, 0], -state.pose[:, 0, 2]
        rate, speed = self.units
        cup = [
            self.relative(place[:, :2])[:, 0],
            motion[:, 0] / speed,
            torch.sin(tilt),
            torch.cos(tilt),
            -motion[:, 2] / rate,
        ]
        return torch.cat([self.sample(state), torch.stack(cup, dim=1)], dim=1)

    def shares(self, state: State, blur: float = 0.0) -> tuple[Tensor, Tensor]:
        """Fractions (N,) of the particles in the glass and spilled; by sigmoids if blurred."""
        low = TALL - state.x[..., 1]
        within = self.glass_half - (state.x[..., 0] - self.glass[0]).abs()
        filled, spilled = (inside([low, d], blur).mean(dim=1) for d in (within, -within))
        return filled, spilled

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """The fraction in the glass minus the fraction spilled."""
        filled, spilled = self.shares(after, BLUR)
        return filled - spilled

    def success(self, state: State) -> Tensor:
        """Nearly all is in the glass."""
        return self.shares(state)[0] >= self.goal

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """The spilled fraction."""
        return {"spill": self.shares(after)[1]}

    def script(self, state: State, t: int) -> Tensor:
        """Tilt steadily, with the lip kept short of the glass's middle."""
        tilt = -state.pose[:, 0, 2]
        lip = state.pose[:, 0, 0] + CUP_HALF * torch.cos(tilt) + TALL / 2 * torch.sin(tilt)
        speed = (2.0 * (self.glass[0] - 0.15 - lip)).clamp(-0.3, 0.3)
        rate = torch.where(speed.abs() < 0.1, 0.7, 0.3)
        return torch.stack([rate / self.units[0], speed / self.units[1]], dim=1)

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Blue water."""
        return side_view(self.scene)


def vessel(half: float, tall: float) -> mpm.Difference:
    """An open vessel `2 half` wide and `tall` high [m]; the origin is its middle.

    A difference rather than the union `mpm.tools.cup`: its distance is right in the corners, where
    a union lets more through.
    """
    hollow = mpm.Box((0.0, WALL + tall / 2), (2 * (half - WALL), 2 * tall))
    return mpm.Difference(mpm.Box((0.0, 0.0), (2 * half, tall)), hollow)


def pool(middle: tuple[float, float], depth: float) -> mpm.Box:
    """The water `depth` [m] deep in a cup with this middle [m]."""
    x, y = middle
    width = 2 * (CUP_HALF - WALL)
    return mpm.Box((x, y - TALL / 2 + WALL + depth / 2), (width, depth))


def inside(depths: list[Tensor], blur: float) -> Tensor:
    """Whether points are on the inner side of all planes, by their depths [m] behind them.

    One or zero; with a blur [m] the product of sigmoids of depth over blur.
    """
    if blur == 0.0:
        return torch.stack([depth > 0.0 for depth in depths]).all(dim=0).to(depths[0].dtype)
    return torch.sigmoid(torch.stack(depths) / blur).prod(dim=0)
