"""From material values (floats, or tensors that require gradients) to kernel parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simenv.errors import ConfigurationError, ShapeError
from simenv.mpm.body import Body
from simenv.mpm.materials import Material
from simenv.mpm.scene import Scene

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
        self,
        groups: Sequence[Group],
        scene: Scene,
        num_envs: int,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.groups, self.scene, self.num_envs = groups, scene, num_envs
        self._like: dict[str, Any] = {"dtype": dtype, "device": device}
        self._names = {body.name: body for group in groups for body in group.bodies}
        self._channels = [self._channel_of_particles(group) for group in groups]
        with torch.inference_mode(False), torch.no_grad():
            self._default = self._pack({})

    def pack(
        self, activation: Tensor | None, overrides: Overrides | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Particle masses (N, P) [kg] and one (N, count, size) tensor per group.

        Raises:
            ConfigurationError: an override of no body or parameter, or outside its bounds.
            UnstableTimeStepError: overrides so stiff that the substep is too long.
            ShapeError: an override of the wrong shape.
        """
        mass, packed = self._pack(overrides) if overrides else self._default
        if activation is None:
            return mass, packed
        return mass, [self._activated(i, p, activation) for i, p in enumerate(packed)]

    def _pack(self, overrides: Overrides) -> tuple[Tensor, list[Tensor]]:
        self._check(overrides)
        masses, packed = [], []
        for group in self.groups:
            rows = []
            for body in group.bodies:
                values = self._values(body, overrides.get(body.name, {}))
                masses.append(self._spread(values["density"] * body.volume, body))
                parts = body.material.pack(values, self.scene.dim)
                rows.append(torch.stack([self._spread(part, body) for part in parts], dim=-1))
            packed.append(torch.cat(rows, dim=1).contiguous())
        return torch.cat(masses, dim=1).contiguous(), packed

    def _activated(self, group: int, packed: Tensor, activation: Tensor) -> Tensor:
        """A group's parameters with its activation column filled in."""
        slot = self.groups[group].law.activation_slot(self.scene.dim)
        if slot is None:
            return packed
        column = activation[:, self._channels[group]][..., None]
        return torch.cat([packed[..., :slot], column, packed[..., slot + 1 :]], dim=-1)

    def _channel_of_particles(self, group: Group) -> Tensor:
        channels = [[body.material.channel or 0] * len(body.x) for body in group.bodies]
        flat = [channel for body in channels for channel in body]
        return torch.tensor(flat, dtype=torch.int64, device=self._like["device"])

    def _values(self, body: Body, overrides: Mapping[str, Tensor]) -> dict[str, Tensor]:
        law = body.material
        values = {name: value.to(**self._like) for name, value in law.values().items()}
        if overrides:
            values |= {name: self._column(name, v, body) for name, v in overrides.items()}
            law.validate(values)
            self.scene.check_substep(law.largest_dt(values, self.scene.dx))
        if law.channel is not None:
            values["activation"] = torch.zeros((), **self._like)
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
