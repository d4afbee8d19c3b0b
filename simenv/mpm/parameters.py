"""From material values (floats, or tensors that require gradients) to kernel parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simenv.errors import ConfigurationError, ShapeError
from simenv.mpm.materials import Material
from simenv.mpm.scene import Body, Scene

Overrides = Mapping[str, Mapping[str, Tensor]]
"""Body name -> parameter name -> tensor of shape (), (N,), (N, 1) or (N, particles of body)."""


@dataclass(frozen=True)
class Group:
    """Bodies whose laws share kernels; their particles lie next to each other."""

    law: Material
    bodies: tuple[Body, ...]
    start: int

    @property
    def count(self) -> int:
        """Particles of the group."""
        return sum(len(body.x) for body in self.bodies)


def group_bodies(scene: Scene) -> list[Group]:
    """Groups in order of first appearance, with the index of their first particle."""
    by_key: dict[str, list[Body]] = {}
    for body in scene.bodies:
        by_key.setdefault(body.material.key, []).append(body)
    groups: list[Group] = []
    for bodies in by_key.values():
        start = groups[-1].start + groups[-1].count if groups else 0
        groups.append(Group(bodies[0].material, tuple(bodies), start))
    return groups


class ParameterPacker:
    """Packs mass and the laws' parameter vectors for N environments, differentiably in torch."""

    def __init__(
        self, groups: Sequence[Group], num_envs: int, dim: int, dtype: torch.dtype, device: str
    ) -> None:
        self.groups = groups
        self.num_envs = num_envs
        self.dim = dim
        self._like: dict[str, Any] = {"dtype": dtype, "device": device}
        self._names = {body.name: body for group in groups for body in group.bodies}
        self._muscles = any(b.material.channel is not None for b in self._names.values())
        self._default: tuple[Tensor, list[Tensor]] | None = None

    def pack(
        self, activation: Tensor | None, overrides: Overrides | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Particle masses (N, P) [kg] and one (N, count, size) tensor per group."""
        if overrides or self._muscles:
            return self._pack(activation, overrides or {})
        if self._default is None:
            self._default = self._pack(None, {})
        return self._default

    def _pack(self, activation: Tensor | None, overrides: Overrides) -> tuple[Tensor, list[Tensor]]:
        self._check(overrides)
        masses, packed = [], []
        for group in self.groups:
            rows = []
            for body in group.bodies:
                values = self._values(body, activation, overrides.get(body.name, {}))
                masses.append(self._spread(values["density"] * body.volume, body))
                parts = body.material.pack(values, self.dim)
                rows.append(torch.stack([self._spread(part, body) for part in parts], dim=-1))
            packed.append(torch.cat(rows, dim=1).contiguous())
        return torch.cat(masses, dim=1).contiguous(), packed

    def _values(
        self, body: Body, activation: Tensor | None, overrides: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        values = {
            name: self._column(name, overrides[name], body)
            if name in overrides
            else torch.tensor(value, **self._like)
            for name, value in body.material.values().items()
        }
        channel = body.material.channel
        if channel is not None:
            values["activation"] = (
                torch.zeros((), **self._like)
                if activation is None
                else activation[:, channel : channel + 1]
            )
        return values

    def _column(self, name: str, value: Tensor, body: Body) -> Tensor:
        value = torch.as_tensor(value, **self._like)
        shaped = value[:, None] if value.ndim == 1 else value
        if shaped.shape not in {
            (),
            (self.num_envs, 1),
            (self.num_envs, len(body.x)),
        }:
            raise ShapeError(
                f"parameter {name!r} of body {body.name!r} has shape {tuple(value.shape)}, "
                f"expected (), ({self.num_envs},), ({self.num_envs}, 1) "
                f"or ({self.num_envs}, {len(body.x)})"
            )
        return shaped

    def _spread(self, value: Tensor, body: Body) -> Tensor:
        return value.expand(self.num_envs, len(body.x))

    def _check(self, overrides: Overrides) -> None:
        for name, values in overrides.items():
            if name not in self._names:
                raise ConfigurationError(f"no body {name!r}; bodies are {sorted(self._names)}")
            known = set(self._names[name].material.values())
            if set(values) - known:
                raise ConfigurationError(
                    f"body {name!r} has no parameter {sorted(set(values) - known)}; "
                    f"it has {sorted(known)}"
                )
