"""What every task keeps: gradients, bounds, costs, determinism, documentation."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from simenv.envs import Env, Functional, GoalEnv, Start
from simenv.envs.task import load_task
from simenv.registry import FAMILIES, TASKS
from tests.tasks.fingerprint import fingerprint

ROOT = Path(__file__).resolve().parents[2]
STEPS = 5
SECTIONS = (
    "Description",
    "Action space",
    "Observation space",
    "Reward",
    "Costs",
    "Start",
    "Episode end",
    "Arguments",
    "Version history",
)
families = pytest.mark.parametrize("spec", FAMILIES, ids=[spec.family for spec in FAMILIES])


def total(functional: Functional, actions: torch.Tensor) -> torch.Tensor:
    """Summed reward of playing actions (T, N, A) from the first start state."""
    state, rewards = functional.initial(seed=0), []
    for action in actions:
        after = functional.transition(state, action)
        rewards.append(functional.reward(state, action, after))
        state = after
    return torch.stack(rewards).sum()


@families
def test_gradient_of_the_return(spec):
    """By the first and the last of five actions it equals central differences in float64.

    Contact, friction and yield leave kinks; a step of 1e-6 seldom meets one, and the mean slope
    across it would differ by the share of the particles that cross, so 1e-3 of the gradient's
    norm is what the definition of a right gradient allows.
    """
    functional = Functional(spec.id, dtype="float64")
    rng = np.random.default_rng(1)
    drawn = torch.as_tensor(rng.uniform(-0.6, 0.6, (STEPS, 1, spec.action)))
    actions = drawn.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total(functional, actions), actions)
    for step in (0, STEPS - 1):
        way = gradient[step] / gradient[step].norm()
        ends = []
        for sign in (1, -1):
            moved = drawn.clone()
            moved[step] += sign * 1e-6 * way
            with torch.no_grad():
                ends.append(float(total(functional, moved)))
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float(gradient[step].norm()), rel=1e-3)


@families
def test_observations_say_something(spec):
    """Observations are finite, seldom at their bound, and change from step to step."""
    functional = Functional(spec.id)
    state, rng = functional.initial(seed=0), np.random.default_rng(2)
    before = functional.observation(state)
    for _ in range(STEPS):
        action = torch.as_tensor(rng.uniform(-1, 1, (1, spec.action)))
        state = functional.transition(state, action)
    seen = functional.observation(state)
    assert torch.isfinite(seen).all()
    assert float((seen.abs() == 10.0).float().mean()) < 0.05
    assert float((seen != before).float().mean()) > 0.3


@families
@pytest.mark.parametrize("obs", ["particles", "pixels"])
def test_other_observations(spec, obs):
    """Particles and pixels are in their space on every task, and the picture is not empty."""
    # A goal is no part of a picture: the goal variant carries it beside.
    variant = "goal" if spec.goal else None
    env = (GoalEnv if variant else Env)(spec.task, obs=obs, variant=variant)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    seen = observation["observation"] if variant else observation
    assert seen.std() > (5 if obs == "pixels" else 0.05)


@families
def test_costs(spec):
    """Costs are those that the class names, finite and at least zero, and none without a limit."""
    functional = Functional(spec.id, num_envs=2)
    state, action = functional.initial(seed=0), torch.ones(2, spec.action)
    costs = functional.costs(state, action, functional.transition(state, action))
    assert set(costs) == set(functional.task.cost_names)
    for cost in costs.values():
        assert cost.shape == (2,)
        assert ((cost >= 0) & torch.isfinite(cost)).all()


@families
def test_reset_options(spec):
    """Poses and materials are drawn where the class has ranges; each start differs by its seed."""
    functional = Functional(spec.id, num_envs=2)
    task = functional.task
    options = Start(pose=bool(task.pose_range), material=bool(task.material_ranges))
    state = functional.initial(seed=0, start=options)
    again = functional.initial(seed=0, start=options)
    for (name, a), (_, b) in zip(state.items(), again.items(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(functional.observation(state)[0], functional.observation(state)[1])
    after = functional.transition(state, torch.zeros(2, spec.action))
    assert not after.failed.any()


@families
def test_both_sizes_are_built(spec):
    """The full size has more particles than the small one, and its substep is stable."""
    small, full = (load_task(spec.task, size=size).scene for size in ("small", "full"))
    assert full.num_particles > small.num_particles
    for scene in (small, full):
        assert scene.dt <= scene.largest_dt


@families
def test_documentation(spec):
    """The docstring has Gymnasium's sections, and its tables count what the class counts."""
    task = load_task(spec.task)
    text = inspect.getdoc(type(task)) or ""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    wanted = [name for name in SECTIONS if name != "Costs" or task.cost_names]
    assert [name for name in sections if name in SECTIONS] == wanted
    assert _counted(sections["Action space"]) == task.num_actions
    assert _counted(sections["Observation space"]) == task.num_features
    for name in task.cost_names:
        assert f"`{name}`" in sections["Costs"]


def _counted(section: str) -> int:
    """Numbers that the rows of a table cover: "3", or "0–6"; they must follow each other."""
    count = 0
    for row in re.findall(r"^\| (\d+(?:–\d+)?) \|", section, re.MULTILINE):
        first, _, last = row.partition("–")
        assert int(first) == count
        count = int(last or first) + 1
    return count


def test_ids_are_unique():
    """No two rows share an id, and every variant belongs to a family of the table."""
    assert len(TASKS) == sum(len(spec.variants()) for spec in FAMILIES)


def test_fresh_processes_agree():
    """Two processes print the same hash of every task."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "tests.tasks.fingerprint"]
    run = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line.split() for line in run.stdout.splitlines() if line.strip()]
    hashes = {words[0]: words[1] for words in lines if len(words) == 2}
    assert hashes == {spec.family: fingerprint(spec.id) for spec in FAMILIES}
