"""The runner of scenes with neural laws: torch between the kernels of every substep."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from simenv.mpm.buffers import AdjointBuffers, Buffers
from simenv.mpm.neural import NeuralLaw
from simenv.mpm.parameters import Group
from simenv.mpm.runner import Captured


class NeuralStage:
    """The constitutive part of a substep for the groups whose law runs in torch."""

    def __init__(self, buffers: Buffers) -> None:
        self.buffers = buffers
        self.groups = [g for g in buffers.groups if isinstance(g.law, NeuralLaw)]
        self.dt = buffers.scene.dt
        self.k = 4.0 * self.dt / buffers.scene.dx**2

    @property
    def weights(self) -> list[Tensor]:
        """All laws' weights, law by law."""
        return [w for group in self.groups for w in _law(group).weights]

    def advance(self, source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
        """F of the target and A, from states as `Frames` index them."""
        with torch.no_grad():
            for group in self.groups:
                rows = slice(group.start, group.start + group.count)
                mass = self.buffers.mass[:, rows]
                F, A = self._apply(group, source[3][:, rows], source[2][:, rows], mass)
                target[3][:, rows] = F
                self.buffers.A[:, rows] = A

    def reverse(self, source: Sequence[Tensor], adjoint: AdjointBuffers) -> list[Tensor]:
        """Adjoints of F and C in `bar` and of mass; returns those of `weights`."""
        found = []
        for group in self.groups:
            rows = slice(group.start, group.start + group.count)
            inputs = [source[3][:, rows], source[2][:, rows], self.buffers.mass[:, rows]]
            bar = adjoint.bar[0]
            upstream = [bar[3][:, rows], self.buffers.A[:, rows]]
            F_bar, C_bar, mass_bar, *weights_bar = self._pull_back(group, inputs, upstream)
            bar[3][:, rows], bar[2][:, rows] = F_bar, C_bar
            adjoint.mass_bar[:, rows] += mass_bar
            found += weights_bar
        return found

    def _apply(self, group: Group, F: Tensor, C: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
        """F ← project((I + Δt C) F) and A = m C − k V τ(F)."""
        law = _law(group)
        volume = self.buffers.volume[:, group.start : group.start + group.count, None, None]
        F = law.project(F + self.dt * C @ F)
        return F, mass[..., None, None] * C - self.k * volume * law.kirchhoff(F)

    def _pull_back(
        self, group: Group, inputs: list[Tensor], upstream: list[Tensor]
    ) -> list[Tensor]:
        with torch.enable_grad():
            leaves = [t.detach().clone().requires_grad_() for t in inputs]
            outputs = self._apply(group, *leaves)
            targets = [*leaves, *_law(group).weights]
            bars = torch.autograd.grad(
                outputs, targets, [t.clone() for t in upstream], materialize_grads=True
            )
        return list(bars)


class Interleaved(Captured):
    """One graph per substep, with the neural laws evaluated in torch before each.

    Replaces `Captured` in scenes that have a neural law.
    """

    def __init__(self, buffers: Buffers, threads: int | None) -> None:
        self.neural = NeuralStage(buffers)
        super().__init__(buffers, threads)

    def forward(self) -> None:
        """Advance `buffers.work` by a step."""
        state = self.buffers.work[0]
        for _ in range(self.buffers.scene.substeps):
            self.neural.advance(state, state)
            self.workers.run(self._forward)

    def backward(self) -> None:
        """As `Captured.backward`; leaves the weights' adjoints in `weights_bar`."""
        ring, substeps = self.adjoint_buffers.ring, self.buffers.scene.substeps
        self.workers.run(self._clearing)
        self.weights_bar = [torch.zeros_like(w) for w in self.neural.weights]
        for k in range(substeps - 1):
            self.neural.advance(ring[k], ring[k + 1])
            self.workers.run(self._substeps[k])
        for k in reversed(range(substeps)):
            self.neural.advance(ring[k], ring[k + 1])
            self.workers.run(self._reverses[k])
            for total, bar in zip(
                self.weights_bar, self.neural.reverse(ring[k], self.adjoint_buffers), strict=True
            ):
                total += bar

    def _steps(self) -> list[Any]:
        return [
            chunk.capture(lambda c=chunk, f=frame: c.substep(f, f))  # type: ignore[misc]
            for chunk, frame in zip(self.chunks, self.frames, strict=True)
        ]

    @cached_property
    def _clearing(self) -> list[Any]:
        return [adjoint.chunk.capture(adjoint.clear) for adjoint in self.adjoints]

    @cached_property
    def _substeps(self) -> list[list[Any]]:
        """Graphs from each kept state to the next."""
        return [
            [
                a.chunk.capture(lambda a=a, k=k: a.chunk.substep(a.ring[k], a.ring[k + 1]))  # type: ignore[misc]
                for a in self.adjoints
            ]
            for k in range(self.buffers.scene.substeps - 1)
        ]

    @cached_property
    def _reverses(self) -> list[list[Any]]:
        """Graphs of each substep's adjoint."""
        return [
            [
                a.chunk.capture(lambda a=a, k=k: a.reverse(a.ring[k], a.ring[k + 1]))  # type: ignore[misc]
                for a in self.adjoints
            ]
            for k in range(self.buffers.scene.substeps)
        ]


def _law(group: Group) -> NeuralLaw:
    assert isinstance(group.law, NeuralLaw)
    return group.law
