"""What soft robots share that move by muscles alone: start, control, groups and colours."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.envs.task import Task
from simenv.mpm import Control, Material, Shape, Simulator, State
from tasks.handling import jitter, jittered

SAND = (0.93, 0.79, 0.55)
"""Colour of the passive parts."""


class MuscleTask(Task):
    """A soft robot whose actions are the activations of its muscles.

    Attributes:
        muscles: names of the muscle bodies, in the order of the actions.
        max_activation: activation of an action of one [Pa]; well below the jelly's shear modulus,
            which a muscle that extends works against.
        jitter: largest displacement of a particle at the start [cells].
        push: largest velocity of the whole body at the start, along each axis [m/s].
    """

    muscles: ClassVar[tuple[str, ...]]
    max_activation: ClassVar[float]
    jitter: ClassVar[float] = 0.02
    push: ClassVar[float] = 0.02

    def add_muscles(
        self, shapes: Sequence[Shape], jelly: Material, fibre: tuple[float, ...]
    ) -> None:
        """Add one muscle body per shape, in the order of `muscles`, contracting along `fibre`."""
        for channel, (name, shape) in enumerate(zip(self.muscles, shapes, strict=True)):
            muscle = mpm.Muscle(jelly, fibre, channel, self.max_activation)
            self.scene.add_body(shape, muscle, name=name)

    @abstractmethod
    def groups(self, rest: Tensor) -> list[Tensor]:
        """Masks (P,) of the groups of particles that are observed, from places (P, d) at rest."""

    def bind(self, simulator: Simulator) -> None:
        """Averaging matrix (groups, P)."""
        super().bind(simulator)
        rest = simulator.initial_state().x[0]
        groups = torch.stack(self.groups(rest)).to(rest.dtype)
        self._groups = groups / groups.sum(dim=1, keepdim=True)

    def members(self, *bodies: str) -> Tensor:
        """Mask (P,) of the particles of some bodies."""
        count, device = self.simulator.num_particles, self.simulator.device
        mask = torch.zeros(count, dtype=torch.bool, device=device)
        for body in bodies:
            mask[self.simulator.particles(body)] = True
        return mask

    def means(self, field: Tensor) -> Tensor:
        """Means (N, groups, d) of a field (N, P, d)."""
        return torch.einsum("gp,npd->ngd", self._groups, field)

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Displace every particle by up to `jitter`, and give the body up to `push`."""
        moved = jittered(rest, rngs, self.jitter * self.scene.dx)
        return moved.replace(v=rest.v + jitter(rest.v[:, :1], rngs, self.push))

    def control(self, state: State, action: Tensor) -> Control:
        """Activations [Pa]."""
        return Control(activation=action * self.max_activation)

    def colors(self, action: Tensor | None) -> np.ndarray:
        """Colours (P, 3): muscles by activation (red contracts, blue extends), the rest in sand."""
        from simenv.render import diverging

        colors = np.tile(np.array(SAND), (self.simulator.num_particles, 1))
        levels = np.zeros(self.num_actions) if action is None else action[0].cpu().numpy()
        for tint, name in zip(diverging(levels), self.muscles, strict=True):
            colors[self.simulator.particles(name)] = tint
        return colors
