"""A block of dough, a table and a rolling pin: what the tasks of `dough.py` share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.envs.points import evenly
from simenv.envs.task import Task
from simenv.mpm import Control, Simulator, State
from tasks.handling import held_within, jittered


class Kneading(Task):
    """Dough on a table under a rolling pin; reward and success are the subclass's.

    The pin rolls on what it moves over, whichever way it goes, and rubs the dough forward with it;
    the table holds on to the dough. Only the pin's place over the table is bounded.
    """

    num_actions: ClassVar[int] = 3
    num_observations: ClassVar[int] = 201
    horizon: ClassVar[int] = 100
    cost_names: ClassVar[tuple[str, ...]] = ("force",)
    pose_range: ClassVar[tuple[float, ...]] = (0.02, 0.0, 0.02)
    material_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"yield_stress": (0.7, 1.4)}

    particles: ClassVar[Mapping[str, int]] = {"small": 256, "full": 2592}
    table: ClassVar[float] = 0.4
    block: ClassVar[tuple[float, float, float]] = (0.1, 0.08, 0.1)
    radius: ClassVar[float] = 0.05
    top_speeds: ClassVar[tuple[float, float, float]] = (0.4, 0.2, 3.0)
    lowest: ClassVar[tuple[float, float, float]] = (0.05, 0.01, 0.05)
    highest: ClassVar[tuple[float, float, float]] = (0.35, 0.13, 0.35)
    force_limit: ClassVar[float] = 30.0
    shown: ClassVar[int] = 64
    length: ClassVar[float] = 0.1

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        cells = 20 if size == "small" else 50
        self.scene = mpm.Scene(
            size=(self.table, 0.6 * self.table, self.table),
            cells=(cells, 6 * cells // 10, cells),
            step=0.025,
            walls={"y-": mpm.Wall("separating", friction=1.0)},
        )
        dough = mpm.VonMises(E=1.6e4, nu=0.3, density=1.0e3, yield_stress=1.5e3)
        x, y = self.table / 2, self.block[1]
        block = mpm.Box((x, y / 2, x), self.block)
        self.scene.add_body(block, dough, name="dough", count=self.particles[size])
        pin = mpm.Capsule((0.0, 0.0, -0.1), (0.0, 0.0, 0.1), self.radius)
        over = (x, y + self.radius + 0.02, x)
        self.scene.add_tool(pin, name="pin", position=over, friction=0.8, softness=self.softness)

    def bind(self, simulator: Simulator) -> None:
        """The particles that are shown."""
        super().bind(simulator)
        self._shown = evenly(simulator.num_particles, self.shown).to(simulator.device)

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Jitter positions by 2 % of a cell."""
        return jittered(rest, rngs, 0.02 * self.scene.dx)

    def bottom(self, state: State) -> Tensor:
        """Lowest point of the pin [m], (N, 3)."""
        return state.pose[:, 0, :3] - state.x.new_tensor((0.0, self.radius, 0.0))

    def ahead(self, state: State) -> Tensor:
        """Horizontal direction in which the pin rolls forward, unit vectors (N, 3)."""
        x, y, z, w = state.pose[:, 0, 3:].unbind(dim=1)
        # The axis, turned by 90°, is the third column of the rotation.
        axis_x, axis_z = 2 * (x * z + w * y), 1 - 2 * (x * x + y * y)
        flat = torch.stack([axis_z, torch.zeros_like(axis_z), -axis_x], dim=1)
        return torch.nn.functional.normalize(flat, dim=1)

    def control(self, state: State, action: Tensor) -> Control:
        """Velocity and angular velocity of the pin, which rolls without sliding."""
        roll, rise, turn = (action * action.new_tensor(self.top_speeds)).T[..., None]
        # The direction halfway through the step: the pin then stays level while it turns.
        angle, ahead = turn * self.scene.step / 2, self.ahead(state)
        up = torch.tensor([0.0, 1.0, 0.0]).to(ahead).expand_as(ahead)
        ahead = torch.cos(angle) * ahead + torch.sin(angle) * torch.linalg.cross(up, ahead)
        bounds = self.lowest, self.highest
        wanted = roll * ahead + rise * up
        velocity = held_within(self.bottom(state), wanted, bounds, self.scene.step)
        travel = (velocity * ahead).sum(dim=1, keepdim=True)
        spin = torch.linalg.cross(up, ahead) * travel / self.radius + turn * up
        return Control(tools=torch.cat([velocity, spin], dim=1)[:, None])

    def observe(self, state: State) -> Tensor:
        """Sampled particles and the pin."""
        middle = state.x.new_tensor((self.table / 2, 0.0, self.table / 2))
        dough = (state.x[:, self._shown] - middle) / self.length
        pin = (self.bottom(state) - middle) / self.length
        speeds = state.twist[:, 0, [0, 1, 2, 4]]
        return torch.cat([dough.flatten(1), pin, self.ahead(state)[:, [0, 2]], speeds], dim=1)

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Pressing too hard."""
        return {"force": (self.force(after) > self.force_limit).to(after.x.dtype)}

    def force(self, state: State) -> Tensor:
        """Mean force of the dough on the pin during the last step [N], (N,)."""
        return torch.linalg.vector_norm(state.impulse[:, 0, :3], dim=1) / self.scene.step

    def toward(self, state: State, place: Tensor, turn: Tensor) -> Tensor:
        """Action (N, 3) that brings the pin's bottom to `place` (N, 3) [m] and turns it.

        `turn` (N,) [rad] is what is left to turn; sideways the pin does not go.
        """
        way = place - self.bottom(state)
        travel = torch.stack([(way * self.ahead(state)).sum(dim=1), way[:, 1], turn], dim=1)
        return travel / (self.scene.step * travel.new_tensor(self.top_speeds))

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Dough on a table, seen from the front and above."""
        from simenv.render import Camera, Ground

        return {
            "colors": np.tile(np.array([0.93, 0.79, 0.55]), (state.x.shape[1], 1)),
            "radius": 0.75 * math.cbrt(self.scene.bodies[0].volume),
            "camera": Camera(eye=(0.33, 0.4, 0.76), target=(0.2, 0.05, 0.2), fov_degrees=26.0),
            "ground": Ground(level=0.0, tile=0.05),
        }
