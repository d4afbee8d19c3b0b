"""A rope on a table, to be pushed into place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.envs.points import between, chamfer, evenly
from simenv.envs.task import Task
from simenv.mpm import Control, Simulator, State
from tasks.handling import held_within, jittered


class RopePush(Task):
    """A pin pushes a rope across a table into a bow.

    ## Description

    A soft rope, 0.5 m long and 0.05 m thick (neo-Hookean, E = 20 kPa, 500 kg/m³), lies straight
    along x on a table of 0.64 m by 0.64 m with Coulomb friction 0.3. An upright pin of radius
    0.02 m, without friction, is to push it into a circular arc of its own length and of radius
    0.35 m, whose ends lie 0.05 m beyond the line where the rope lay. Friction keeps the rope bent.
    After the rope pushing of DaXBench (Chen et al., ICLR 2023). The simulation is in space, seen
    from above: a planar one knows no friction with the table.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | velocity of the pin along x | 0.5 m/s |
    | 1 | along z | 0.5 m/s |

    ## Observation space

    Places are relative to the middle of the table.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–119 | x and z of 60 particles, evenly chosen by number | 0.1 m |
    | 120–121 | x and z of the pin | 0.1 m |
    | 122–123 | velocity of the pin along x and z | 1 m/s |

    ## Reward

    Minus the Chamfer distance of rope and target per step, in units of 0.1 m: the mean distance of
    300 particles to the nearest of the places where they belong, and of these places to the nearest
    particle, averaged. The task is done below 0.02 m.

    ## Costs

    `leaves`: 1 for every step that ends with part of the rope beyond the table's edge.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell, the pin 0.1 m behind the rope's middle.
    Reset options: `pose` moves the rope by up to 0.03 m along x and 0.02 m along z, `material`
    multiplies E by 0.7 to 1.4.

    ## Episode end

    After 60 steps of 0.05 s; there is no early end.

    ## Arguments

    `size`: "small" (300 particles, 40 × 5 × 40 cells) or "full" (9,000 particles, 160 × 20 × 160).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 2
    num_observations: ClassVar[int] = 124
    horizon: ClassVar[int] = 60
    cost_names: ClassVar[tuple[str, ...]] = ("leaves",)
    pose_range: ClassVar[tuple[float, ...]] = (0.03, 0.0, 0.02)
    material_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"E": (0.7, 1.4)}

    side: ClassVar[float] = 0.8
    edge: ClassVar[float] = 0.08
    length: ClassVar[float] = 0.5
    thickness: ClassVar[float] = 0.05
    forward: ClassVar[float] = 0.05
    line: ClassVar[float] = 0.3
    arc: ClassVar[float] = 0.35
    near: ClassVar[float] = 0.02
    pin_radius: ClassVar[float] = 0.02
    top_speed: ClassVar[float] = 0.5
    compared: ClassVar[int] = 300
    shown: ClassVar[int] = 60
    unit: ClassVar[float] = 0.1

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        cells, particles = (40, 300) if size == "small" else (160, 9000)
        self.scene = mpm.Scene(
            size=(self.side, self.side / 8, self.side),
            cells=(cells, cells // 8, cells),
            step=0.05,
            walls={"y-": mpm.Wall("separating", friction=0.3)},
        )
        r, reach = self.thickness / 2, (self.length - self.thickness) / 2
        left, right = ((self.side / 2 + sign * reach, r, self.line) for sign in (-1, 1))
        rubber = mpm.NeoHookean(E=2.0e4, nu=0.3, density=500.0)
        self.scene.add_body(mpm.Capsule(left, right, r), rubber, name="rope", count=particles)
        pin = mpm.Cylinder((0.0, 0.0, 0.0), (0.0, 0.1, 0.0), self.pin_radius)
        start = (self.side / 2, 0.0, self.line - 0.1)
        self.scene.add_tool(pin, name="pin", position=start, softness=self.softness)

    def bind(self, simulator: Simulator) -> None:
        """Where each particle belongs, and the particles that are shown."""
        super().bind(simulator)
        rest = simulator.initial_state().x[0]
        self._shown = evenly(len(rest), self.shown).to(rest.device)
        self._targets = self.bowed(rest)[self.target_particles()]

    @property
    def centre(self) -> float:
        """Centre of the target's arc along z [m]; along x it is the table's middle."""
        return self.line + self.forward - self.arc * math.cos(self.length / 2 / self.arc)

    def bowed(self, x: Tensor) -> Tensor:
        """Points (P, 3) [m] of the rope as it lies at the start, carried to the target."""
        angle = (x[:, 0] - self.side / 2) / self.arc
        radius = self.arc + x[:, 2] - self.line
        along, across = radius * torch.sin(angle), radius * torch.cos(angle)
        return torch.stack([self.side / 2 + along, x[:, 1], self.centre + across], dim=1)

    def target_particles(self) -> slice:
        """About 300 particles, evenly chosen by number."""
        return slice(0, None, self.scene.num_particles // self.compared)

    def target_points(self) -> Tensor:
        """Where these particles belong [m]."""
        return self._targets

    def distance(self, state: State) -> Tensor:
        """Chamfer distance of the rope to the target [m], (N,)."""
        x = state.x[:, self.target_particles()]
        return chamfer(x, self._targets.expand(len(x), -1, -1))

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Jitter positions by 2 % of a cell."""
        return jittered(rest, rngs, 0.02 * self.scene.dx)

    def control(self, state: State, action: Tensor) -> Control:
        """Velocity of the pin, which stays upright and over the table."""
        velocity = held_within(
            state.pose[:, 0, [0, 2]],
            self.top_speed * action,
            ((self.edge,) * 2, (self.side - self.edge,) * 2),
            self.scene.step,
        )
        twist = torch.zeros_like(state.twist)
        twist[:, 0, [0, 2]] = velocity
        return Control(tools=twist)

    def observe(self, state: State) -> Tensor:
        """Sampled particles and the pin, seen from above."""
        rope = (state.x[:, self._shown][..., [0, 2]] - self.side / 2) / self.unit
        pin = (state.pose[:, 0, [0, 2]] - self.side / 2) / self.unit
        return torch.cat([rope.flatten(1), pin, state.twist[:, 0, [0, 2]]], dim=1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the Chamfer distance, in units of 0.1 m."""
        return -self.distance(after) / self.unit

    def success(self, state: State) -> Tensor:
        """The Chamfer distance is less than 0.02 m."""
        return self.distance(state) < self.near

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Rope beyond the table's edge."""
        off = (after.x[..., [0, 2]] - self.side / 2).abs().amax(dim=(1, 2))
        return {"leaves": (off > self.side / 2 - self.edge).to(off.dtype)}

    def script(self, state: State, t: int) -> Tensor:
        """Push the middle forward, then follow the inside of the bow to one end and the other."""
        steps, angles = (0, 10, 24, 56), (0.0, 0.0, -0.64, 0.64)
        angle = float(np.interp(t, steps, angles))
        inside = self.arc - float(np.interp(t, (0, 10), (0.17, 0.05)))
        place = (
            self.side / 2 + inside * math.sin(angle),
            self.centre + inside * math.cos(angle),
        )
        pin = state.pose[:, 0, [0, 2]]
        return (pin.new_tensor(place) - pin) / (self.top_speed * self.scene.step)

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """The rope seen from above, teal where it belongs and rose where it does not."""
        from simenv.render import PALETTE, Camera, Ground

        away = between(state.x[0], self._targets).amin(dim=1, keepdim=True).cpu().numpy()
        share = np.clip(away / 0.06, 0.0, 1.0)
        return {
            "colors": (1 - share) * PALETTE[2] + share * PALETTE[3],
            "radius": 0.8 * math.cbrt(self.scene.bodies[0].volume),
            "camera": Camera(eye=(0.4, 0.75, 0.95), target=(0.4, 0.0, 0.36), fov_degrees=26.0),
            "ground": Ground(level=0.0, tile=0.1),
        }
