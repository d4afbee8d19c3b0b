"""What trajectory optimisation optimises: shapes, bounds, sets side by side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from agents.optimise_options import Optimise
from agents.trajopt import POLICIES, make_policy

SETS, A, OBS, HORIZON = 3, 4, 7, 12
TASK = SimpleNamespace(horizon=HORIZON, num_actions=A, num_features=OBS)


@pytest.fixture(params=POLICIES)
def kind(request) -> str:
    """Every kind of policy."""
    return request.param


def observe(n: int) -> torch.Tensor:
    """Observations (n, O)."""
    return torch.randn(n, OBS, generator=torch.Generator().manual_seed(1))


def test_the_options_offer_every_kind():
    """`simenv optimise --policy` takes the policies that there are."""
    assert set(get_args(get_type_hints(Optimise)["policy"])) == set(POLICIES)


def test_actions(kind):
    """Each set gives its environment actions (N, A) in [-1, 1], whatever an update brings."""
    policy = make_policy(kind, TASK, SETS)
    for t in (0, 5, HORIZON + 3):
        action = policy(observe(SETS), t)
        assert action.shape == (SETS, A)
        assert (action.abs() < 1).all()
    rows = policy(observe(1).expand(SETS, OBS), 1)
    assert not torch.equal(rows[0], rows[1])
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1e3)
    policy.project()
    assert (policy(observe(SETS), 1).abs() <= 1).all()


def test_one_set_serves_all(kind):
    """A policy with one set drives any number of environments."""
    policy = make_policy(kind, TASK, sets=1)
    observation = observe(1).expand(5, OBS)
    action = policy(observation, 2)
    assert action.shape == (5, A)
    assert (action == action[0]).all()


def test_pick(kind):
    """A picked set is a copy that does what it did among the others."""
    policy, lone = make_policy(kind, TASK, SETS), make_policy(kind, TASK, 1, seed=9)
    observation = observe(SETS)
    for index in range(SETS):
        picked = policy.pick(index)
        lone.load_state_dict(picked)
        # A product of another batch size may be summed in another order.
        torch.testing.assert_close(
            lone(observation[index : index + 1], 3)[0], policy(observation, 3)[index]
        )
    with torch.no_grad():
        kept = {name: value.clone() for name, value in picked.items()}
        for parameter in policy.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(picked[name], kept[name]) for name in kept)


def test_seed(kind):
    """The same seed gives the same parameters, another seed others."""
    first, again, other = (make_policy(kind, TASK, SETS, seed) for seed in (1, 1, 2))
    actions = [p(observe(SETS), 0) for p in (first, again, other)]
    assert torch.equal(actions[0], actions[1])
    assert not torch.equal(actions[0], actions[2])


def test_gait_is_periodic():
    """A gait repeats after ten steps and not before."""
    gait = make_policy("gait", TASK, SETS)
    observation = observe(SETS)
    torch.testing.assert_close(gait(observation, 3), gait(observation, 13))
    assert not torch.allclose(gait(observation, 3), gait(observation, 8))


def test_open_loop_holds_its_last_action():
    """Beyond the horizon an open-loop sequence holds its last action."""
    policy = make_policy("open-loop", TASK, SETS)
    last = policy(observe(SETS), HORIZON - 1)
    assert torch.equal(policy(observe(SETS), HORIZON + 5), last)
    assert not torch.equal(policy(observe(SETS), HORIZON - 2), last)


@pytest.mark.parametrize("knots", [1, 2, 5, HORIZON - 1, HORIZON])
def test_knots_are_joined_by_straight_lines(knots):
    """As numpy joins them: the first at the first step, the last at the last, evenly between."""
    policy = make_policy("plan", TASK, SETS, knots=knots)
    table = policy.table.numpy()
    places = np.linspace(0.0, HORIZON - 1, knots)
    for t in range(HORIZON + 2):
        found = policy(observe(SETS), t).detach().numpy()
        for s in range(SETS):
            expected = [np.interp(t, places, table[s, :, a]) for a in range(A)]
            # Two products and a sum in float32.
            np.testing.assert_allclose(found[s], expected, rtol=0, atol=1e-6)


def test_who_has_a_row_for_every_step():
    """Open loops with a row per step; knots, a gait's sines and feedback have a say in several."""
    for which, knots, alone in (
        ("plan", 0, True),
        ("open-loop", HORIZON, True),
        ("open-loop", 4, False),
        ("gait", 0, False),
        ("feedback", 0, False),
    ):
        assert make_policy(which, TASK, SETS, knots=knots).by_step is alone


def test_copies(kind):
    """So many sets that do what the first one does, apart from it."""
    policy = make_policy(kind, TASK, SETS)
    seen = observe(1).expand(SETS, OBS)
    copies = policy.copies(5)
    assert copies.table.shape == (5, *policy.table.shape[1:])
    found = copies(observe(1).expand(5, OBS), 3)
    torch.testing.assert_close(found, policy(seen, 3)[:1].expand(5, A))
    before = policy.table
    copies.set_table(torch.zeros_like(copies.table))
    assert torch.equal(policy.table, before)


def test_feedback_is_linear_in_the_observation():
    """Feedback is tanh of a linear map: its inverse doubles with the observation."""
    policy = make_policy("feedback", TASK, SETS)
    observation = 0.1 * observe(SETS)
    once, twice = (torch.atanh(policy(s * observation, 0)) for s in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once, rtol=1e-4, atol=1e-6)
    assert (once != 0).any()


@pytest.mark.parametrize(
    ("which", "blind"), [("gait", True), ("open-loop", True), ("feedback", False)]
)
def test_who_looks_at_the_observation(which, blind):
    """Only feedback depends on what is observed."""
    policy = make_policy(which, TASK, SETS)
    same = torch.equal(policy(observe(SETS), 1), policy(2 * observe(SETS), 1))
    assert same is blind
