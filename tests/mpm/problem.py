"""A scalar loss of one environment step as a function of everything that can be differentiated."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from simenv import mpm
from tests.mpm import scenes

NUM_ENVS = 2
STATE = ("x", "v", "C", "F")
SCALES = {
    "x": 1e-2,
    "v": 1.0,
    "C": 10.0,
    "F": 1e-1,
    "activation": scenes.E,
    "E": scenes.E,
    "nu": 0.1,
    "density": scenes.DENSITY,
}
"""A natural change of every input: [m], [m/s], [1/s], [-], [Pa], [Pa], [-], [kg/m³]."""
WEIGHTS = {"x": 10.0, "v": 1.0, "C": 0.1, "F": 1.0}
"""Make the four outputs count about equally in the loss."""

WALLS = {
    "sticky": mpm.Wall("sticky"),
    "slip": mpm.Wall("slip"),
    "separating": mpm.Wall("separating"),
    "friction": mpm.Wall("separating", 0.3),
}

Inputs = dict[str, Tensor]


@cache
def simulator(
    dim: int,
    walls: str,
    substeps: int,
    dtype: str = "float64",
    threads: int | None = None,
    device: str = "cpu",
) -> mpm.Simulator:
    """A simulator of two copies of the menagerie, shared by all tests."""
    scene = scenes.menagerie(dim, substeps, WALLS[walls])
    return scene.build(NUM_ENVS, dtype=dtype, threads=threads, device=device)


class Problem:
    """Loss = Σ weight · output after `steps` steps; its inputs start at rest or in motion."""

    def __init__(self, sim: mpm.Simulator, moving: bool, steps: int = 1) -> None:
        self.sim, self.steps = sim, steps
        torch.manual_seed(0)
        # Drawn on the CPU in double precision whatever the simulator's: all solve one problem.
        state = self._start(moving)
        n, bodies = NUM_ENVS, len(scenes.BODIES)
        ones = torch.ones(n, bodies, dtype=torch.float64)
        inputs = {name: getattr(state, name) for name in STATE}
        inputs["activation"] = 0.2 * scenes.E * torch.randn(n, scenes.MUSCLES).double()
        inputs["E"] = scenes.E * (ones + 0.2 * torch.rand_like(ones))
        inputs["nu"] = scenes.NU * (ones - 0.2 * torch.rand_like(ones))
        inputs["density"] = scenes.DENSITY * (ones + 0.2 * torch.rand_like(ones))
        weights = {name: WEIGHTS[name] * torch.randn_like(inputs[name]) for name in STATE}
        self.weights = self._like_simulator(weights)
        self.inputs = self._like_simulator(inputs)

    def _like_simulator(self, tensors: Inputs) -> Inputs:
        return {
            name: t.to(dtype=self.sim.dtype, device=self.sim.device) for name, t in tensors.items()
        }

    def _start(self, moving: bool) -> mpm.State:
        state = self.sim.initial_state()
        state = state.replace(**{name: getattr(state, name).double().cpu() for name in STATE})
        if not moving:
            return state
        dim = self.sim.scene.dim
        # Down and to the left, where the wall is at hand.
        shift = torch.tensor(scenes.vector(dim, -0.15, 0.0), dtype=torch.float64)
        speed = torch.tensor(scenes.vector(dim, -0.5, -1.0, 0.1), dtype=torch.float64)
        state = scenes.stirred(state)
        return state.replace(x=state.x + shift, v=state.v + speed)

    def direction(self, name: str) -> Tensor:
        """A random direction in one input, of natural size."""
        return SCALES[name] * torch.randn_like(self.inputs[name])

    def end(self, inputs: Inputs) -> mpm.State:
        """The state after the last step."""
        state = self.sim.initial_state().replace(**{name: inputs[name] for name in STATE})
        control = mpm.Control(inputs["activation"])
        overrides = {
            body: {name: inputs[name][:, i] for name in ("E", "nu", "density")}
            for i, body in enumerate(scenes.BODIES)
        }
        for _ in range(self.steps):
            state = self.sim.step(state, control, overrides)
        return state

    def loss(self, inputs: Inputs) -> Tensor:
        """The scalar to differentiate."""
        end = self.end(inputs)
        return sum((self.weights[name] * getattr(end, name)).sum() for name in STATE)

    def gradient(self) -> Inputs:
        """Derivative of the loss with respect to every input."""
        leaves = {name: t.clone().requires_grad_() for name, t in self.inputs.items()}
        self.loss(leaves).backward()
        return {name: leaf.grad for name, leaf in leaves.items()}

    def moved(self, name: str, change: Tensor) -> float:
        """The loss with one input changed."""
        with torch.no_grad():
            return float(self.loss({**self.inputs, name: self.inputs[name] + change}))

    def difference(self, name: str, direction: Tensor, h: float) -> float:
        """Central difference of the loss along a direction."""
        up, down = self.moved(name, h * direction), self.moved(name, -h * direction)
        return (up - down) / (2 * h)
