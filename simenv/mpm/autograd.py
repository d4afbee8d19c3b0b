"""The bridge to torch: one environment step is one `autograd.Function`.

Forward keeps the step's input and output only; backward recomputes the substeps between them
(checkpointing per step), so the torch graph of a rollout holds environment steps alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simenv.mpm.fields import FIELDS
from simenv.mpm.transfer import NOT_A_NUMBER

STATE = len(FIELDS)

Tensors = Sequence[Tensor]


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
        broken = (fault & NOT_A_NUMBER) != 0
        step = start, loads, end, bars[: STATE + 1]
        if bool(broken.any()):
            start_bar, loads_bar = _pull_around(ctx.simulator, *step, broken)
        else:
            start_bar, loads_bar = ctx.simulator.run_backward(*step)
        return (None, *start_bar, *loads_bar)


def _pull_around(
    simulator: Any, start: Tensors, loads: Tensors, end: Tensors, bars: Tensors, broken: Tensor
) -> tuple[Tensors, Tensors]:
    """Adjoints where some environments broke.

    A step that broke was undone: it is the identity on the state and ignores the rest. Recomputing
    it would bring NaN into what environments share, such as the weights of a law; an environment
    that went well is recomputed in its place, with no adjoint.
    """
    if bool(broken.all()):
        return bars[:STATE], [torch.zeros_like(load) for load in loads]
    rows = torch.arange(len(broken), device=broken.device)
    rows = torch.where(broken, torch.nonzero(~broken)[0], rows)
    own = simulator.num_loads
    loads = [*(load[rows] for load in loads[:own]), *loads[own:]]
    calm = [bar.index_fill(0, torch.nonzero(broken).flatten(), 0.0) for bar in bars]
    start_bar, loads_bar = simulator.run_backward(
        [t[rows] for t in start], loads, [t[rows] for t in end], calm
    )
    for bar, upstream in zip(start_bar, bars[:STATE], strict=True):
        bar[broken] = upstream[broken]
    return start_bar, loads_bar
