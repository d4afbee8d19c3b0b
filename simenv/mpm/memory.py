"""Copies of tensors that leave torch's own threads asleep.

Torch copies more than about 32,000 numbers with a team of threads, which then spin for a while
on the cores that the simulator's threads need. On the CPU a plain copy on one thread is used.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def copy_into(target: Tensor, source: Tensor) -> None:
    """Copy values; shapes and dtypes are equal."""
    if target.device.type == "cpu":
        np.copyto(target.detach().numpy(), source.detach().numpy())
    else:
        target.copy_(source)


def copy_of(source: Tensor) -> Tensor:
    """The same values in memory of their own, without a graph."""
    if source.device.type == "cpu":
        return torch.from_numpy(source.detach().numpy().copy())
    return source.detach().clone()
