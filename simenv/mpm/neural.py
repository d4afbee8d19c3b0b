"""Laws given by torch modules, trained through the simulation (Ma et al., NCLaw, ICML 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from simenv.errors import ConfigurationError, ShapeError
from simenv.mpm.materials import DENSITY, Bound, Material, Response
from simenv.mpm.types import Types


class NeuralLaw(Material):
    """A law whose stress, and if wanted projection, are torch modules.

    Both see the deformation gradients of all environments at once, (N, P, d, d) in the simulator's
    precision, and may hold weights: gradients of a step flow into them. A module runs in torch
    between the kernels of every substep, so a step cannot be one captured graph and is slower than
    with a built-in law. `mpm.TorchLaw` makes modules of the built-in laws, for the half that is not
    learnt.

    Modules must be functions of each F alone, without dropout or batch statistics (`eval()`), since
    backward evaluates them again, and must bear the NaN of an environment that fails. Whether F is
    inverted is not checked.

    Args:
        stress: F -> Kirchhoff stress τ [Pa].
        projection: trial F -> F on the yield surface; None leaves F as it is.
        density: [kg/m³].
        wave_speed: fastest wave [m/s] that the law may learn to have; bounds the substep.

    Raises:
        ConfigurationError: a density or wave speed that is not finite and > 0.
    """

    bounds: ClassVar[Mapping[str, Bound]] = {"density": DENSITY}
    in_torch: ClassVar[bool] = True

    def __init__(
        self,
        stress: nn.Module,
        *,
        density: float,
        wave_speed: float,
        projection: nn.Module | None = None,
    ) -> None:
        self.stress_module, self.projection_module = stress, projection
        self.density, self.fastest = density, wave_speed
        if not (math.isfinite(wave_speed) and wave_speed > 0):
            raise ConfigurationError(
                f"NeuralLaw: wave_speed = {wave_speed} [m/s] must be finite and > 0"
            )
        self.validate(self.values())

    @property
    def key(self) -> str:
        return f"neural_{id(self)}"

    @property
    def weights(self) -> list[nn.Parameter]:
        """Weights of both modules that ask for gradients, without repetition."""
        modules = [m for m in (self.stress_module, self.projection_module) if m is not None]
        found = {id(w): w for module in modules for w in module.parameters() if w.requires_grad}
        return list(found.values())

    def check_modules(self, dtype: torch.dtype, device: str) -> None:
        """Raise ShapeError if the modules' weights do not fit a simulator."""
        for weight in self.weights:
            if weight.dtype != dtype or weight.device.type != torch.device(device).type:
                raise ShapeError(
                    f"NeuralLaw holds weights of {weight.dtype} on {weight.device}, the simulator "
                    f"is {dtype} on {device}; use module.to({dtype}).to({device!r})"
                )

    def project(self, trial: Tensor) -> Tensor:
        """F (..., d, d) on the yield surface."""
        return trial if self.projection_module is None else self.projection_module(trial)

    def kirchhoff(self, F: Tensor) -> Tensor:
        """τ (..., d, d) [Pa].

        Raises:
            ShapeError: the module answers in another shape.
        """
        tau = self.stress_module(F)
        if tau.shape != F.shape:
            raise ShapeError(f"NeuralLaw: stress of F {tuple(F.shape)} is {tuple(tau.shape)}")
        return tau

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        # A kernel's parameter vector may not be empty; no kernel reads this one.
        return (torch.zeros_like(values["density"]),)

    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.full_like(values["density"], self.fastest)

    def make_response(self, types: Types) -> Response:
        raise ConfigurationError("NeuralLaw has no kernel; it runs in torch")
