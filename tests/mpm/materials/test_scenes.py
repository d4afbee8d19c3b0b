"""Laws at work: several in one scene, memory, parameter fields, substeps, gradients of rollouts."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from simenv import mpm
from simenv.errors import UnstableTimeStepError
from tests.mpm import scenes
from tests.mpm.materials import laws
from tests.mpm.materials.laws import DENSITY, NU, E

BODIES = ("von Mises", "cohesive sand", "snow", "Bingham", "corotated muscle", "neo-Hookean")
STATE = ("x", "v", "C", "F", "Jp")


@cache
def _simulator(dim: int) -> mpm.Simulator:
    """Two copies of a scene with a block of six laws side by side, ten substeps a step."""
    scene = mpm.Scene((1.0,) * dim, (10,) * dim, step=2e-3, substeps=10)
    places = [(0.25, 0.2), (0.5, 0.2), (0.75, 0.2), (0.25, 0.45), (0.5, 0.45), (0.75, 0.45)]
    for name, (x, y) in zip(BODIES, places, strict=True):
        box = mpm.Box(scenes.vector(dim, x, y, 0.5), (0.2,) * dim)
        scene.add_body(box, laws.law_of(name, dim), name=name)
    return scene.build(2, dtype="float64")


def _moving(sim: mpm.Simulator) -> mpm.State:
    """Strains of order of the yield strains, so that some particles yield and some do not."""
    torch.manual_seed(0)
    state = scenes.stirred(sim.initial_state())
    for name in ("cohesive sand", "snow"):
        rows = sim.particles(name)
        state.Jp[:, rows] -= 0.02 * torch.rand_like(state.Jp[:, rows]) * (name == "snow")
    return state


PARAMETERS = {
    "von Mises": {"E": (), "yield_stress": ("particles",)},
    "cohesive sand": {"friction_angle": ("envs",), "cohesion": ()},
    "snow": {"tension": ("particles",), "compression": (), "hardening": ("envs",)},
    "Bingham": {"plastic_viscosity": ("envs",), "yield_stress": (), "density": ()},
    "corotated muscle": {"nu": ("particles",)},
}
"""Parameters of a rollout by body, some per environment and some per particle."""


class _Rollout:
    """A loss of two steps in state, activation and parameters."""

    def __init__(self, dim: int) -> None:
        self.sim = _simulator(dim)
        state = _moving(self.sim)
        self.inputs = {name: getattr(state, name).clone() for name in STATE}
        self.inputs["activation"] = 0.2 * E * torch.randn(2, 1).double()
        for body, rows in PARAMETERS.items():
            own = laws.law_of(body, dim).values()
            for name, kind in rows.items():
                self.inputs[f"{body}/{name}"] = own[name] * self._spread(body, kind)
        self.weights = {name: torch.randn_like(self.inputs[name]) for name in STATE}

    def _spread(self, body: str, kind: tuple[str, ...]) -> Tensor:
        """Factors about 1 of the shape of a kind of override."""
        rows = self.sim.particles(body)
        particles = (2, rows.stop - rows.start)
        shape = particles if "particles" in kind else (2,) if "envs" in kind else ()
        return 1 - 0.1 * torch.rand(shape, dtype=torch.float64)

    def end(self, inputs: dict[str, Tensor]) -> mpm.State:
        state = self.sim.initial_state().replace(**{name: inputs[name] for name in STATE})
        overrides: dict[str, dict[str, Tensor]] = {body: {} for body in PARAMETERS}
        for key in inputs:
            if "/" in key:
                body, name = key.split("/")
                overrides[body][name] = inputs[key]
        for _ in range(2):
            state = self.sim.step(state, mpm.Control(inputs["activation"]), overrides)
        assert not bool(state.failed.any())
        return state

    def loss(self, inputs: dict[str, Tensor]) -> Tensor:
        end = self.end(inputs)
        return sum((self.weights[n] * getattr(end, n)).sum() for n in STATE)

    def gradient(self) -> dict[str, Tensor]:
        leaves = {k: v.clone().requires_grad_() for k, v in self.inputs.items()}
        self.loss(leaves).backward()
        return {k: leaf.grad for k, leaf in leaves.items()}


@pytest.mark.parametrize("dim", [2, 3])
def test_gradient_of_a_rollout_with_six_laws(dim):
    """By state, memory, activation and parameters: the central difference along random directions.

    Of several steps the best counts: within the larger ones particles may start or cease to yield.
    A loss of some hundred is rounded to 1e-14, which a step of 1e-7 makes 1e-7.
    """
    rollout = _Rollout(dim)
    gradient = rollout.gradient()
    for key, value in rollout.inputs.items():
        direction = torch.randn_like(value) * (value.abs().mean() if "/" in key else 1.0)
        slope = float((gradient[key] * direction).sum())
        misfits = []
        for h in (1e-6, 1e-7, 1e-8):
            ends = []
            with torch.no_grad():
                for sign in (1, -1):
                    moved = {**rollout.inputs, key: value + sign * h * direction}
                    ends.append(float(rollout.loss(moved)))
            difference = (ends[0] - ends[1]) / (2 * h)
            hidden = 4e-16 * abs(ends[0]) / h / 1e-5
            misfits.append(abs(slope - difference) / max(abs(difference), hidden))
        assert slope != 0.0, key
        assert min(misfits) <= 1e-5, (key, misfits)


@pytest.mark.parametrize("dim", [2, 3])
def test_only_laws_with_memory_touch_it(dim):
    """Jp changes for yielding sand and snow, and for no other particle, to the last bit."""
    sim = _simulator(dim)
    start = _moving(sim)
    end = sim.step(start)
    for name in BODIES:
        rows = sim.particles(name)
        kept = torch.equal(end.Jp[:, rows], start.Jp[:, rows])
        assert kept != (name in ("cohesive sand", "snow")), name


def test_memory_starts_where_the_law_says():
    """v = 0 for sand, Jp = 1 for snow; no column where no law of the scene has any."""
    sim = _simulator(2)
    start = sim.initial_state().Jp
    assert bool((start[:, sim.particles("cohesive sand")] == 0.0).all())
    assert bool((start[:, sim.particles("snow")] == 1.0).all())
    assert scenes.block(2).build(3).initial_state().Jp.shape == (3, 0)


def test_threads_do_not_change_a_bit():
    """Blocks of particles of the spectral laws are cut by environment, not by thread."""
    scene = _simulator(3).scene
    ends = []
    for threads in (1, 2):
        sim = scene.build(3, threads=threads)
        ends.append(sim.step(sim.step(_moving(sim))))
    assert all(torch.equal(getattr(ends[0], n), getattr(ends[1], n)) for n in STATE)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 33])
def test_any_number_of_particles(count):
    """Blocks that are not full do no harm: a body of any size answers as its particles do alone."""
    scene = mpm.Scene((1.0,) * 2, (8,) * 2, step=1e-3, substeps=1, gravity=(0.0, 0.0))
    for i, name in enumerate(("von Mises", "snow")):
        box = mpm.Box((0.3 + 0.4 * i, 0.5), (0.25, 0.25))
        scene.add_body(box, laws.PASSIVE[name], name=name, count=count)
    sim = scene.build(2, dtype="float64")
    start = scenes.stirred(sim.initial_state())
    end = sim.step(start)
    for name in ("von Mises", "snow"):
        rows = sim.particles(name)
        trial = start.F + scene.dt * start.C @ start.F
        flat = trial[:, rows].reshape(-1, 2, 2)
        memory = start.Jp[:, rows].reshape(-1)
        F, _tau, m = laws.answer(laws.PASSIVE[name], flat, memory=memory)
        torch.testing.assert_close(end.F[:, rows].reshape(-1, 2, 2), F, rtol=0, atol=1e-13)
        torch.testing.assert_close(end.Jp[:, rows].reshape(-1), m, rtol=0, atol=1e-13)


LARGEST = {
    "Hencky": lambda c: 0.7 / c,
    "snow": lambda c: 0.7 / (c * math.exp(10.0 * 0.2 / 2)),
    "fluid": lambda c: 0.25 * DENSITY / (0.1 * E),
    "Bingham": lambda c: 0.25 * DENSITY / (0.1 * E + 0.1 * 0.2 * E),
    "Herschel-Bulkley": lambda c: 0.25 * DENSITY / (0.1 * E * 100**-0.2 + 0.1 * 0.2 * E),
}
"""Largest substep [s] by Δx, for fluids by Δx² (in fine cells), by the solids' wave speed."""


@pytest.mark.parametrize("name", LARGEST)
def test_largest_substep(name):
    """Waves of hardened snow and viscosity bound the substep; the viscous one goes with Δx²."""
    law = laws.PASSIVE[name]
    mu, lam = mpm.materials.lame(*torch.tensor([E, NU], dtype=torch.float64))
    expected = LARGEST[name](math.sqrt(float(lam + 2 * mu) / DENSITY))
    power = 2 if name in laws.FLUIDS else 1
    for dx in (0.1, 1e-3):
        largest = law.largest_dt(law.values(), dx)
        assert largest == pytest.approx(expected * dx**power, rel=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
def test_viscous_substep_is_stable(dim):
    """At the largest substep viscosity damps noise; at four times that it blows it up."""
    law = mpm.Fluid(bulk_modulus=1e-3, density=DENSITY, dynamic_viscosity=100.0)
    largest = law.largest_dt(law.values(), 1 / 8)
    speeds = []
    for factor in (1, 4):
        step = 50 * factor * largest
        options = {"step": step, "substeps": 50, "gravity": (0.0,) * dim, "allow_unstable": True}
        scene = mpm.Scene((1.0,) * dim, (8,) * dim, **options)
        scene.add_body(mpm.Box((0.5,) * dim, (0.5,) * dim), law)
        sim = scene.build(dtype="float64")
        torch.manual_seed(0)
        start = sim.initial_state()
        start = start.replace(v=1e-4 * torch.randn_like(start.v))
        end = sim.step(start)
        speeds.append(math.inf if end.failed[0] else float(end.v.norm() / start.v.norm()))
    assert speeds[0] < 0.5
    assert speeds[1] > 1.0


def test_unstable_viscosity_is_refused():
    """A scene or override too viscous for the substep is refused; the message has the largest."""
    thick = mpm.Fluid(E, DENSITY, dynamic_viscosity=1e4)
    largest = 0.25 * DENSITY * (1 / 8) ** 2 / 1e4
    with pytest.raises(UnstableTimeStepError, match=f"{largest:.4g} s") as found:
        scenes.block(2, thick).build()
    assert found.value.largest == pytest.approx(largest)
    sim = scenes.block(2, mpm.Fluid(E, DENSITY)).build()
    override = {"block": {"dynamic_viscosity": torch.tensor(1e4)}}
    with pytest.raises(UnstableTimeStepError, match="at most") as found:
        sim.step(sim.initial_state(), None, override)
    assert found.value.largest == pytest.approx(largest)
