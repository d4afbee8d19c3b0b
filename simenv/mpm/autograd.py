"""The bridge to torch: one environment step is one `autograd.Function`.

Forward keeps the step's input and output only; backward recomputes the substeps between them
(checkpointing per step), so the torch graph of a rollout holds environment steps alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simenv.mpm.transfer import NOT_A_NUMBER


class StepFunction(torch.autograd.Function):
    """(simulator, mass, x, v, C, F, *parameters) -> (x, v, C, F, fault)."""

    @staticmethod
    def forward(ctx: Any, simulator: Any, mass: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the step."""
        start, packed = tensors[:4], tensors[4:]
        end, fault = simulator.run(mass, start, packed)
        ctx.simulator = simulator
        ctx.save_for_backward(mass, *start, *end, fault, *packed)
        ctx.mark_non_differentiable(fault)
        return (*end, fault)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        """Recompute and walk back."""
        mass, *rest = ctx.saved_tensors
        start, end, fault, packed = rest[:4], rest[4:8], rest[8], rest[9:]
        state_bar, mass_bar, packed_bar = ctx.simulator.run_backward(
            mass, start, end, packed, bars[:4]
        )
        # A step that broke was undone: it is the identity on the state and ignores the rest.
        broken = (fault & NOT_A_NUMBER) != 0
        if bool(broken.any()):
            for bar, upstream in zip(state_bar, bars[:4], strict=True):
                bar[broken] = upstream[broken]
            for bar in (mass_bar, *packed_bar):
                bar[broken] = 0.0
        return (None, mass_bar, *state_bar, *packed_bar)
