"""The tensors that a substep advances: one table for states, kept frames and their adjoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from torch import Tensor

from simenv.mpm.memory import copy_into
from simenv.mpm.scene import Scene
from simenv.mpm.types import TORCH_DTYPES, Types


@dataclass(frozen=True)
class Field:
    """One tensor (N, count, ...) of a state.

    Attributes:
        name: attribute of `State` and `Frame`.
        count: how many entries an environment of the scene has.
        kind: Warp type of an entry.
    """

    name: str
    count: Callable[[Scene], int]
    kind: Callable[[Types], Any]

    def shape(self, scene: Scene, types: Types) -> tuple[int, ...]:
        """Shape of one environment's tensor."""
        return (self.count(scene), *entry_shape(self.kind(types)))


def entry_shape(kind: Any) -> tuple[int, ...]:
    """Shape of a Warp type: () for a scalar."""
    return tuple(getattr(kind, "_shape_", ()))


def _particles(scene: Scene) -> int:
    return scene.num_particles


def _memories(scene: Scene) -> int:
    return scene.num_particles if scene.has_memory else 0


def _rigids(scene: Scene) -> int:
    return scene.num_rigids


FIELDS = (
    Field("x", _particles, lambda t: t.vec),
    Field("v", _particles, lambda t: t.vec),
    Field("C", _particles, lambda t: t.mat),
    Field("F", _particles, lambda t: t.mat),
    Field("Jp", _memories, lambda t: t.scalar),
    Field("pose", _rigids, lambda t: t.pose),
    Field("twist", _rigids, lambda t: t.twist),
)
"""What a substep advances, in the order in which tuples of these tensors are handed about."""

NAMES = tuple(field.name for field in FIELDS)


@dataclass
class Frame:
    """One state of a chunk as flat Warp arrays, environments x particles (or rigids) long."""

    x: Any
    v: Any
    C: Any
    F: Any
    Jp: Any
    pose: Any
    twist: Any


class Frames:
    """L kept states of N environments: one tensor (L, N, count, ...) for each of `FIELDS`."""

    def __init__(self, length: int, num_envs: int, scene: Scene, types: Types, device: str) -> None:
        self.types = types
        self.tensors = tuple(
            torch.zeros(
                (length, num_envs, *field.shape(scene, types)),
                dtype=TORCH_DTYPES[types.dtype],
                device=device,
            )
            for field in FIELDS
        )

    def __getitem__(self, k: int) -> tuple[Tensor, ...]:
        """The tensors of state k, in the order of `FIELDS`."""
        return tuple(t[k] for t in self.tensors)

    def load(self, k: int, values: Sequence[Tensor]) -> None:
        """Copy values, in the order of `FIELDS`, into state k."""
        for target, value in zip(self[k], values, strict=True):
            copy_into(target, value)

    def warp(self, k: int, envs: slice) -> Frame:
        """State k of a range of environments as Warp arrays."""
        kinds = [field.kind(self.types) for field in FIELDS]
        return Frame(*(view(t[envs], kind) for t, kind in zip(self[k], kinds, strict=True)))


def view(tensor: Tensor, dtype: Any) -> Any:
    """A flat Warp array of `dtype` elements over a contiguous torch tensor's memory."""
    shape = entry_shape(dtype)
    if tensor.numel() == 0:
        return wp.empty(0, dtype=dtype, device=wp.device_from_torch(tensor.device))
    return wp.from_torch(tensor.reshape(-1, *shape), dtype=dtype, requires_grad=False)
