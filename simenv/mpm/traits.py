"""From descriptions of rigid bodies (or tensors that require gradients) to what kernels take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from simenv.errors import ConfigurationError, expect_shape
from simenv.mpm.rigid import Rigid
from simenv.mpm.scene import Scene


class TraitPacker:
    """Packs friction, mass and inertia for N environments, differentiably in torch."""

    def __init__(self, scene: Scene, num_envs: int, dtype: torch.dtype, device: str) -> None:
        self.scene, self.num_envs = scene, num_envs
        self.names = [rigid.name for rigid in scene.rigids]
        self._like: dict[str, Any] = {"dtype": dtype, "device": device}
        with torch.inference_mode(False), torch.no_grad():
            self._default = self._pack({})

    def pack(self, overrides: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        """Traits (N, R, k), laid out as `pose.py` says.

        Raises:
            ConfigurationError: an override of no parameter, or outside its bounds.
            ShapeError: an override that is not of shape () or (N,).
        """
        return self._pack(overrides) if overrides else self._default

    def _pack(self, overrides: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        rows = [self._row(rigid, overrides.get(rigid.name, {})) for rigid in self.scene.rigids]
        width = 5 if self.scene.dim == 2 else 21
        empty = torch.zeros((self.num_envs, 0, width), **self._like)
        return torch.stack(rows, dim=1) if rows else empty

    def _row(self, rigid: Rigid, overrides: Mapping[str, Tensor]) -> Tensor:
        """Traits (N, k) of one body."""
        values: dict[str, Any] = {"friction": rigid.surface.friction}
        if rigid.free:
            values["density"] = rigid.density
        self._check_names(rigid, set(overrides), set(values))
        columns = {
            name: self._column(rigid, name, v) for name, v in {**values, **overrides}.items()
        }
        friction = columns["friction"][:, None]
        if not rigid.free:
            k = rigid.inertia.size
            return torch.cat([friction, friction.new_zeros(self.num_envs, 2 + 2 * k)], dim=1)
        _volume, _centre, inertia = rigid.shape.mass_properties()
        density = columns["density"][:, None]
        mass = density * rigid.shape.volume
        unit = torch.as_tensor(inertia, **self._like)
        moments = density * unit.reshape(1, -1)
        inverse = torch.linalg.inv(unit).reshape(1, -1) / density
        return torch.cat([friction, mass, 1 / mass, moments, inverse], dim=1)

    def _check_names(self, rigid: Rigid, given: set[str], known: set[str]) -> None:
        if rigid.surface.mode != "separating":
            known = known - {"friction"}
        if unknown := given - known:
            raise ConfigurationError(
                f"{rigid.name!r}, a {rigid.surface.mode} {'body' if rigid.free else 'tool'}, has "
                f"no parameter {sorted(unknown)}; it has {sorted(known)}"
            )

    def _column(self, rigid: Rigid, name: str, value: Any) -> Tensor:
        column = torch.as_tensor(value, **self._like)
        if column.ndim != 0:
            expect_shape(f"parameter {name!r} of {rigid.name!r}", column.shape, (self.num_envs,))
        least = "> 0" if name == "density" else ">= 0"
        good = column > 0 if name == "density" else column >= 0
        bad = column[~(torch.isfinite(column) & good)].detach()
        if bad.numel():
            raise ConfigurationError(
                f"parameter {name!r} of {rigid.name!r} is {float(bad[0])}; "
                f"it must be finite and {least}"
            )
        return column.expand(self.num_envs)
