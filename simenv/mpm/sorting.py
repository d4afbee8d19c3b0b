"""Particles in the order of their grid cells while a step runs, so that neighbours share memory.

The order is found anew from the positions at the start of every environment step, within each
group of bodies that share a law, and undone at its end: users and gradients see none of it, but for
the rounding of sums in another order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from simenv.mpm.fields import FIELDS
from simenv.mpm.parameters import Group
from simenv.mpm.scene import Scene


def pays(device: str) -> bool:
    """Whether sorting is on by default.

    Not on a CPU (`benchmarks/grid.py`): shuffled particles cost nothing while the grid fits into
    the cache and 10 % at half a million, less than sorting does in a step of 40 substeps. On a GPU,
    where particles that share nodes then meet in one block, it is.
    """
    return device != "cpu"


class AsGiven:
    """The order in which particles come: sorts nothing."""

    def sort_state(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """The same tensors."""
        return tensors

    restore_state = sort_loads = restore_loads = sort_state


class CellOrder:
    """Sorts the particles of N environments of a scene by cell.

    Args:
        scene: the simulator's scene.
        groups: its bodies by law, whose particles stay together.
        positions: (N, P, d) [m].
    """

    def __init__(self, scene: Scene, groups: Sequence[Group], positions: Tensor) -> None:
        self.groups = groups
        self._particle_fields = [f.count(scene) == scene.num_particles for f in FIELDS]
        self._particle_fields[-2:] = [False, False]
        keys = _cells(scene, positions) + _group_offsets(scene, groups, positions.device)
        self.order = _argsort(keys)
        self.inverse = _inverse(self.order)

    def sort_state(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors of `FIELDS` with their particles in the order of the cells."""
        return self._state(tensors, self.order)

    def restore_state(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Undo `sort_state`."""
        return self._state(tensors, self.inverse)

    def sort_loads(self, loads: Sequence[Tensor]) -> list[Tensor]:
        """Volumes, masses, traits and the groups' parameters (`Buffers.loads`) in that order."""
        return self._loads(loads, self.order)

    def restore_loads(self, loads: Sequence[Tensor]) -> list[Tensor]:
        """Undo `sort_loads`."""
        return self._loads(loads, self.inverse)

    def _state(self, tensors: Sequence[Tensor], order: Tensor) -> list[Tensor]:
        return [
            _take(t, order) if particles else t
            for t, particles in zip(tensors, self._particle_fields, strict=True)
        ]

    def _loads(self, loads: Sequence[Tensor], order: Tensor) -> list[Tensor]:
        volume, mass, traits, *parameters = loads
        packed = [
            _take(p, order[:, g.start : g.start + g.count] - g.start)
            for p, g in zip(parameters, self.groups, strict=True)
        ]
        return [_take(volume, order), _take(mass, order), traits, *packed]


def _cells(scene: Scene, x: Tensor) -> Tensor:
    """Index (N, P) of the first node of each particle's stencil, NaN and strays at the edges."""
    top = torch.tensor([n - 3 for n in scene.nodes], device=x.device)
    base = torch.nan_to_num(torch.floor(x.detach() / scene.dx + 0.5)).to(torch.int64)
    base = torch.minimum(base.clamp(min=0), top)
    flat = base[..., 0]
    for axis in range(1, scene.dim):
        flat = flat * scene.nodes[axis] + base[..., axis]
    return flat


def _group_offsets(scene: Scene, groups: Sequence[Group], device: torch.device) -> Tensor:
    """Offsets (P,) that keep each group's particles behind those of the group before."""
    nodes = int(np.prod(scene.nodes))
    offsets = np.repeat(np.arange(len(groups)) * nodes, [g.count for g in groups])
    return torch.as_tensor(offsets, device=device)


def _argsort(keys: Tensor) -> Tensor:
    """Order along the last axis; on one thread on the CPU (see `memory.py`)."""
    if keys.device.type == "cpu":
        # Numpy sorts 32-bit keys with vector instructions, five times as fast as a stable sort.
        return torch.from_numpy(np.argsort(keys.numpy().astype(np.int32), axis=-1))
    return torch.argsort(keys, dim=-1)


def _inverse(order: Tensor) -> Tensor:
    """The permutation that undoes another, for each row."""
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _take(t: Tensor, order: Tensor) -> Tensor:
    """Entries of a tensor (N, count, ...) in an order (N, count)."""
    if t.device.type == "cpu":
        rows = zip(t.detach().numpy(), order.numpy(), strict=True)
        return torch.from_numpy(np.stack([np.take(row, places, axis=0) for row, places in rows]))
    index = order.reshape(*order.shape, *[1] * (t.ndim - 2))
    return torch.take_along_dim(t.detach(), index, dim=1)
