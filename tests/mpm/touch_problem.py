"""A scalar loss of steps with tools and free bodies, as a function of all that it depends on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from tests.mpm import scenes

STATE = ("x", "v", "C", "F", "pose", "twist")
SCALES = {
    "x": 1e-2,
    "v": 1.0,
    "C": 10.0,
    "F": 1e-1,
    "pose": 1e-2,
    "twist": 1.0,
    "tools": 1.0,
    "friction": 0.1,
    "density": 100.0,
}
"""A natural change of every input: [m], [m/s], [1/s], [-], [m, -], [m/s, 1/s], …, [-], [kg/m³]."""
WEIGHTS = {"x": 10.0, "v": 1.0, "C": 0.1, "F": 1.0, "pose": 10.0, "twist": 1.0, "impulse": 0.1}
"""Make the outputs count about equally in the loss."""
STEPS = 1e-5, 1e-6, 1e-7
"""Relative steps of the central difference. Truncation is of order H² and rounding of order
1e-16 · 100 / H; several of them, since contacts open and close and nodes come into reach within the
larger ones. A wrong gradient misses all."""

Inputs = dict[str, Tensor]


class TouchProblem:
    """Loss = Σ weight · output after `steps` steps of a scene, all in double precision.

    Args:
        scene: what is simulated; its steps have several substeps.
        commands: twist of each tool, (T, 3 or 6).
        steps: how many steps the commands hold.
        speed: of the random motion that is added to the material [m/s].
    """

    def __init__(
        self, scene: mpm.Scene, commands: Sequence[Tensor], *, steps: int = 2, speed: float = 0.3
    ) -> None:
        self.scene, self.steps = scene, steps
        self.sim = scene.build(1, dtype="float64", threads=1)
        torch.manual_seed(0)
        state = scenes.stirred(self.sim.initial_state(), speed)
        inputs = {name: getattr(state, name) for name in STATE}
        if commands:
            inputs["tools"] = torch.stack(list(commands))[None]
        like = inputs["pose"]
        self.rough = [rigid for rigid in scene.rigids if rigid.surface.friction > 0.0]
        if self.rough:
            inputs["friction"] = like.new_tensor([r.surface.friction for r in self.rough])
        self.free = [rigid for rigid in scene.rigids if rigid.free]
        if self.free:
            inputs["density"] = like.new_tensor([rigid.density for rigid in self.free])
        else:
            inputs.pop("twist")  # what tools are commanded takes its place
        self.inputs = inputs
        self.weights = {
            name: WEIGHTS[name] * torch.randn_like(getattr(state, name)) for name in WEIGHTS
        }

    def end(self, inputs: Inputs) -> tuple[mpm.State, Tensor]:
        """The last state, and the impulses of all steps."""
        state = self.sim.initial_state().replace(
            **{name: inputs[name] for name in STATE if name in inputs}
        )
        control = mpm.Control(tools=inputs.get("tools"))
        total = torch.zeros_like(state.twist)
        for _ in range(self.steps):
            state = self.sim.step(state, control, self._overrides(inputs))
            total = total + state.impulse
        return state, total

    def loss(self, inputs: Inputs) -> Tensor:
        """The scalar to differentiate."""
        end, impulse = self.end(inputs)
        terms = [(self.weights[name] * getattr(end, name)).sum() for name in STATE]
        return sum(terms) + (self.weights["impulse"] * impulse).sum()

    def gradient(self) -> Inputs:
        """Derivative of the loss with respect to every input."""
        leaves = {name: t.clone().requires_grad_() for name, t in self.inputs.items()}
        self.loss(leaves).backward()
        return {name: leaf.grad for name, leaf in leaves.items()}

    def misfits(self) -> dict[str, float]:
        """For each input, the error along a random direction, relative to the derivative."""
        gradient = self.gradient()
        still = [name for name, g in gradient.items() if not bool((g != 0.0).any())]
        assert not still, f"nothing depends on {still}: the comparison would say nothing"
        return {name: self._misfit(name, gradient[name]) for name in self.inputs}

    def _misfit(self, name: str, gradient: Tensor) -> float:
        direction = SCALES[name] * torch.randn_like(self.inputs[name])
        slope = float((gradient * direction).sum())
        # A loss is a sum of some thousand rounded terms: allow it four units in the last place.
        hidden = 4 * np.finfo(float).eps * abs(self._moved(name, 0.0 * direction))
        return min(self._error(name, direction, slope, h, hidden) for h in STEPS)

    def _error(self, name: str, direction: Tensor, slope: float, h: float, hidden: float) -> float:
        up, down = self._moved(name, h * direction), self._moved(name, -h * direction)
        difference = (up - down) / (2 * h)
        scale = max(abs(difference), hidden / h / 1e-5, 1e-300)
        return abs(slope - difference) / scale

    def _moved(self, name: str, change: Tensor) -> float:
        with torch.no_grad():
            return float(self.loss({**self.inputs, name: self.inputs[name] + change}))

    def _overrides(self, inputs: Inputs) -> dict[str, dict[str, Tensor]]:
        overrides: dict[str, dict[str, Tensor]] = {rigid.name: {} for rigid in self.scene.rigids}
        for i, rigid in enumerate(self.rough):
            overrides[rigid.name]["friction"] = inputs["friction"][i]
        for i, rigid in enumerate(self.free):
            overrides[rigid.name]["density"] = inputs["density"][i]
        return overrides


def tilt(dim: int) -> float | tuple[float, ...]:
    """An orientation along no axis: 0.2 rad about z, or about a slanted axis in space."""
    if dim == 2:
        return 0.2
    axis = np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])
    return (*(math.sin(0.1) * axis), math.cos(0.1))
