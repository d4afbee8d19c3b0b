"""The benchmark's own arithmetic and book-keeping. Nothing here depends on how fast anything is."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents import cli
from simenv import benchmark
from simenv.benchmark import baselines, comparison, machine, report, scaling
from simenv.benchmark.baselines import Baseline, BaselineError, taichi_command, taped_command
from simenv.benchmark.plan import FULL, PER_EDGE, QUICK, SUBSTEPS
from simenv.benchmark.probe import Probe, dense_cube, spinning_cube, tensor_bytes
from simenv.benchmark.rounds import Spread, ratio, spread, take_turns
from simenv.benchmark.targets import Target, targets

ROUNDS = [{"a": 6.0, "b": 2.0}, {"a": 10.0, "b": 1.0}, {"a": 8.0, "b": 8.0}]
MACHINE = {
    "processor": "Some CPU",
    "cpus": 2,
    "system": "Linux x86_64",
    "python": "3.11",
    "simenv": "0.1.0",
    "gymnasium": "1.2",
    "numpy": "2.0",
    "torch": "2.4",
    "warp-lang": "1.19",
    "load": 0.1,
}
ECHO = """
import json, sys
print("a line for people", flush=True)
print(json.dumps({"engine": "echo", "n": 0}), flush=True)
for n, _ in enumerate(sys.stdin, 1):
    print(json.dumps({"engine": "echo", "n": n}), flush=True)
"""


def script(tmp_path, text: str) -> list[str]:
    """Command line of a script."""
    path = tmp_path / "baseline.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def measured_rounds() -> list[dict[str, float]]:
    """Two rounds of a complete comparison on two CPUs, the second on a machine half as fast."""
    rates = {
        "simenv, forward, 1 env": 6e6,
        "simenv, backward, 1 env": 2e6,
        "simenv, forward + backward, 1 env": 1.5e6,
        "simenv, forward, 2 envs": 12e6,
        "simenv, backward, 2 envs": 3e6,
        "taped Warp, forward + backward, 1 env": 0.5e6,
        "Taichi atomic, forward, 2 envs": 1e6,
        "Taichi private, forward, 2 envs": 4e6,
    }
    return [rates, {name: rate / 2 for name, rate in rates.items()}]


def made_up_results() -> dict:
    """What a run hands to the report, with figures of our own."""
    rates = {name: Spread(2e6, 1e6, 3e6) for name in ("forward", "backward", "both")}
    memory = {"kept_bytes": 96, "allocated_bytes": 108.5}
    return {
        "machine": MACHINE,
        "plan": QUICK.as_dict(),
        "comparison": {
            "particles": 8000,
            "versions": {"taichi": "1.7.4"},
            "rounds": measured_rounds(),
            "agreement": {"taped Warp, position [m], 1 env": 3e-8},
            "kept_bytes": 96,
            "allocated_bytes": 109.0,
            "taped_bytes": 421.4,
            "skipped": ["Taichi left out: none"],
        },
        "environments": [
            {
                "envs": 64,
                "particles": 448,
                "vector": Spread(1600.0, 1400.0, 1700.0),
                "simulator": Spread(1800.0, 1700.0, 1900.0),
            }
        ],
        "particles": [{"particles": 1000, **memory, **rates}],
        "variants": [{"dim": 2, "dtype": "float32", "threads": 1, "envs": 2, **memory, **rates}],
    }


# ---------------------------------------------------------------------- rounds


def test_ratio_is_taken_within_rounds():
    """The median of the ratios 3, 10 and 1, not the ratio of the medians."""
    assert ratio(ROUNDS, "a", "b") == Spread(3.0, 1.0, 10.0)
    assert spread(ROUNDS, "a") == Spread(8.0, 6.0, 10.0)


def test_what_was_not_measured_is_none():
    """A case missing from any round, or no round at all."""
    assert spread(ROUNDS, "c") is None
    assert ratio(ROUNDS, "a", "c") is None
    assert ratio([*ROUNDS, {"a": 1.0}], "a", "b") is None
    assert spread([], "a") is None


def test_measures_take_turns():
    """A B A B, not A A B B."""
    calls: list[str] = []

    def measure(name: str) -> dict[str, float]:
        calls.append(name)
        return {name: float(len(calls))}

    rounds = take_turns([lambda: measure("a"), lambda: measure("b")], 2, "test")
    assert calls == ["a", "b", "a", "b"]
    assert rounds == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]


# ---------------------------------------------------------------------- targets


def test_targets_against_a_drifting_machine():
    """Ratios are unmoved by a machine that slows down between rounds."""
    found = {t.name: t for t in targets(made_up_results())}
    medians = {name: t.measured.median for name, t in found.items()}
    assert medians == {
        "forward, all CPUs: simenv / Taichi atomic": 12.0,
        "forward, all CPUs: simenv / Taichi private": 3.0,
        "time of backward / forward, 1 thread": 3.0,
        "time of backward / forward, 2 threads": 4.0,
        "forward + backward, 1 thread: simenv / taped Warp": 3.0,
        "bytes kept per particle and substep": 96.0,
        "environment steps/s, 64 walkers": 1600.0,
    }
    assert [t.verdict for t in found.values()] == ["yes", "no", "yes", "no", "yes", "yes", "yes"]


def test_targets_without_baselines():
    """What was left out is neither held nor missed."""
    results = made_up_results()
    results["comparison"]["rounds"] = [{"simenv, forward, 1 env": 1.0}]
    results["environments"] = []
    verdicts = [t.verdict for t in targets(results)]
    assert verdicts == [*["not measured"] * 5, "yes", "not measured"]


@pytest.mark.parametrize(("least", "verdict"), [(True, "no"), (False, "yes")])
def test_a_bound_has_a_direction(least, verdict):
    """1 is below 2."""
    assert Target("x", 2.0, least, Spread(1.0, 1.0, 1.0)).verdict == verdict


# ---------------------------------------------------------------------- report


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (3.8e-7, "3.8e-07"), (0.512, "0.51"), (12.34, "12.3"), (1512.6, "1,513")],
)
def test_numbers_are_short(value, text):
    """About three significant digits."""
    assert report.number(value) == text


def test_figures_show_their_range():
    """Unless there is none."""
    assert report.figure(Spread(2e6, 1e6, 3e6), report.MILLION) == "2.00 (1.00–3.00)"
    assert report.figure(Spread(96.0, 96.0, 96.0)) == "96.0"
    assert report.figure(None) == "–"


def test_table_is_markdown():
    """Words to the left, numbers to the right."""
    assert report.table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_report_holds_every_table():
    """Each row of each table, and the line on what was left out."""
    text = report.render(made_up_results())
    for line in (
        "| time of backward / forward, 1 thread | ≤ 3.50 | 3.00 | yes |",
        "| simenv, forward, 1 env | 4.50 (3.00–6.00) |",
        "| taped Warp, position [m], 1 env | 3.0e-08 |",
        "| simenv, all buffers | 109 |",
        "| 64 | 1,600 (1,400–1,700) | 1,800 (1,700–1,900) |",
        "| 1,000 | 2.00 (1.00–3.00) | 2.00 (1.00–3.00) | 2.00 (1.00–3.00) | 96.0 | 108 |",
        "Taichi left out: none",
    ):
        assert line in text.splitlines()
    assert "| 2 | float32 | 2 | 1 |" in text


def test_files_are_written(tmp_path):
    """JSON with named medians, and the table as printed."""
    results = made_up_results()
    record, table_file = report.write(tmp_path / "new" / "folder", results, "text\n")
    found = json.loads(record.read_text())
    assert found["environments"][0]["vector"] == {"median": 1600.0, "low": 1400.0, "high": 1700.0}
    assert found["comparison"]["rounds"] == results["comparison"]["rounds"]
    assert table_file.read_text() == "text\n"


# ---------------------------------------------------------------------- machine


def test_processor_from_cpuinfo(tmp_path):
    """Model name, family and number; something even where the file says less."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Fast One\n")
    assert machine.processor(cpuinfo) == "Fast One (family 6, model 85)"
    cpuinfo.write_text("model name\t: Fast One\n")
    assert machine.processor(cpuinfo) == "Fast One"
    assert machine.processor(tmp_path / "missing")


def test_a_busy_machine_is_noticed():
    """Load is counted per CPU; where it is unknown nothing is said."""
    assert machine.load_warning(MACHINE) is None
    assert machine.load_warning({**MACHINE, "load": None}) is None
    assert "load 1.5 on 2 CPUs" in str(machine.load_warning({**MACHINE, "load": 1.5}))


def test_the_record_names_machine_and_versions():
    """Everything that the figures depend on."""
    assert machine.describe_machine().keys() == MACHINE.keys()


# ---------------------------------------------------------------------- baselines


def test_baseline_measures_on_request(tmp_path):
    """One object when ready, one per request; other lines are passed over."""
    baseline = Baseline("echo", script(tmp_path, ECHO))
    assert baseline.first["n"] == 0
    assert [baseline.measure()["n"] for _ in range(2)] == [1, 2]
    baseline.close()


def test_baseline_that_stops_is_noticed(tmp_path):
    """After its first measurement, while the run goes on."""
    baseline = Baseline("echo", script(tmp_path, "print('{}', flush=True)"))
    with pytest.raises(BaselineError, match="echo has stopped"):
        baseline.measure()
    baseline.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise SystemExit('out of luck')", "echo has stopped: out of luck"),
        ('print(\'{"error": "No module named taichi"}\')', "echo: No module named taichi"),
    ],
)
def test_baseline_that_fails_says_why(tmp_path, text, message):
    """Its last words, or the error it reports."""
    with pytest.raises(BaselineError, match=message):
        Baseline("echo", script(tmp_path, text))


def test_missing_interpreter_is_named(tmp_path):
    """A path that does not exist."""
    with pytest.raises(BaselineError, match="nowhere"):
        Baseline("Taichi", [str(tmp_path / "nowhere")])


def test_missing_scripts_are_named(tmp_path, monkeypatch):
    """An installed package has no baselines."""
    monkeypatch.setattr(baselines, "SCRIPTS", tmp_path)
    with pytest.raises(BaselineError, match=r"taped_warp\.py does not exist.*checkout"):
        taped_command()
    with pytest.raises(BaselineError, match=r"taichi_mpm\.py does not exist"):
        taichi_command("python", "atomic", 1, 100)


def test_the_repository_has_the_scripts():
    """Next to the package, with the comparison's size on their command lines."""
    assert taped_command()[2:4] == ["--particles", str(PER_EDGE**3)]
    words = taichi_command("python", "atomic", 2, 100)
    assert words[0] == "python"
    assert words[words.index("--envs") + 1] == "2"


def test_without_taichi_there_is_a_line(tmp_path, monkeypatch):
    """It says how to get it; a missing script is left out in the same way."""
    skipped: list[str] = []
    with ExitStack() as stack:
        assert baselines.start_taichi(stack, skipped, None, [1], QUICK) == {}
        broken = script(tmp_path, "raise SystemExit('no Warp')")
        monkeypatch.setattr(baselines, "taped_command", lambda: broken)
        assert baselines.start_taped(stack, skipped) is None
    assert "pip install taichi" in skipped[0]
    assert "--taichi-python" in skipped[0]
    assert skipped[1] == "taped Warp left out: taped Warp has stopped: no Warp"


# ---------------------------------------------------------------------- the scene


def test_the_comparison_scene():
    """8,000 particles on 32³ cells of a 1 m domain; 50 substeps of 0.1 ms."""
    scene = spinning_cube()
    assert (scene.num_particles, scene.cells) == (8000, (32, 32, 32))
    assert (scene.substeps, scene.dt) == (SUBSTEPS, pytest.approx(1e-4))
    x = scene.bodies[0].x
    assert x[0] == pytest.approx([0.3575, 0.3575, 0.3575])
    velocity = scene.bodies[0].initial_velocity
    assert velocity == pytest.approx(np.cross((2.0, 3.0, 4.0), x - 0.5))


@pytest.mark.parametrize(("per_edge", "dim"), [*[(n, 3) for n in FULL.edges], (scaling.PLANE, 2)])
def test_dense_cubes_keep_their_density(per_edge, dim):
    """Two particles per cell and axis, in a domain of a metre or a cell more."""
    scene = dense_cube(per_edge, dim)
    assert scene.num_particles == per_edge**dim
    assert scene.dx == pytest.approx(2 * 0.3 / per_edge)
    assert 1.0 <= scene.size[0] + 1e-9 < 1.0 + scene.dx + 1e-6


@pytest.fixture(scope="module")
def small() -> Probe:
    """A probe of 64 particles."""
    return Probe(spinning_cube(4))


def test_probe_measures(small):
    """Rates are positive, and both directions take longer than one."""
    assert small.forward(1) > 0
    backward, both = small.backward(2)
    assert 0 < both < backward
    assert small.work(2) == 2 * SUBSTEPS * 64


def test_the_centroid_falls_freely(small):
    """y = ½ − ½ g Δt² n (n + 1) after n substeps of symplectic Euler."""
    n, g, dt = 2 * SUBSTEPS, 9.81, 1e-4
    expected = 0.5 - 0.5 * g * dt**2 * n * (n + 1)
    assert small.figures(2)["mean_height"] == pytest.approx(expected, abs=1e-6)


def test_the_corner_turns_with_the_cube(small):
    """For a short time its velocity is ω × r, less gravity's."""
    x = small.sim.scene.bodies[0].x[0]
    t = 5e-3
    rigid = x + t * np.cross((2.0, 3.0, 4.0), x - 0.5) - [0.0, 0.5 * 9.81 * t**2, 0.0]
    assert small.figures(1)["corner"] == pytest.approx(rigid, abs=1e-4)


def test_velocity_gradient_of_the_corner(small):
    """Without elasticity it would be 2 x t; the body spreads it among its particles."""
    gradient = small.velocity_gradient()
    assert gradient == pytest.approx([2 * 0.5 * 5e-3] * 3, rel=0.5)


def test_all_buffers_are_counted(small):
    """Kept states, the working state and the like; never less than what backward keeps."""
    assert small.allocated() > small.sim.kept_bytes


def test_shared_memory_is_counted_once():
    """Two views of one tensor, in nested containers, and a tensor of its own."""
    a = torch.zeros(10)
    assert tensor_bytes([a, (a[2:], {"x": a.reshape(2, 5)}), torch.zeros(3)]) == 40 + 12


def test_engines_agree_to_a_difference():
    """The largest of mean height and corner."""
    a = {"mean_height": 0.5, "corner": [0.1, 0.2, 0.3]}
    b = {"mean_height": 0.5, "corner": [0.1, 0.25, 0.3]}
    assert comparison.difference(a, b) == pytest.approx(0.05)


# ---------------------------------------------------------------------- the whole


def test_run_without_baselines(tmp_path, monkeypatch, capsys):
    """Few steps, no other engine: tables printed, both files written, what is missing said."""
    plan = replace(QUICK, rounds=1, steps=1, scaling_rounds=1, envs=(2,), env_steps=1)
    monkeypatch.setattr(benchmark, "QUICK", plan)
    monkeypatch.setattr(baselines, "SCRIPTS", tmp_path)
    monkeypatch.setattr(comparison, "env_counts", lambda: [1])
    monkeypatch.setattr(comparison, "spinning_cube", lambda: spinning_cube(4))
    assert cli.main(["bench", "--quick", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "out/table.md").read_text() in printed
    assert "taped Warp left out" in printed
    assert "Taichi left out" in printed
    found = json.loads((tmp_path / "out/results.json").read_text())
    assert found["comparison"]["rounds"][0].keys() >= {"simenv, forward, 1 env"}
    assert found["environments"][0]["envs"] == 2
