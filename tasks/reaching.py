"""Soft fingers and arms on a fixed base that reach for a goal."""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from simenv import mpm
from simenv.mpm import Shape, State
from tasks.beams import ReachTask


class FingerReach2D(ReachTask):
    """A soft finger with a muscle on either side reaches for a goal with its tip.

    ## Description

    After ChainQueen's finger (Hu et al., ICRA 2019), in SI units: 0.3 m high and 0.1 m thick, jelly
    of E = 40 kPa and 1000 kg/m³, its base stuck to the floor, no gravity. A muscle 0.03 m thick
    runs up either side of a passive core 0.04 m thick. Nothing damps the finger: a sudden command
    swings it, with a period of about a second. The tip is the uppermost 0.03 m.

    The goal is drawn where the tip can be held (at most 1.4 rad of bend, and between the lengths
    that the muscles can give it) and at least 0.08 m from its resting place. That is part of the
    box of goals, 0.2 to 0.6 m by 0.15 to 0.35 m, of which the tip can hold 16 %: a band along an
    arc around the base, 0.06 m wide where the finger is straight and running out towards its ends.
    Points of the rest, which no tip can hold, are given by the reset option `target` or drawn by
    `draw_goal(rng, reachable=False)`.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | activation of the left muscle; positive contracts | 8 kPa |
    | 1 | of the right muscle | 8 kPa |

    ## Observation space

    Groups: left muscle, right muscle, tip; x and y of each in turn.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–5 | displacement of each group from rest | 0.1 m |
    | 6–11 | mean velocity of each group | 1 m/s |
    | 12–13 | the goal, relative to the resting tip | 0.1 m |

    ## Reward

    Minus the distance of tip and goal, in lengths of the finger. The task is done when the tip is
    within 0.02 m of the goal and slower than 0.2 m/s, so that swinging past does not count. The
    goal variant's own reward looks at the distance alone.

    ## Costs

    `obstacle`: how deep the tip is in a disc of radius 0.025 m around (0.46, 0.28) m, as a share of
    its radius. It lies on the way to goals on the right; a shorter or longer finger passes it.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell and the finger given a velocity of up to
    0.02 m/s along each axis. Reset options: `target` sets the goal [m], `material` multiplies E by
    0.8 to 1.25.

    ## Episode end

    After 15 steps of 0.1 s; there is no early end.

    ## Arguments

    `size`: "small" (300 particles, 40 × 24 cells) or "full" (4,800 particles, 160 × 96).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 2
    num_observations: ClassVar[int] = 12
    num_goals: ClassVar[int] = 2
    horizon: ClassVar[int] = 15

    muscles: ClassVar[tuple[str, ...]] = ("left", "right")
    pattern: ClassVar[tuple[tuple[float, ...], ...]] = ((-1.0,), (1.0,))
    max_activation: ClassVar[float] = 8.0e3
    base: ClassVar[tuple[float, ...]] = (0.4, 0.0)
    length: ClassVar[float] = 0.3
    tip_length: ClassVar[float] = 0.03
    response: ClassVar[tuple[float, float, float, float]] = (1.41, -0.71, -0.0316, 0.0083)
    swing_steps: ClassVar[int] = 10
    goal_low: ClassVar[tuple[float, ...]] = (0.2, 0.15)
    goal_high: ClassVar[tuple[float, ...]] = (0.6, 0.35)
    obstacle: ClassVar[tuple[float, ...]] = (0.46, 0.28)

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = self.stand((40 * scale, 24 * scale), 0.02 / scale, 120 * scale)
        jelly = mpm.NeoHookean(E=4.0e4, nu=0.3, density=1.0e3)
        strips = [mpm.Box((0.4 + x, 0.15), (0.03, 0.3)) for x in (-0.035, 0.035)]
        self.add_muscles(strips, jelly, (0.0, 1.0))
        self.scene.add_body(mpm.Box((0.4, 0.15), (0.04, 0.3)), jelly, name="core")

    def groups(self, rest: Tensor) -> list[Tensor]:
        """Left muscle, right muscle, tip."""
        return [*map(self.members, self.muscles), self.at_tip(rest)]

    def middle_goal(self) -> np.ndarray:
        """Half a bend to the right."""
        return np.array([0.5, 0.265])

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """The finger on its base."""
        from simenv.render import Camera2D, Ground

        return {
            "colors": self.colors(action),
            "radius": 0.62 * math.sqrt(self.scene.bodies[0].volume),
            "camera": Camera2D(center=(0.4, 0.18), height=0.44),
            "ground": Ground(level=0.0, tile=0.1),
        }


LAYERS = ("low", "middle", "high")
SIDES = tuple(itertools.product(("left", "right"), ("far", "near")))
CORNERS = tuple(itertools.product((-1.0, 1.0), repeat=2))
"""Where the four muscles of a layer are, along x and z, in the order of `SIDES`."""


class ArmReach3D(ReachTask):
    """A soft arm of twelve muscles reaches for a goal in space with its tip.

    ## Description

    After ChainQueen's arm (Hu et al., ICRA 2019), in SI units: a square column 0.315 m high and
    0.09 m thick, jelly of E = 40 kPa and 1000 kg/m³, its base stuck to the floor, no gravity. Three
    layers of four upright muscles, one to a corner, make up all of it. The small size keeps all
    twelve muscles but is thicker for its height than the source's arm. Nothing damps the arm: a
    sudden command swings it, with a period of about a second. The tip is the uppermost 0.045 m.

    The goal is drawn where the tip can be held with the layers alike (at most 1.6 rad of bend, and
    between the lengths that the muscles can give it) and at least 0.08 m from its resting place.
    That is part of the box of goals, 0.16 to 0.56 m along x and z and 0.15 to 0.36 m above the
    floor, of which the tip can hold 11 %. Points of the rest are given by the reset option `target`
    or drawn by `draw_goal(rng, reachable=False)`; hardly any of them can be reached, by layers that
    act unlike each other.

    ## Action space

    Positive activations contract. Left and right are along x, far and near along z.

    | number | action | unit of one |
    |---|---|---|
    | 0–3 | the low layer's muscles: left far, left near, right far and near | 6 kPa |
    | 4–7 | of the middle layer's | 6 kPa |
    | 8–11 | of the high layer's | 6 kPa |

    ## Observation space

    Groups: the low, middle and high layer, the tip; x, y and z of each in turn.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–11 | displacement of each group from rest | 0.1 m |
    | 12–23 | mean velocity of each group | 1 m/s |
    | 24–26 | the goal, relative to the resting tip | 0.1 m |

    ## Reward

    Minus the distance of tip and goal, in lengths of the arm. The task is done when the tip is
    within 0.02 m of the goal and slower than 0.2 m/s, so that swinging past does not count. The
    goal variant's own reward looks at the distance alone.

    ## Costs

    `obstacle`: how deep the tip is in a ball of radius 0.025 m around (0.42, 0.29, 0.36) m, as a
    share of its radius. It lies on the way to goals on the right.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell and the arm given a velocity of up to
    0.02 m/s along each axis. Reset options: `target` sets the goal [m], `material` multiplies E by
    0.8 to 1.25.

    ## Episode end

    After 20 steps of 0.1 s; there is no early end.

    ## Arguments

    `size`: "small" (756 particles, 24 × 14 × 24 cells) or "full" (48,384 particles,
    96 × 56 × 96).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 12
    num_observations: ClassVar[int] = 24
    num_goals: ClassVar[int] = 3
    horizon: ClassVar[int] = 20

    muscles: ClassVar[tuple[str, ...]] = tuple(
        f"{layer}-{side}-{depth}" for layer, (side, depth) in itertools.product(LAYERS, SIDES)
    )
    pattern: ClassVar[tuple[tuple[float, ...], ...]] = CORNERS * len(LAYERS)
    max_activation: ClassVar[float] = 6.0e3
    base: ClassVar[tuple[float, ...]] = (0.36, 0.0, 0.36)
    length: ClassVar[float] = 0.315
    tip_length: ClassVar[float] = 0.045
    response: ClassVar[tuple[float, float, float, float]] = (1.64, -0.96, -0.0473, 0.0113)
    swing_steps: ClassVar[int] = 10
    goal_low: ClassVar[tuple[float, ...]] = (0.16, 0.15, 0.16)
    goal_high: ClassVar[tuple[float, ...]] = (0.56, 0.36, 0.56)
    obstacle: ClassVar[tuple[float, ...]] = (0.42, 0.29, 0.36)

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = self.stand((24 * scale, 14 * scale, 24 * scale), 0.03 / scale, 80 * scale)
        jelly = mpm.NeoHookean(E=4.0e4, nu=0.3, density=1.0e3)
        self.add_muscles(self._columns(), jelly, (0.0, 1.0, 0.0))

    def _columns(self) -> list[Shape]:
        heights = [(k + 0.5) * self.length / len(LAYERS) for k in range(len(LAYERS))]
        return [
            mpm.Box((0.36 + 0.0225 * x, y, 0.36 + 0.0225 * z), (0.045, 0.105, 0.045))
            for y, (x, z) in itertools.product(heights, CORNERS)
        ]

    def groups(self, rest: Tensor) -> list[Tensor]:
        """The layers from below, then the tip."""
        layers = [self.muscles[k : k + len(CORNERS)] for k in (0, 4, 8)]
        return [*(self.members(*layer) for layer in layers), self.at_tip(rest)]

    def middle_goal(self) -> np.ndarray:
        """Half a bend to the right."""
        return np.array([0.47, 0.265, 0.36])

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """The arm on its base, from the front and a little above."""
        from simenv.render import Camera, Ground

        return {
            "colors": self.colors(action),
            "radius": 0.62 * self.scene.bodies[0].volume ** (1 / 3),
            "camera": Camera(eye=(0.5, 0.45, 1.3), target=(0.36, 0.16, 0.36), fov_degrees=26.0),
            "ground": Ground(level=0.0, tile=0.1),
        }
