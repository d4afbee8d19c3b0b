"""What tasks with a fluid share: start, observation, and tools that stay where they may go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.envs.points import evenly
from simenv.envs.task import Task
from simenv.mpm import Control, Simulator, State
from simenv.render.colors import PALETTE
from tasks.handling import Bound, held_within, jittered

WATER, MILK = PALETTE[0], np.array([0.96, 0.93, 0.87])
"""Colours of the fluids."""


class FluidTask(Task):
    """A fluid that tools move in two dimensions.

    Attributes:
        shown: particles that are observed, evenly by number.
        top_speed: unit of observed velocities [m/s].
        jitter: largest displacement of a particle at the start [cells].
    """

    shown: ClassVar[int] = 50
    top_speed: ClassVar[float]
    jitter: ClassVar[float] = 0.02

    def bind(self, simulator: Simulator) -> None:
        """Which particles are observed, and the middle of the domain."""
        super().bind(simulator)
        self._shown = evenly(simulator.num_particles, self.shown).to(simulator.device)
        like: dict[str, Any] = {"dtype": simulator.dtype, "device": simulator.device}
        self._middle = torch.as_tensor(self.scene.size / 2, **like)
        self._half = float(self.scene.size.max() / 2)

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Displace every particle by up to `jitter`."""
        return jittered(rest, rngs, self.jitter * self.scene.dx)

    def relative(self, places: Tensor) -> Tensor:
        """Places (..., 2) [m] from the middle of the domain, in halves of its longest edge."""
        return (places - self._middle) / self._half

    def sample(self, state: State) -> Tensor:
        """Places and velocities of the observed particles, (N, 4 × shown)."""
        x, v = self.relative(state.x[:, self._shown]), state.v[:, self._shown] / self.top_speed
        return torch.cat([x.flatten(1), v.flatten(1)], dim=1)

    def tool(self, state: State, name: str) -> Tensor:
        """Place and velocity of a tool or rigid body, (N, 4)."""
        i = self.simulator.rigid(name)
        place, velocity = state.pose[:, i, :2], state.twist[:, i, :2]
        return torch.cat([self.relative(place), velocity / self.top_speed], dim=1)

    def steered(self, state: State, name: str, velocity: Tensor, low: Bound, high: Bound) -> Tensor:
        """The velocity that keeps a tool between two poses for the next step.

        Args:
            state: N environments.
            name: of the tool.
            velocity: wanted, (N, 2) [m/s], or (N, 3) with the angular velocity [rad/s].
            low: least x and y [m], and angle [rad] where it turns.
            high: greatest of them.
        """
        place = state.pose[:, self.simulator.rigid(name), : velocity.shape[1]]
        return held_within(place, velocity, (low, high), self.scene.step)


def sliding(velocity: Tensor) -> Control:
    """Control of a single tool that does not turn, from its velocity (N, 2) [m/s]."""
    return Control(tools=torch.nn.functional.pad(velocity, (0, 1))[:, None])


def water(sound: float) -> mpm.Fluid:
    """Water with a speed of sound [m/s] of ten times the flow, and viscous as the grid needs it."""
    return mpm.Fluid(bulk_modulus=1.0e3 * sound**2, density=1.0e3, dynamic_viscosity=1.0)


def side_view(scene: mpm.Scene) -> dict[str, Any]:
    """Picture of water in a basin, seen from the side."""
    from simenv.render import Camera2D

    return {
        "colors": WATER,
        "radius": 0.7 * math.sqrt(scene.bodies[0].volume),
        "camera": Camera2D(center=tuple(scene.size / 2), height=1.05 * float(scene.size[1])),
        "bounds": (np.zeros(2), scene.size),
    }
