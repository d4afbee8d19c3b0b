"""Soft robots that crawl in 3-D."""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm import Shape, State
from tasks.gaits import GaitTask

QUARTERS = tuple(itertools.product(("rear", "front"), ("far", "near")))
"""Where the legs stand under the torso, and the muscles in a leg: along x, then along z."""


class SoftCrawler3D(GaitTask):
    """A soft body on four legs of four muscles each crawls forward in 3-D.

    ## Description

    After ChainQueen's 3-D crawler (Hu et al., ICRA 2019), in SI units: a torso of 0.28 m (x) by
    0.06 m (y) by 0.18 m (z), E = 100 kPa, on legs 0.12 m long and 0.08 m thick, E = 40 kPa, all of
    1000 kg/m³, Coulomb friction 0.8. A leg is four upright muscles, one to a quarter: those of one
    side bend it to that side, all together shorten it. The small size keeps all sixteen muscles,
    each a single cell thick; the torso is stiffer than the legs so that it keeps its shape.

    ## Action space

    In every leg: rear far, rear near, front far, front near muscle; far and near are along z.
    Positive activations contract.

    | number | action | unit of one |
    |---|---|---|
    | 0–3 | activations of the rear far leg | 8 kPa |
    | 4–7 | of the rear near leg | 8 kPa |
    | 8–11 | of the front far leg | 8 kPa |
    | 12–15 | of the front near leg | 8 kPa |

    ## Observation space

    Groups: the legs in the order of the actions, then the torso's rear and front half.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–5 | mean x of the groups, from the torso's | 0.25 m |
    | 6–11 | mean height of the groups | 0.25 m |
    | 12–17 | mean z of the groups, from the torso's | 0.25 m |
    | 18–35 | mean velocities of the groups: all along x, all along y, all along z | 1 m/s |
    | 36–37 | sine and cosine of a 4 Hz phase | – |

    ## Reward

    100 times the advance [m] of the head (the torso's front half) less 0.01 |a|² per step. The
    task is done when the head has advanced 0.5 m.

    ## Costs

    `drift`: 1 for every step that ends with the torso more than 0.05 m beside its track. `speed`: 1
    for every step that ends with the torso faster than 0.25 m/s along x.

    ## Start

    Rest, with every particle up to 2 % of a cell from its place and the whole moving at up to
    0.02 m/s along each axis. Reset options: `pose` moves it by up to 0.1 m along x and z,
    `material` multiplies E by 0.7 to 1.4.

    ## Episode end

    After 80 steps of 0.05 s, and never earlier.

    ## Arguments

    `size`: "small" (762 particles, 80 × 10 × 20 cells) or "full" (48,768 particles,
    320 × 40 × 80).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 16
    num_observations: ClassVar[int] = 38
    horizon: ClassVar[int] = 80

    muscles: ClassVar[tuple[str, ...]] = tuple(
        "-".join((*leg, *strip)) for leg, strip in itertools.product(QUARTERS, QUARTERS)
    )
    max_activation: ClassVar[float] = 8.0e3
    goal: ClassVar[float] = 0.5
    phase_steps: ClassVar[int] = 5
    pose_range: ClassVar[tuple[float, ...]] = (0.1, 0.0, 0.1)
    cost_names: ClassVar[tuple[str, ...]] = ("drift", "speed")
    drift_limit: ClassVar[float] = 0.05
    speed_limit: ClassVar[float] = 0.25

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        cells = (80 * scale, 10 * scale, 20 * scale)
        self.scene = self.ground((3.2, 0.4, 0.8), cells, 30 * scale)
        jelly = mpm.NeoHookean(E=4.0e4, nu=0.3, density=1.0e3)
        self.add_muscles(self._strips(), jelly, (0.0, 1.0, 0.0))
        torso = mpm.Box((self.left + 0.14, 0.15, 0.4), (0.28, 0.06, 0.18))
        stiff = mpm.NeoHookean(E=1.0e5, nu=0.3, density=1.0e3)
        self.scene.add_body(torso, stiff, name="torso")

    def _strips(self) -> list[Shape]:
        legs = itertools.product((0.0, 0.2), (0.31, 0.41))
        corners = itertools.product((0.02, 0.06), repeat=2)
        return [
            mpm.Box((self.left + x + dx, 0.06, z + dz), (0.04, 0.12, 0.04))
            for (x, z), (dx, dz) in itertools.product(legs, corners)
        ]

    def groups(self, rest: Tensor) -> list[Tensor]:
        """The four legs, then the rear and the front half of the torso."""
        legs = [self.muscles[k : k + 4] for k in range(0, self.num_actions, 4)]
        return [*(self.members(*leg) for leg in legs), *self.parts(rest, 2)]

    def remember(self, state: State) -> Tensor:
        """Where the head starts, and the torso's place across [m]."""
        across = (state.x[:, :, 2] * self._torso).sum(dim=1, keepdim=True)
        return torch.cat([super().remember(state), across], dim=1)

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Off the track, and too fast."""
        drift = (after.x[:, :, 2] @ self._torso - self.remembered(state)[:, 1]).abs()
        speed = after.v[:, :, 0] @ self._torso
        flags = {"drift": drift > self.drift_limit, "speed": speed > self.speed_limit}
        return {name: flag.to(speed.dtype) for name, flag in flags.items()}

    def script(self, state: State, t: int) -> Tensor:
        """A bound: legs swing around a place behind, the rear ones 29° later, and lift in time.

        Amplitudes and phases come from a random search over two seconds, its left-right part left
        out.
        """
        action = []
        for (leg, _), (strip, _) in itertools.product(QUARTERS, QUARTERS):
            angle = 2 * math.pi * t / self.phase_steps - 0.5 * (leg == "rear")
            swing = 1.2 * math.sin(angle) - 0.5
            action.append((swing if strip == "front" else -swing) + 0.45 * math.cos(angle - 1.8))
        return state.x.new_tensor(action).clamp(-1.0, 1.0).expand(state.num_envs, -1)

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Muscles by activation; the camera follows."""
        from simenv.render import Camera, Ground

        x = float(state.x[0, :, 0] @ self._torso)
        return {
            "colors": self.colors(action),
            "radius": 0.62 * self.scene.bodies[0].volume ** (1 / 3),
            "camera": Camera(
                eye=(x + 0.35, 0.45, 1.5), target=(x + 0.1, 0.08, 0.4), fov_degrees=24.0
            ),
            "ground": Ground(level=0.0, tile=0.1),
        }
