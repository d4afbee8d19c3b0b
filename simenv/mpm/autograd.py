"""The bridge to torch: one environment step is one `autograd.Function`.

Forward keeps the step's input and output only; backward recomputes the substeps between them
(checkpointing per step), so the torch graph of a rollout holds environment steps alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simenv.mpm.fields import FIELDS
from simenv.mpm.transfer import NOT_A_NUMBER

STATE = len(FIELDS)


class StepFunction(torch.autograd.Function):
    """(simulator, *state, *loads) -> (*state, impulse, fault), states in the order of `FIELDS`."""

    @staticmethod
    def forward(ctx: Any, simulator: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the step."""
        start, loads = tensors[:STATE], tensors[STATE:]
        end, impulse, fault = simulator.run(start, loads)
        ctx.simulator = simulator
        ctx.save_for_backward(*start, *loads, *end, fault)
        ctx.mark_non_differentiable(fault)
        return (*end, impulse, fault)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        """Recompute and walk back."""
        *saved, fault = ctx.saved_tensors
        start, loads, end = saved[:STATE], saved[STATE:-STATE], saved[-STATE:]
        start_bar, loads_bar = ctx.simulator.run_backward(start, loads, end, bars[: STATE + 1])
        # A step that broke was undone: it is the identity on the state and ignores the rest.
        broken = (fault & NOT_A_NUMBER) != 0
        if bool(broken.any()):
            for bar, upstream in zip(start_bar, bars[:STATE], strict=True):
                bar[broken] = upstream[broken]
            for bar in loads_bar:
                bar[broken] = 0.0
        return (None, *start_bar, *loads_bar)
