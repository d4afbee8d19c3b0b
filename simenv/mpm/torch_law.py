"""Built-in laws as torch modules, for the half of a `NeuralLaw` that is not learnt."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import warp as wp
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from simenv.errors import ConfigurationError, ShapeError
from simenv.mpm.constitutive import constitutive_adjoint_kernel, constitutive_kernel
from simenv.mpm.device import load, torch_stream
from simenv.mpm.fields import view
from simenv.mpm.materials import Material, SpectralLaw, TensorLaw
from simenv.mpm.materials.principal import lanes, principal_kernel
from simenv.mpm.types import Types, warp_types


class TorchLaw(nn.Module):
    """The stress or the projection of a built-in law: F -> τ [Pa], or trial F -> F.

    Differentiable in F and in the law's parameters, which are given as keyword arguments where
    they differ from the law's own:

        stress = mpm.TorchLaw(mpm.Hencky(E=1e6, nu=0.2, density=1e3), "stress")
        tau = stress(F, E=E)

    The rate C is taken as zero and memory at its value at rest: viscous stress, hardening and the
    volume correction of sand are left out.

    Args:
        material: a law with kernels.
        part: "stress", of F as it is given, or "projection".

    Raises:
        ConfigurationError: neither a TensorLaw nor a SpectralLaw, another part, the projection of
            an elastic law.
    """

    def __init__(self, material: Material, part: str) -> None:
        super().__init__()
        if part not in ("stress", "projection"):
            raise ConfigurationError(f"TorchLaw: part = {part!r} must be 'stress' or 'projection'")
        if not isinstance(material, TensorLaw | SpectralLaw):
            raise ConfigurationError(
                f"TorchLaw: {type(material).__name__} must be a TensorLaw or a SpectralLaw"
            )
        if part == "projection" and not material.response(warp_types(3, "float32")).plastic:
            raise ConfigurationError(
                f"TorchLaw: {type(material).__name__} is elastic and has no projection"
            )
        self.material, self.part = material, part
        self._law = _stress_alone(material) if part == "stress" else material

    def forward(self, F: Tensor, **parameters: Tensor) -> Tensor:
        """τ [Pa] or F of a batch of deformation gradients.

        Args:
            F: shape (..., d, d), float32 or float64.
            **parameters: of the law, each broadcastable to the batch shape.

        Raises:
            ConfigurationError: a parameter that the law lacks, or outside its bounds.
            ShapeError: F is no batch of square matrices in 2-D or 3-D.
        """
        d = F.shape[-1]
        if F.ndim < 2 or d not in (2, 3) or F.shape[-2] != d:
            raise ShapeError(f"TorchLaw: F has shape {tuple(F.shape)}, expected (..., d, d)")
        p = self._packed(F, parameters)
        memory = F.new_full(F.shape[:-2], self.material.memory_start)
        projected, tau, _memory = respond(self._law, F, torch.zeros_like(F), p, memory)
        return tau if self.part == "stress" else projected

    def _packed(self, F: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Parameter vectors (..., size)."""
        values = {name: value.to(F) for name, value in self.material.values().items()}
        if set(parameters) - set(values):
            raise ConfigurationError(
                f"TorchLaw: {type(self.material).__name__} has no parameter "
                f"{sorted(set(parameters) - set(values))}; it has {sorted(values)}"
            )
        values |= {name: torch.as_tensor(value).to(F) for name, value in parameters.items()}
        self.material.validate(values)
        parts = self.material.pack(values, F.shape[-1])
        return torch.stack([part.expand(F.shape[:-2]) for part in parts], dim=-1)


def respond(
    law: Material, F: Tensor, C: Tensor, p: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A law's answer to trial gradients: the constitutive kernel on its own, differentiable.

    Args:
        law: a law with kernels.
        F: trial deformation gradients, shape (..., d, d).
        C: rates [1/s], shape as F.
        p: parameter vectors as the law packs them, shape (..., size).
        memory: the law's memory, shape (...).

    Returns:
        F on the yield surface, Kirchhoff stress τ [Pa] and memory, in these shapes.
    """
    F_new, memory_new, tau = _Respond.apply(law, F, C, memory, p)
    return F_new, tau, memory_new


class _Respond(torch.autograd.Function):
    """(law, F, C, memory, p) -> (F, memory, τ), by launches with Δt = 0 and A = τ."""

    @staticmethod
    def forward(ctx: Any, law: Material, *inputs: Tensor) -> tuple[Tensor, ...]:
        F, _C, memory, _p = inputs
        ctx.law = law
        ctx.save_for_backward(*inputs)
        # Copies: a law without memory leaves it as it is.
        outputs = [t.detach().clone(memory_format=torch.contiguous_format) for t in (F, memory, F)]
        with torch_stream(str(F.device)):
            _launch(law, constitutive_kernel, inputs, outputs, [_flag(F)])
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        F, C, memory, p = inputs = ctx.saved_tensors
        F_bar, memory_bar, tau_bar = (bar.clone().contiguous() for bar in bars)
        C_bar, p_bar, mass_bar = (torch.zeros(t.shape).to(t) for t in (C, p, memory))
        results = [F.contiguous(), tau_bar, F_bar, C_bar, memory_bar, p_bar, mass_bar]
        with torch_stream(str(F.device)):
            _launch(ctx.law, constitutive_adjoint_kernel, inputs, results, [])
        return None, F_bar, C_bar, memory_bar, p_bar


def _launch(
    law: Material, kernel: Any, inputs: Any, outputs: list[Tensor], rest: list[Any]
) -> None:
    """Principal axes where the law wants them, then a constitutive kernel."""
    F, C, memory, p = (t.detach().contiguous() for t in inputs)
    types = warp_types(F.shape[-1], str(F.dtype).removeprefix("torch."))
    kinds = [types.mat, types.mat, types.scalar]
    F_, C_, m_ = (view(t, kind) for t, kind in zip((F, C, memory), kinds, strict=True))
    count, device = memory.numel(), wp.device_from_torch(F.device)
    constitutive = _loaded(kernel(law, types), str(device))
    strain, axes = (wp.empty(count, dtype=kind, device=device) for kind in (types.vec, types.mat))
    if law.measure is not None:
        width = lanes(types, str(device))
        blocks = -(-count // width)
        wp.launch(
            _loaded(principal_kernel(types, law.measure, width), str(device)),
            dim=blocks,
            inputs=[F_, C_, 0.0, blocks, count, 0, count, strain, axes],
            device=device,
        )
    mass, volume = torch.zeros_like(memory), torch.ones_like(memory)
    results = [view(t, _kind(t, memory, p, types)) for t in outputs]
    fixed = [view(p, types.parameters(p.shape[-1])), view(mass, types.scalar)]
    fixed += [view(volume, types.scalar), count, 0, count, 0.0, -1.0]
    wp.launch(
        constitutive,
        dim=count,
        inputs=[F_, C_, m_, strain, axes, *fixed, *results, *rest],
        device=device,
    )


@lru_cache(maxsize=None)
def _loaded(kernel: Any, device: str) -> Any:
    """The kernel, compiled as for a simulator: otherwise it would be compiled twice, and differ."""
    load([kernel], device)
    return kernel


def _kind(t: Tensor, memory: Tensor, p: Tensor, types: Types) -> Any:
    """Warp type of an output."""
    if t.shape == memory.shape:
        return types.scalar
    return types.parameters(p.shape[-1]) if t.shape == p.shape else types.mat


def _flag(F: Tensor) -> Any:
    return view(torch.zeros(1, dtype=torch.int32, device=F.device), wp.int32)


def _stress_alone(law: Any) -> Any:
    """The law without its projection: what it says of an F that is on the yield surface."""
    kind = type(law)
    if kind not in _HALVES:
        without = {"projection": _none, "return_mapping": _none, "__module__": kind.__module__}
        _HALVES[kind] = type(f"{kind.__name__}_stress", (kind,), without)
    half: Any = object.__new__(_HALVES[kind])
    half.__dict__.update(law.__dict__)
    return half


_HALVES: dict[type, type] = {}


def _none(self: Any, types: Types) -> None:
    return None
