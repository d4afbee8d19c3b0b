"""Runners of an environment step: which launches are captured together, and on which threads."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

from torch import Tensor

from simenv.mpm.buffers import AdjointBuffers, Buffers
from simenv.mpm.device import load
from simenv.mpm.schedule import Adjoint
from simenv.mpm.workers import Workers, available_cores


class Captured:
    """All substeps of a step in one graph for each chunk of environments.

    Attributes:
        weights_bar: adjoints of neural laws' weights; there are none here.

    Args:
        buffers: what the graphs read and write.
        threads: CPU threads that share the environments; None takes all cores.
    """

    def __init__(self, buffers: Buffers, threads: int | None) -> None:
        self.buffers = buffers
        self.weights_bar: list[Tensor] = []
        self.slices = _split(buffers.num_envs, buffers.device, threads)
        self.workers = Workers(buffers.device, len(self.slices))
        self.chunks = [buffers.chunk(envs) for envs in self.slices]
        load(self.chunks[0].kernels(), buffers.device)
        # A graph refers to the arrays of its chunk and frame: keep them.
        self.frames = [buffers.work.warp(0, envs) for envs in self.slices]
        self._forward = self._steps()

    def forward(self) -> None:
        """Advance `buffers.work` by a step."""
        self.workers.run(self._forward)

    def backward(self) -> None:
        """Recompute the step between the ring's ends, then walk `bar` back through it."""
        self.workers.run(self._backward)

    @cached_property
    def adjoint_buffers(self) -> AdjointBuffers:
        """Memory of the backward step, made on first use."""
        return AdjointBuffers(self.buffers)

    @cached_property
    def adjoints(self) -> list[Adjoint]:
        """The backward launches of every chunk, their kernels loaded."""
        adjoints = [self.adjoint_buffers.adjoint(envs) for envs in self.slices]
        load(adjoints[0].kernels(), self.buffers.device)
        return adjoints

    def _steps(self) -> list[Any]:
        return [
            chunk.capture(lambda c=chunk, f=frame: c.step(f))  # type: ignore[misc]
            for chunk, frame in zip(self.chunks, self.frames, strict=True)
        ]

    @cached_property
    def _backward(self) -> list[Any]:
        return [adjoint.chunk.capture(adjoint.run) for adjoint in self.adjoints]


def _split(num_envs: int, device: str, threads: int | None) -> list[slice]:
    """Ranges of environments, one per thread; a single one on a GPU."""
    wanted = 1 if device != "cpu" else threads or available_cores()
    n = min(wanted, num_envs)
    edges = [round(i * num_envs / n) for i in range(n + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]
