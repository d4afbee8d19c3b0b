"""Dough under a rolling pin: to be rolled flat, or into a shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from simenv.errors import ConfigurationError
from simenv.mpm import State
from tasks.kneading import Kneading


class DoughRoll(Kneading):
    """A rolling pin flattens a block of dough.

    ## Description

    After RollingFlat of Rewarped (Xing et al., ICLR 2025), in SI units and with a pin that rolls: a
    block of 0.1 × 0.08 × 0.1 m of dough (von Mises, E = 16 kPa, yield stress 1.5 kPa, 1000 kg/m³)
    lies on a table of 0.4 m by 0.4 m with Coulomb friction 1. The pin, 0.1 m thick and 0.3 m long,
    follows its commands, rolls as far as it travels forward, and rubs the dough with
    friction 0.8. Its lowest point stays between 0.01 and 0.13 m above the table and at least
    0.05 m from the table's edges.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity across the pin's axis | 0.4 m/s |
    | 1 | velocity upwards | 0.2 m/s |
    | 2 | turning rate about the vertical | 3 rad/s |

    ## Observation space

    Places are relative to the middle of the table.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–191 | x, y, z of 64 particles, evenly chosen by number | 0.1 m |
    | 192–194 | x, y, z of the pin's lowest point | 0.1 m |
    | 195–196 | x and z of the direction in which it rolls forward | – |
    | 197–199 | velocity of the pin | 1 m/s |
    | 200 | its turning rate | 1 rad/s |

    ## Reward

    (1/(1 + h̄))² (1 + s((1/3 − h̄)/0.02)) − Var h per step, with h the particles' heights above the
    table over their mean at the start, h̄ and Var h their mean and variance, and s the logistic
    function, which stands for the source's doubling at once below 0.33. The task is done when h̄ is
    at most 1/3.

    ## Costs

    `force`: 1 for every step in which the mean force on the pin exceeds 30 N.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell, the pin 0.02 m above the dough. Reset
    options: `pose` moves the dough along x and z by up to 0.02 m, `material` multiplies the yield
    stress by 0.7 to 1.4.

    ## Episode end

    After 100 steps of 0.025 s; there is no early end.

    ## Arguments

    `size`: "small" (256 particles, 20 × 12 × 20 cells) or "full" (2,592 particles, 50 × 30 × 50).

    ## Version history

    v0: first version.
    """

    flat: ClassVar[float] = 1 / 3

    def remember(self, state: State) -> Tensor:
        """Mean height of the dough at the start [m]."""
        return state.x[:, :, 1].mean(dim=1, keepdim=True)

    def heights(self, state: State) -> Tensor:
        """Height of each particle over the mean height at the start, (N, P)."""
        return state.x[:, :, 1] / self.remembered(state)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """(1/(1 + h̄))², doubled where flat, less Var h."""
        h = self.heights(after)
        mean = h.mean(dim=1)
        doubling = 1 + torch.sigmoid((self.flat - mean) / 0.02)
        return doubling / (1 + mean).square() - h.var(dim=1, correction=0)

    def success(self, state: State) -> Tensor:
        """The mean height is a third of that at the start."""
        return self.heights(state).mean(dim=1) <= self.flat

    def script(self, state: State, t: int) -> Tensor:
        """Roll to and fro, deeper each time."""
        x = self.table / 2 + 0.11 * math.sin(2 * math.pi * t / 40)
        place = state.x.new_tensor((x, max(0.015, 0.085 - 0.0013 * t), self.table / 2))
        straight = state.x.new_zeros(state.num_envs)
        return self.toward(state, place.expand(state.num_envs, 3), straight)


class Outline(NamedTuple):
    """A target that fills a rectangle of the table.

    Attributes:
        length: along x [m].
        width: along z [m].
        slope: the heights at the ends of x are 1 ∓ `slope` times the mean.
        swing: how far the script rolls from the middle [m].
    """

    length: float
    width: float
    slope: float
    swing: float


class DoughShape(Kneading):
    """A rolling pin brings a block of dough into a given shape.

    ## Description

    The block, the table and the pin of DoughRoll; the idea is PlasticineLab's (Huang et al., ICLR
    2021). The target is a heap of the dough's volume on a rectangle of the table, one of three:

    | `target_shape` | length along x | width along z | height |
    |---|---|---|---|
    | "slab" | 0.18 m | 0.18 m | 0.025 m |
    | "bar" | 0.24 m | 0.12 m | 0.028 m |
    | "ramp" | 0.2 m | 0.12 m | rises along x from 0.013 m to 0.053 m |

    What counts is how high the dough stands: its volume over each of 10 × 10 columns of the table,
    0.04 m wide, per area. Volume is shared between neighbouring columns by linear weights, so that
    the map changes smoothly, and the target's is made in the same way. For heaps without hollows
    the overlap of the maps is that of the volumes; PlasticineLab compares densities in space.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | roll forward, without sliding | 0.4 m/s |
    | 1 | rise | 0.2 m/s |
    | 2 | turn to the left, seen from above | 3 rad/s |

    ## Observation space

    Lengths are measured from the middle of the table top.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–191 | places (x, y, z) of every fourth particle of the small size, 64 in all | 0.1 m |
    | 192–194 | place of the pin's lowest point | 0.1 m |
    | 195–196 | forward direction of the pin, x and z | – |
    | 197–200 | the pin's velocity and turning rate | 1 m/s, 1 rad/s |
    | 201–300 | the goal: heights of the target, z running fastest | 0.05 m |

    ## Reward

    By how many per cent the step makes the overlap grow, the intersection over union Σ min / Σ max
    of the two maps. The task is done at 70 %. In the goal variant the achieved goal is the dough's
    map, and the distance of two goals 1 less their overlap, with a tolerance of 0.3.

    ## Costs

    `force`: 1 for every step in which the mean force on the pin exceeds 30 N.

    ## Start

    As in DoughRoll, pose and material as well. A goal drawn has edges 0.95 to 1.05 times the
    target's, at the same volume, and is up to 0.005 m off the middle along x and z.

    ## Episode end

    After 100 steps of 0.025 s, never earlier.

    ## Arguments

    `size`: "small" or "full", as in DoughRoll. `target_shape`: "slab", "bar" or "ramp".

    ## Version history

    v0: first version.
    """

    columns: ClassVar[int] = 10
    num_goals: ClassVar[int] = columns * columns
    goal_tolerance: ClassVar[float] = 0.3
    goal_unit: ClassVar[float] = 0.05
    outlines: ClassVar[Mapping[str, Outline]] = {
        "slab": Outline(0.18, 0.18, 0.0, 0.03),
        "bar": Outline(0.24, 0.12, 0.0, 0.06),
        "ramp": Outline(0.2, 0.12, 0.6, 0.08),
    }

    def __init__(
        self, *, size: str = "small", softness: float = 0.0, target_shape: str = "slab"
    ) -> None:
        super().__init__(size=size, softness=softness)
        if target_shape not in self.outlines:
            known = list(self.outlines)
            raise ConfigurationError(f"target_shape {target_shape!r} is not one of {known}")
        self.target_shape = target_shape

    # ------------------------------------------------------------------ heights

    def shares(self, places: Tensor) -> Tensor:
        """Shares (..., columns) that the columns along one axis have in coordinates (...) [m]."""
        last = self.columns - 1.0
        at = torch.clamp(places * (self.columns / self.table) - 0.5, 0.0, last)
        columns = torch.arange(self.columns).to(at)
        return torch.clamp(1 - (at[..., None] - columns).abs(), min=0.0)

    def heights(self, places: Tensor, volumes: Tensor) -> Tensor:
        """Map of heights (N, columns²), in units of the goal.

        Args:
            places: x and z of parts of the material [m], (N, P, 2).
            volumes: of these parts [m³], (P,).
        """
        x, z = self.shares(places[..., 0]), self.shares(places[..., 1])
        volume = (x * volumes[:, None]).mT @ z
        area = (self.table / self.columns) ** 2
        return volume.flatten(1) / (area * self.goal_unit)

    def target(self, scale: float, middle: Sequence[float]) -> np.ndarray:
        """Goal (G,) of the shape with edges `scale` times the outline's about a place (x, z)."""
        outline = self.outlines[self.target_shape]
        side = torch.linspace(-0.495, 0.495, 100, dtype=torch.float64)
        parts = torch.cartesian_prod(side, side)
        edges = parts.new_tensor([outline.length, outline.width]) * scale
        volumes = (1 + 2 * outline.slope * parts[:, 0]) * (math.prod(self.block) / len(parts))
        return self.heights((parts.new_tensor(middle) + edges * parts)[None], volumes)[0].numpy()

    def draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        """The shape, a little larger or smaller and beside the middle."""
        offset = rng.uniform(-0.005, 0.005, 2)
        return self.target(rng.uniform(0.95, 1.05), tuple(self.table / 2 + offset))

    def middle_goal(self) -> np.ndarray:
        """The shape itself."""
        return self.target(1.0, (self.table / 2, self.table / 2))

    def achieved_goal(self, state: State) -> Tensor:
        """Map of the dough."""
        volume = state.x.new_full((state.x.shape[1],), self.scene.bodies[0].volume)
        return self.heights(state.x[:, :, [0, 2]], volume)

    def goal_distance(self, achieved: Tensor, desired: Tensor) -> Tensor:
        """1 less the intersection over union of two maps."""
        shared = torch.minimum(achieved, desired).sum(dim=-1)
        return 1 - shared / torch.maximum(achieved, desired).sum(dim=-1)

    def overlap(self, state: State) -> Tensor:
        """Intersection over union of dough and target, (N,)."""
        return 1 - self.goal_distance(self.achieved_goal(state), self.desired_goal(state))

    # ------------------------------------------------------------------ the verbs

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """By how many per cent the overlap grows."""
        return 100.0 * (self.overlap(after) - self.overlap(state))

    def success(self, state: State) -> Tensor:
        """Dough and target overlap by 70 %."""
        return self.overlap(state) >= 1 - self.goal_tolerance

    def script(self, state: State, t: int) -> Tensor:
        """Roll to and fro along x, down to the target; for a slab lift, turn, and roll along z."""
        square = self.target_shape == "slab"
        across = square and t >= 40
        axis, since, span = (2, t - 60, 40) if across else (0, t, 40 if square else 80)
        middle, height = self._section(state, axis)
        swing = math.sin(2 * math.pi * max(since, 0) / 40)
        place = torch.full_like(state.pose[:, 0, :3], self.table / 2)
        place[:, axis] = middle + self.outlines[self.target_shape].swing * swing
        # The dough yields a little less than the pin sinks.
        place[:, 1] = height - 0.005 + 0.05 * max(0.0, 1 - since / span)
        ahead = self.ahead(state)
        angle = torch.atan2(-ahead[:, 2], ahead[:, 0])
        return self.toward(state, place, (-math.pi / 2 if across else 0.0) - angle)

    def _section(self, state: State, axis: int) -> tuple[Tensor, Tensor]:
        """Middle of the target along x (0) or z (2), and its height below the pin [m], (N,)."""
        n = self.columns
        maps = self.desired_goal(state).reshape(-1, n, n)
        maps = maps if axis == 0 else maps.mT
        profile = maps[:, :, n // 2 - 1 : n // 2 + 1].mean(dim=2) * self.goal_unit
        columns = (torch.arange(n).to(profile) + 0.5) * (self.table / n)
        middle = (profile @ columns) / profile.sum(dim=1)
        here = self.shares(self.bottom(state)[:, axis])
        return middle, (profile * here).sum(dim=1)
