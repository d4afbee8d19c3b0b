"""What every law costs beside the neo-Hookean one, as ratios within one run.

    python benchmarks/materials.py [--rounds N]

A cube of 8,000 particles on 32³ cells, one environment on one thread, float32, 20 substeps a step;
strains of 2 %, so that plastic laws yield. Times are of the processor, medians over rounds in which
the laws take turns; backward is recomputation and adjoint, without the forward pass.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from simenv import mpm

E, NU, DENSITY = 1e4, 0.2, 1e3
SUBSTEPS = 20
LAWS: dict[str, mpm.Material] = {
    "neo-Hookean": mpm.NeoHookean(E, NU, DENSITY),
    "fixed corotated": mpm.FixedCorotated(E, NU, DENSITY),
    "Hencky": mpm.Hencky(E, NU, DENSITY),
    "von Mises": mpm.VonMises(E, NU, DENSITY, yield_stress=0.01 * E),
    "Drucker-Prager": mpm.DruckerPrager(E, NU, DENSITY, friction_angle=30.0),
    "snow": mpm.Snow(E, NU, DENSITY),
    "fluid": mpm.Fluid(E, DENSITY, dynamic_viscosity=0.1),
    "Bingham": mpm.Bingham(E, DENSITY, plastic_viscosity=0.1, yield_stress=1.0),
    "Herschel-Bulkley": mpm.HerschelBulkley(E, DENSITY, 0.1, 0.6, yield_stress=1.0),
    "muscle (neo-Hookean)": mpm.Muscle(mpm.NeoHookean(E, NU, DENSITY), (1.0, 0.0, 0.0), 0, E),
}

Case = tuple[mpm.Simulator, mpm.State]


def case(law: mpm.Material) -> Case:
    """A cube of a law, stirred."""
    scene = mpm.Scene((1.0,) * 3, (32,) * 3, step=SUBSTEPS * 1e-4, substeps=SUBSTEPS)
    scene.add_body(mpm.Box((0.5,) * 3, (10 / 32,) * 3), law)
    sim = scene.build(threads=1)
    torch.manual_seed(0)
    state = sim.initial_state()
    v, F = (t + s * torch.randn_like(t) for t, s in ((state.v, 0.1), (state.F, 0.02)))
    return sim, state.replace(v=v, F=F)


def seconds(sim: mpm.Simulator, state: mpm.State) -> tuple[float, float]:
    """Processor time of a step without gradients, and of a step's backward pass."""
    begin = time.process_time()
    with torch.no_grad():
        sim.step(state)
    forward = time.process_time() - begin
    end = sim.step(state.detach().requires_grad_())
    loss = end.x.sum() + end.v.sum() + end.F.square().sum()
    begin = time.process_time()
    loss.backward()
    return forward, time.process_time() - begin


def measure(cases: dict[str, Case], rounds: int) -> dict[str, tuple[float, float]]:
    """Median nanoseconds per particle and substep, forward and backward, of every law."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for k in range(rounds + 1):
        for name, (sim, state) in cases.items():
            found = seconds(sim, state)
            if k > 0:
                times[name].append(found)
    work = SUBSTEPS * next(iter(cases.values()))[0].num_particles
    return {
        name: (statistics.median(f) / work * 1e9, statistics.median(b) / work * 1e9)
        for name, (f, b) in ((name, zip(*rows, strict=True)) for name, rows in times.items())
    }


def table(found: dict[str, tuple[float, float]]) -> str:
    """The figures as a markdown table."""
    forward, backward = found["neo-Hookean"]
    lines = ["| law | forward [ns] | ratio | backward [ns] | ratio |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {f:.0f} | {f / forward:.2f} | {b:.0f} | {b / backward:.2f} |"
        for name, (f, b) in found.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print("Per particle and substep:\n")
    print(table(measure({name: case(law) for name, law in LAWS.items()}, rounds)))
