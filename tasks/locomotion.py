"""Soft robots that move themselves by muscles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.envs.task import Task
from simenv.mpm import Control, Simulator, State


class SoftWalker2D(Task):
    """A soft body on two legs of two muscles each walks along rough ground.

    ## Description

    After the 2-D walker of ChainQueen (Hu et al., ICRA 2019), in SI units: a torso of 0.4 m by
    0.125 m on legs 0.1 m long, jelly of E = 40 kPa and 1000 kg/m³, Coulomb friction 0.8. Each leg
    is two vertical strips; contracting one bends the leg, contracting both shortens it.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | activation of the rear leg's rear strip; positive contracts | 8 kPa |
    | 1 | of the rear leg's front strip | 8 kPa |
    | 2 | of the front leg's rear strip | 8 kPa |
    | 3 | of the front leg's front strip | 8 kPa |

    ## Observation space

    Groups: the four strips in the order of the actions, then the rear, middle and front third of
    the torso.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–6 | mean x of each group, relative to the torso's mean | 0.25 m |
    | 7–13 | mean height of each group above the ground | 0.25 m |
    | 14–20 | mean x velocity of each group | 1 m/s |
    | 21–27 | mean y velocity of each group | 1 m/s |
    | 28–29 | sine and cosine of a 2 Hz phase | – |

    ## Reward

    100 times the head's advance [m] minus 0.01 |a|² per step. The task is done when the head (the
    front third) has advanced 0.3 m.

    ## Costs

    `speed`: 1 for every step that ends with the torso faster than 0.25 m/s along x. `tilt`: 1 for
    every step that ends with the torso tilted by more than 40°.

    ## Start

    Rest, each particle displaced by up to 2 % of a cell and the body given a velocity of up to
    0.02 m/s along each axis. Reset options: `pose` moves it along x by up to 0.1 m, `material`
    multiplies E by 0.7 to 1.4.

    ## Episode end

    After 80 steps of 0.05 s; there is no early end.

    ## Arguments

    `size`: "small" (448 particles, 120 × 24 cells) or "full" (7,168 particles, 480 × 96).

    ## Version history

    v0: first version.
    """

    num_actions: ClassVar[int] = 4
    num_observations: ClassVar[int] = 30
    horizon: ClassVar[int] = 80

    muscles: ClassVar[tuple[str, ...]] = ("rear-rear", "rear-front", "front-rear", "front-front")
    offsets: ClassVar[tuple[float, ...]] = (0.0, 0.05, 0.3, 0.35)
    max_activation: ClassVar[float] = 8.0e3
    goal: ClassVar[float] = 0.3
    phase_steps: ClassVar[int] = 10
    length: ClassVar[float] = 0.25
    cost_names: ClassVar[tuple[str, ...]] = ("speed", "tilt")
    speed_limit: ClassVar[float] = 0.25
    tilt_limit: ClassVar[float] = math.radians(40)
    pose_range: ClassVar[tuple[float, ...]] = (0.1, 0.0)
    material_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"E": (0.7, 1.4)}

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = mpm.Scene(
            size=(3.0, 0.6),
            cells=(120 * scale, 24 * scale),
            step=0.05,
            walls={"y-": mpm.Wall("separating", friction=0.8)},
        )
        jelly = mpm.NeoHookean(E=4.0e4, nu=0.3, density=1.0e3)
        left = 0.3
        for channel, name in enumerate(self.muscles):
            strip = mpm.Box((left + 0.025 + self.offsets[channel], 0.05), (0.05, 0.1))
            muscle = mpm.Muscle(jelly, (0.0, 1.0), channel, self.max_activation)
            self.scene.add_body(strip, muscle, name=name)
        self.scene.add_body(mpm.Box((left + 0.2, 0.1625), (0.4, 0.125)), jelly, name="torso")

    def bind(self, simulator: Simulator) -> None:
        """Averaging matrix of the seven groups."""
        super().bind(simulator)
        rest = simulator.initial_state().x[0]
        masks = [self._members(name, rest) for name in self.muscles]
        torso = self._members("torso", rest)
        thirds = torch.clamp((rest[:, 0] - 0.3) / (0.4 / 3), 0, 2.999).long()
        masks += [torso & (thirds == k) for k in range(3)]
        groups = torch.stack(masks).to(rest.dtype)
        self._groups = groups / groups.sum(dim=1, keepdim=True)
        self._torso = torso.to(rest.dtype) / torso.sum()

    def _members(self, body: str, rest: Tensor) -> Tensor:
        mask = torch.zeros(len(rest), dtype=torch.bool, device=rest.device)
        mask[self.simulator.particles(body)] = True
        return mask

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Jitter positions by 2 % of a cell and give a velocity of up to 0.02 m/s."""
        shape = rest.x.shape[1:]
        jitter = np.stack([rng.uniform(-0.02, 0.02, shape) for rng in rngs]) * self.scene.dx
        push = np.stack([rng.uniform(-0.02, 0.02, (1, 2)) for rng in rngs])
        return rest.replace(
            x=rest.x + torch.as_tensor(jitter).to(rest.x),
            v=rest.v + torch.as_tensor(push).to(rest.v),
        )

    def control(self, state: State, action: Tensor) -> Control:
        """Activations [Pa]."""
        return Control(activation=action * self.max_activation)

    def observe(self, state: State) -> Tensor:
        """Group means and phase."""
        x = torch.einsum("gp,npd->ngd", self._groups, state.x)
        v = torch.einsum("gp,npd->ngd", self._groups, state.v)
        middle = state.x[:, :, 0] @ self._torso
        ahead = (x[:, :, 0] - middle[:, None]) / self.length
        height = x[:, :, 1] / self.length
        angle = state.time.to(x.dtype)[:, None] * (2 * math.pi / self.phase_steps)
        parts = [ahead, height, v[:, :, 0], v[:, :, 1], torch.sin(angle), torch.cos(angle)]
        return torch.cat(parts, dim=1)

    def advance(self, state: State) -> Tensor:
        """How far the head has come since the start [m], (N,)."""
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
        """The head has advanced 0.3 m."""
        return self.advance(state) >= self.goal

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Too fast, and tipping over."""
        speed = after.v[:, :, 0] @ self._torso
        rear, front = torch.einsum("gp,npd->gnd", self._groups[[4, 6]], after.x)
        tilt = torch.atan2((front - rear)[:, 1], (front - rear)[:, 0]).abs()
        flags = {"speed": speed > self.speed_limit, "tilt": tilt > self.tilt_limit}
        return {name: flag.to(speed.dtype) for name, flag in flags.items()}

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Muscles coloured by activation (red contracts, blue extends), the torso in sand.

        The camera stays on the first metres and then follows.
        """
        from simenv.render import Camera2D, Ground, diverging

        colors = np.tile(np.array([0.93, 0.79, 0.55]), (state.x.shape[1], 1))
        levels = np.zeros(4) if action is None else action[0].clamp(-1, 1).cpu().numpy()
        for level, name in zip(levels, self.muscles, strict=True):
            colors[self.simulator.particles(name)] = diverging(np.array([level]))
        middle = float(state.x[0, :, 0] @ self._torso)
        return {
            "colors": colors,
            "radius": 0.62 * math.sqrt(self.scene.bodies[0].volume),
            "camera": Camera2D(center=(min(max(middle, 0.8), 2.2), 0.3), height=0.8),
            "ground": Ground(level=0.0, tile=0.1),
        }
