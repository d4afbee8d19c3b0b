"""Sand worked with hand-held tools: digging, smoothing, drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm import Shape, State, tools
from tasks.sandbed import BINS, COLUMNS, DEPTH, EDGE, RELIEF, THICKNESS, WIDTH, SandTask


class SandDig(SandTask):
    """A shovel digs a hole into a bed of sand and throws what it lifts aside.

    ## Description

    After "Dig A Hole" of UBSoft (2411.12711), of which material and tool alone are published; the
    rest is ours. A level bed 0.1 m deep fills a box 1.28 m wide: Drucker–Prager sand of 35°, E =
    40 kPa, 1600 kg/m³, softer than sand is so that a step takes few substeps. The shovel is an L of
    0.14 by 0.1 m, open to +x, with friction 0.3. The hole is to be 0.16 m wide and 0.05 m deep.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the shovel along x | 0.5 m/s |
    | 1 | velocity of the shovel along y | 0.5 m/s |
    | 2 | angular velocity of the shovel about the middle of its back | 3 rad/s |

    The shovel stops where its reach ends: x from 0.04 to 1.24 m, y from 0.07 to 0.5 m, ±1.2 rad.

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–63 | heights of the sand in columns of 0.02 m, above the level of 0.1 m | 0.025 m |
    | 64–66 | x, from 0.64 m; y, from 0.1 m; angle of the shovel | 0.64 m, 0.1 m, 1 rad |
    | 67–69 | velocity and angular velocity of the shovel | as the actions |

    ## Reward

    Minus the share of the sand that is left in the hole and above it, minus 0.01 |a|² per step; the
    hole's edges are blurred by 5 mm. The task is done when at most a quarter is left.

    ## Costs

    `torque`: 1 for every step with a mean torque of more than 30 N m/m on the shovel. `spill`: 1
    for every step that ends with 2 % more of the bed than at the start outside x = 0.16 to 1.12 m.

    ## Start

    Waves of up to 5 % of the depth on the bed, each particle displaced by up to 2 % of a cell; the
    shovel above the sand at x = 0.3 m. Reset option: `material` multiplies the friction angle by
    0.8 to 1.2.

    ## Episode end

    After 150 steps of 0.04 s, dug or not.

    ## Arguments

    `size`: "small" (1,280 particles, 64 × 32 cells) or "full" (20,480 particles, 256 × 128);
    `softness` of the shovel's contact.

    ## Version history

    v0: first version.
    """

    start_place: ClassVar[tuple[float, float]] = (0.3, 0.3)
    lowest: ClassVar[tuple[float, float, float]] = (0.04, 0.07, -1.2)
    highest: ClassVar[tuple[float, float, float]] = (1.24, 0.5, 1.2)
    torque_limit: ClassVar[float] = 30.0
    hole: ClassVar[tuple[float, float]] = (0.56, 0.72)
    bottom: ClassVar[float] = 0.05
    blur: ClassVar[float] = 0.005
    knots = (
        (0, 0.3, 0.3, 0.0),
        (10, 0.4, 0.16, -0.4),
        (17, 0.44, 0.11, -0.15),
        (36, 0.64, 0.11, 0.0),
        (43, 0.72, 0.2, 0.35),
        (52, 0.82, 0.24, 0.2),
        (58, 0.85, 0.24, -1.1),
        (62, 0.87, 0.26, -1.1),
        (78, 0.4, 0.22, -0.5),
        (85, 0.42, 0.09, -0.25),
        (106, 0.64, 0.09, 0.0),
        (114, 0.72, 0.2, 0.35),
        (124, 0.83, 0.26, 0.2),
        (131, 0.87, 0.26, -1.1),
        (136, 0.9, 0.28, -1.1),
    )

    def tool(self) -> Shape:
        """The cross-section of a scoop, held at the middle of its back."""
        return tools.scoop(1.0, 0.14, 0.1, THICKNESS, dim=2)

    def remaining(self, state: State) -> Tensor:
        """Area of sand [m²] in the hole and above it."""
        x, y = state.x[:, :, 0], state.x[:, :, 1]
        left, right = self.hole
        within = torch.sigmoid((x - left) / self.blur) * torch.sigmoid((right - x) / self.blur)
        above = torch.sigmoid((y - self.bottom) / self.blur)
        return (within * above).sum(dim=1) * self.scene.bodies[0].volume

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """What is still to be dug is drawn redder."""
        look = super().picture(state, action)
        x, y = state.x[0].cpu().numpy().T
        inside = (x > self.hole[0]) & (x < self.hole[1]) & (y > self.bottom)
        look["colors"][inside] *= np.array([1.0, 0.75, 0.7])
        return look


class SandSmooth(SandTask):
    """A scraper levels the waves on a bed of sand.

    ## Description

    After "Smooth Surface" of UBSoft (2411.12711), of which material and tool alone are published.
    The bed is that of SandDig with waves of 0.51 and 0.37 m on it, some 0.04 m from trough to
    crest. The scraper is an upright blade 0.2 m long and 0.03 m thick with friction 0.3.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the scraper along x | 0.5 m/s |
    | 1 | velocity of the scraper along y | 0.5 m/s |
    | 2 | angular velocity of the scraper about its upper end | 3 rad/s |

    The scraper's upper end stays within x from 0.04 to 1.24 m, y from 0.23 to 0.5 m, ±1.2 rad.

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–63 | heights of the columns of sand, each 0.02 m wide, less 0.1 m | 0.025 m |
    | 64–66 | scraper: x less 0.64 m, y less 0.1 m, angle | 0.64 m, 0.1 m, 1 rad |
    | 67–69 | scraper: velocity along x and y, angular velocity | as the actions |

    ## Reward

    Unevenness: mean distance of 16 heights from their mean, each that of three columns between x =
    0.16 and 1.12 m. The reward is minus the unevenness over that of the start, minus 0.01 |a|², per
    step. The task is done when at most a quarter of the unevenness is left.

    ## Costs

    `torque`: 1 for every step with a mean torque of more than 15 N m/m about the scraper's upper
    end. `spill`: 1 for every step that ends with 2 % more of the bed than at the start outside x =
    0.16 to 1.12 m.

    ## Start

    Waves of random size and sign, particles displaced by up to 2 % of a cell, the scraper above the
    sand at x = 0.12 m. Reset option: `material` multiplies the friction angle by 0.8 to 1.2.

    ## Episode end

    After 150 steps of 0.04 s, level or not.

    ## Arguments

    `size`: "small" (1,280 particles on 64 × 32 cells) or "full" (20,480 on 256 × 128);
    `softness` of the scraper's contact.

    ## Version history

    v0: first version.
    """

    roughness: ClassVar[float] = 0.3
    start_place: ClassVar[tuple[float, float]] = (0.12, 0.42)
    lowest: ClassVar[tuple[float, float, float]] = (0.04, 0.23, -1.2)
    highest: ClassVar[tuple[float, float, float]] = (1.24, 0.5, 1.2)
    torque_limit: ClassVar[float] = 15.0
    knots = (
        (0, 0.18, 0.41, -0.3),
        (6, 0.14, 0.34, -0.3),
        (8, 0.14, 0.291, -0.3),
        (50, 1.14, 0.291, -0.3),
        (54, 1.22, 0.321, -0.3),
        (57, 1.14, 0.35, 0.3),
        (60, 1.14, 0.291, 0.3),
        (102, 0.14, 0.291, 0.3),
        (105, 0.06, 0.321, 0.3),
        (108, 0.14, 0.34, -0.3),
        (110, 0.14, 0.296, -0.3),
        (145, 1.01, 0.296, -0.3),
        (150, 1.11, 0.326, -0.3),
    )

    def tool(self) -> Shape:
        """A blade held at its upper end."""
        return mpm.Box((0.0, -0.1), (THICKNESS, 0.2))

    def remaining(self, state: State) -> Tensor:
        """Mean distance [m] of the heights from their mean."""
        profile = self.profile(state)
        return (profile - profile.mean(dim=1, keepdim=True)).abs().mean(dim=1)


class SandPaint(SandTask):
    """A rod draws two furrows of given place and size into a bed of sand.

    ## Description

    After "Sand Painting" of UBSoft (2411.12711), of which material and tool alone are published.
    The bed is that of SandDig; the rod is 0.24 m long and 0.08 m thick, with a round tip and
    friction 0.3. The goal is a height profile: two furrows with the heaps beside them that they
    throw up, each h = −0.5 w (1 − u²) exp(−u²/2) over u = (x − c)/w, w from 0.07 to 0.085 m: as
    steep as sand will stand. The left one's c is drawn from 0.42 to 0.5 m, the right one's from
    0.78 to 0.86 m.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the rod along x | 0.5 m/s |
    | 1 | velocity of the rod along y | 0.5 m/s |
    | 2 | angular velocity of the rod about its upper tip | 3 rad/s |

    The rod's upper tip stays within x from 0.04 to 1.24 m, y from 0.26 to 0.6 m, ±1.2 rad.

    ## Observation space

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–63 | heights of 64 columns of sand 0.02 m wide, from a level of 0.1 m | 0.025 m |
    | 64–66 | rod: x from 0.64 m, y from 0.1 m, angle | 0.64 m, 0.1 m, 1 rad |
    | 67–69 | rod: velocity and angular velocity | as the actions |
    | 70–85 | goal: mean heights of three columns each, x = 0.16 to 1.12 m, less 0.1 m | 0.025 m |

    ## Reward

    Minus the mean distance of the 16 heights from the goal over that of the start, minus 0.01 |a|²
    per step. The task is done when at most a quarter of the distance is left. The goal variant asks
    for a root sum of squares of the 16 distances of at most 0.02 m, a third of a start's.

    ## Costs

    `torque`: 1 for every step with a mean torque of more than 40 N m/m about the rod's upper tip.
    `spill`: 1 for every step that ends with 2 % more of the bed than at the start outside x = 0.16
    to 1.12 m.

    ## Start

    Waves of up to 2 % of the depth, particles displaced by up to 2 % of a cell, the rod above the
    middle. Reset options: `material` multiplies the friction angle by 0.8 to 1.2, `target` sets the
    16 heights.

    ## Episode end

    After 150 steps of 0.04 s, drawn or not.

    ## Arguments

    `size`: "small" (1,280 particles, grid of 64 × 32 cells) or "full" (20,480, 256 × 128);
    `softness` of the rod's contact.

    ## Version history

    v0: first version.
    """

    roughness: ClassVar[float] = 0.02
    num_goals: ClassVar[int] = BINS
    goal_tolerance: ClassVar[float] = 0.02
    start_place: ClassVar[tuple[float, float]] = (0.64, 0.4)
    lowest: ClassVar[tuple[float, float, float]] = (0.04, 0.26, -1.2)
    highest: ClassVar[tuple[float, float, float]] = (1.24, 0.6, 1.2)
    torque_limit: ClassVar[float] = 40.0
    centres: ClassVar[tuple[tuple[float, float], ...]] = ((0.42, 0.5), (0.78, 0.86))
    widths: ClassVar[tuple[float, float]] = (0.07, 0.085)
    steepness: ClassVar[float] = 0.5

    def tool(self) -> Shape:
        """An upright rod held at its upper tip."""
        return tools.pin(0.04, 0.24, dim=2)

    def remaining(self, state: State) -> Tensor:
        """Mean distance [m] of the heights from the goal."""
        return (self.profile(state) - self.desired_goal(state)).abs().mean(dim=1)

    def draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        """Two furrows of random place and size."""
        places = [rng.uniform(*bounds) for bounds in self.centres]
        return self._furrows(places, rng.uniform(*self.widths, len(places)))

    def middle_goal(self) -> np.ndarray:
        """Two furrows of middling place and size."""
        places = [sum(bounds) / 2 for bounds in self.centres]
        return self._furrows(places, np.full(len(places), sum(self.widths) / 2))

    def _furrows(self, places: Sequence[float], widths: np.ndarray) -> np.ndarray:
        x = (np.arange(EDGE, COLUMNS - EDGE) + 0.5) * (WIDTH / COLUMNS)
        u = (x - np.asarray(places)[:, None]) / widths[:, None]
        furrows = self.steepness * widths[:, None] * (1 - u**2) * np.exp(-(u**2) / 2)
        return DEPTH - furrows.sum(axis=0).reshape(BINS, -1).mean(axis=1)

    def achieved_goal(self, state: State) -> Tensor:
        """The 16 heights."""
        return self.profile(state)

    def goal_features(self, state: State) -> Tensor:
        """The goal as the heights of the observation."""
        return (self.desired_goal(state) - DEPTH) / RELIEF

    def way(self, state: State) -> Tensor:
        """To and fro through each furrow in turn, the farther the larger it is to be.

        Both begin and end towards the middle, where the heaps of the two come together.
        """
        places, widths = self._read(self.desired_goal(state))
        knots = []
        for i in range(2):
            c, reach = places[:, i], 0.04 + 2.0 * (widths[:, i] - 0.07)
            plan = ((2, 0, 0.4), (12, 0, 0.345), (25, 0, 0.295), (32, 1, 0.295), (46, -1, 0.295))
            for t, side, y in (*plan, (60, 1, 0.295), (67, 0, 0.295), (71, 0, 0.4)):
                x = c + (1 - 2 * i) * (side * reach - 0.005)
                row = [torch.full_like(c, 72 * i + t), x, torch.full_like(c, y)]
                knots.append(torch.stack([*row, torch.zeros_like(c)], dim=1))
        return torch.stack(knots, dim=1)

    def _read(self, goal: Tensor) -> tuple[Tensor, Tensor]:
        """Places and sizes (N, 2) of the furrows of a goal, from what is missing in each half.

        ∫ 0.5 w (1 − u²) exp(−u²/2) dx = e^{−1/2} w² between the heaps.
        """
        bins = torch.arange(BINS).to(goal) + 0.5
        width = 3 * WIDTH / COLUMNS
        missing = (DEPTH - goal).clamp(min=0.0).unflatten(1, (2, -1))
        x = (EDGE * WIDTH / COLUMNS + bins * width).unflatten(0, (2, -1))
        area = missing.sum(dim=2)
        places = (missing * x).sum(dim=2) / area.clamp(min=1e-9)
        return places, torch.sqrt(area * width * math.exp(0.5))
