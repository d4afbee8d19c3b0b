"""Whole episodes: where gradients end, what counts, and how they start."""

from __future__ import annotations

import torch

import simenv
from agents.physics.episodes import Episodes
from agents.physics.windows import Drawn
from simenv.envs.start import Start
from tests.agents.physics.systems import TwoMasses

FINGER = "simenv/FingerReach2D-v0"


def test_gradients_end_where_a_piece_begins():
    """Of four steps by twos, states of the second pair do not know the first pair's actions."""
    system, bias = TwoMasses(1, 0.0, 0.0), torch.zeros(4, 1, 4, requires_grad=True)
    measure = lambda state: state.x.flatten(1)  # noqa: E731

    def slopes(truncation: int) -> list[bool]:
        stage, steps = Episodes(system), iter(bias)
        policy = lambda seen: Drawn(torch.tanh(next(steps)), torch.zeros(1))  # noqa: E731
        matched = stage.play(policy, measure, 4, truncation).matched
        (slope,) = torch.autograd.grad(matched[3].sum(), bias)
        return [bool(s.abs().sum() > 0) for s in slope]

    assert slopes(0) == [True, True, True, True]
    assert slopes(2) == [False, False, True, True]


def test_what_follows_an_end_does_not_count():
    """Neither after a terminal state, which counts itself, nor from a step on that broke."""
    system = TwoMasses(3)
    step, fault = system.transition, torch.tensor([0, 0, 1], dtype=torch.int32)
    system.transition = lambda state, action: step(state, action).replace(
        fault=fault * (state.time == 1).int()
    )
    system.terminal = lambda state: (state.time == 3) & torch.tensor([False, True, False])
    policy = lambda seen: Drawn(torch.zeros(3, 4), torch.zeros(3))  # noqa: E731
    counted = Episodes(system).play(policy, lambda state: state.x.flatten(1), 5).counted
    assert counted.sum(dim=0).tolist() == [5, 3, 1]


def test_starts_differ_and_pursue_the_demonstrations_goal():
    """Every episode has new ones, all with the goal that is given."""
    functional = simenv.functional(FINGER, num_envs=2)
    stage = Episodes(functional, 3, Start(target=[0.5, 0.25]))
    starts = []
    for _ in range(2):
        starts.append(stage.state)
        policy = lambda seen: Drawn(torch.zeros(2, 2), torch.zeros(2))  # noqa: E731
        stage.play(policy, lambda state: state.x[:, 0], 1)
    for state in starts:
        torch.testing.assert_close(state.context[:, :2], torch.tensor([[0.5, 0.25]] * 2))
    assert not torch.equal(starts[0].x, starts[1].x)
    assert stage.episodes == 4
