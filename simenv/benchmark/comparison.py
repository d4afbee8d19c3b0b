"""The same scene in simenv and in the baselines, measured by turns in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from simenv.benchmark.baselines import Baseline, start_taichi, start_taped
from simenv.benchmark.plan import PER_EDGE, SUBSTEPS, Plan, cores
from simenv.benchmark.probe import Probe, spinning_cube
from simenv.benchmark.rounds import Measure, Rates, take_turns

FORWARD, BACKWARD, BOTH = "forward", "backward", "forward + backward"


def case(engine: str, what: str, envs: int) -> str:
    """Name of a measurement."""
    return f"{engine}, {what}, {envs} env{'s' if envs > 1 else ''}"


def env_counts() -> list[int]:
    """One environment, which is one thread of simenv, and as many as there are CPUs."""
    return sorted({1, cores()})


@dataclass
class Engines:
    """What takes part: simulators by number of environments, and the baselines that run."""

    probes: Mapping[int, Probe]
    taped: Baseline | None
    taichi: Mapping[tuple[str, int], Baseline]

    @property
    def baselines(self) -> list[Baseline]:
        """All that run."""
        return [*([self.taped] if self.taped else []), *self.taichi.values()]

    def measures(self, steps: int) -> list[Measure]:
        """One round, by number of environments."""
        turns: list[Measure] = []
        for envs, probe in self.probes.items():
            turns.append(partial(simenv_rates, probe, steps))
            if envs == 1 and self.taped:
                turns.append(partial(taped_rates, self.taped))
            turns += [partial(taichi_rates, b) for (_, n), b in self.taichi.items() if n == envs]
        return turns


def compare(plan: Plan, taichi_python: str | None) -> dict[str, Any]:
    """Rates by round [particle-substeps/s], how far engines agree, and what was left out."""
    skipped: list[str] = []
    with ExitStack() as stack:
        engines = Engines(
            {envs: Probe(spinning_cube(), envs, threads=envs) for envs in env_counts()},
            start_taped(stack, skipped),
            start_taichi(stack, skipped, taichi_python, env_counts(), plan),
        )
        rounds = take_turns(engines.measures(plan.steps), plan.rounds, "comparison")
        checks = agreement(engines)
    one, taped = engines.probes[1], engines.taped
    return {
        "particles": PER_EDGE**3,
        "versions": {b.first["engine"]: b.first["version"] for b in engines.baselines},
        "rounds": rounds,
        "kept_bytes": one.sim.kept_bytes,
        "allocated_bytes": one.allocated(),
        "taped_bytes": taped.first["bytes_per_particle_substep"] if taped else None,
        "agreement": checks,
        "skipped": skipped,
    }


def simenv_rates(probe: Probe, steps: int) -> Rates:
    """Forward, backward and both."""
    envs = probe.sim.num_envs
    forward = probe.forward(steps)
    backward, both = probe.backward(max(1, steps // 2))
    return {
        case("simenv", FORWARD, envs): forward,
        case("simenv", BACKWARD, envs): backward,
        case("simenv", BOTH, envs): both,
    }


def taped_rates(baseline: Baseline) -> Rates:
    """Forward and both."""
    found = baseline.measure()
    return {
        case("taped Warp", FORWARD, 1): found["forward_particle_substeps_per_s"],
        case("taped Warp", BOTH, 1): found["forward_backward_particle_substeps_per_s"],
    }


def taichi_rates(baseline: Baseline) -> Rates:
    """Forward."""
    found = baseline.measure()
    rate: float = found["particle_substeps_per_s"]
    return {case(baseline.name, FORWARD, found["envs"]): rate}


def agreement(engines: Engines) -> dict[str, float]:
    """Largest differences from simenv after the same number of substeps."""
    probe, taped = engines.probes[1], engines.taped
    found: dict[str, float] = {}
    for baseline in engines.baselines:
        first = baseline.first
        ours = probe.figures(first["substeps"] // SUBSTEPS)
        name = case(baseline.name, "position [m]", first.get("envs", 1))
        found[name] = difference(first, ours)
    if taped:
        mine, theirs = probe.velocity_gradient(), taped.first["velocity_gradient"]
        relative = apart(mine, theirs) / max(map(abs, mine))
        found[case(taped.name, "gradient [relative]", 1)] = relative
    return found


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Largest difference [m] in the mean height and the position of a corner."""
    return apart([a["mean_height"], *a["corner"]], [b["mean_height"], *b["corner"]])


def apart(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest absolute difference."""
    return max(abs(x - y) for x, y in zip(a, b, strict=True))
