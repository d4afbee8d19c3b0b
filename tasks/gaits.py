"""What soft robots share that run on muscular legs: ground, body, observation, advance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm import Simulator, State
from tasks.muscles import MuscleTask


class GaitTask(MuscleTask):
    """A robot whose torso, the body "torso", is carried along x by muscles.

    Attributes:
        left: where its rear starts [m].
        goal: advance of the head that is asked for [m].
        phase_steps: period of the phase that is observed [steps].
        unit: distance that is observed as one [m].
    """

    goal: ClassVar[float]
    left: ClassVar[float] = 0.3
    phase_steps: ClassVar[int] = 10
    unit: ClassVar[float] = 0.25
    material_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"E": (0.7, 1.4)}

    def ground(
        self, size: tuple[float, ...], cells: tuple[int, ...], substeps: int | None = None
    ) -> mpm.Scene:
        """A domain with rough ground and steps of 0.05 s."""
        floor = {"y-": mpm.Wall("separating", friction=0.8)}
        return mpm.Scene(size, cells, step=0.05, substeps=substeps, walls=floor)

    def bind(self, simulator: Simulator) -> None:
        """Averaging row of the torso."""
        super().bind(simulator)
        torso = self.members("torso")
        self._torso = torso.to(simulator.dtype) / torso.sum()

    def parts(self, rest: Tensor, count: int) -> list[Tensor]:
        """Masks (P,) of the torso's parts of equal length, from rear to front."""
        torso = self.members("torso")
        x = rest[torso, 0]
        share = (rest[:, 0] - x.min()) / (x.max() - x.min())
        part = torch.clamp(count * share, 0, count - 1e-3).long()
        return [torso & (part == k) for k in range(count)]

    def observe(self, state: State) -> Tensor:
        """Places of the groups about the torso, heights, velocities, phase."""
        x, v = self.means(state.x), self.means(state.v)
        middle = torch.einsum("p,npd->nd", self._torso, state.x)
        # Heights are told from the ground, not from the torso.
        middle = middle * (torch.arange(state.x.shape[2], device=x.device) != 1)
        places = (x - middle[:, None]) / self.unit
        angle = state.time.to(x.dtype)[:, None] * (2 * math.pi / self.phase_steps)
        numbers = [*places.unbind(dim=2), *v.unbind(dim=2)]
        return torch.cat([*numbers, torch.sin(angle), torch.cos(angle)], dim=1)

    def advance(self, state: State) -> Tensor:
        """How far the head, the last group, has come since the start [m], (N,)."""
        return state.x[:, :, 0] @ self._groups[-1] - self.remembered(state)[:, 0]

    def remember(self, state: State) -> Tensor:
        """Where the head starts [m]."""
        # Summed row by row: a product's rounding would depend on the size of the batch.
        return (state.x[:, :, 0] * self._groups[-1]).sum(dim=1, keepdim=True)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """100 Δx_head − 0.01 |a|²."""
        # The mean of differences, not the difference of means, which would cancel in float32.
        gained = (after.x - state.x)[:, :, 0] @ self._groups[-1]
        return 100.0 * gained - 0.01 * (action * action).sum(dim=1)

    def success(self, state: State) -> Tensor:
        """The head has advanced as far as the goal."""
        return self.advance(state) >= self.goal


class TwoLegged(GaitTask):
    """A torso on two legs of two upright strips each, in 2-D.

    Attributes:
        torso: length and height of the torso [m].
        leg: thickness and length of a leg [m].
    """

    num_actions: ClassVar[int] = 4
    num_observations: ClassVar[int] = 30

    torso: ClassVar[tuple[float, float]]
    leg: ClassVar[tuple[float, float]]
    muscles: ClassVar[tuple[str, ...]] = ("rear-rear", "rear-front", "front-rear", "front-front")
    pose_range: ClassVar[tuple[float, ...]] = (0.1, 0.0)

    def add_walker(self, E: float) -> None:
        """Add strips and torso of modulus E [Pa], the legs flush with the torso's ends."""
        jelly = mpm.NeoHookean(E=E, nu=0.3, density=1.0e3)
        (long, high), (thick, tall) = self.torso, self.leg
        starts = (0.0, thick / 2, long - thick, long - thick / 2)
        middles = [self.left + thick / 4 + x for x in starts]
        strips = [mpm.Box((x, tall / 2), (thick / 2, tall)) for x in middles]
        self.add_muscles(strips, jelly, (0.0, 1.0))
        middle = (self.left + long / 2, tall + high / 2)
        self.scene.add_body(mpm.Box(middle, (long, high)), jelly, name="torso")

    def groups(self, rest: Tensor) -> list[Tensor]:
        """The four strips, then the thirds of the torso from rear to front."""
        return [*map(self.members, self.muscles), *self.parts(rest, 3)]

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Muscles by activation; the camera stays on the first metres and then follows."""
        from simenv.render import Camera2D, Ground

        middle = float(state.x[0, :, 0] @ self._torso)
        return {
            "colors": self.colors(action),
            "radius": 0.62 * math.sqrt(self.scene.bodies[0].volume),
            "camera": Camera2D(center=(min(max(middle, 0.8), 2.2), 0.3), height=0.8),
            "ground": Ground(level=0.0, tile=0.1),
        }
