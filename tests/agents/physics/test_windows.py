"""Windows of rollouts: pieces of episodes, restarts, and what they are worth."""

from __future__ import annotations

import pytest
import torch

from agents.physics.adjoints import Watch
from agents.physics.values import lambda_targets, window_return
from agents.physics.windows import Drawn, Stage, Window
from simenv.mpm.transfer import NOT_A_NUMBER
from tests.agents.physics.systems import DoubleIntegrator

GAMMA = 0.5


def push(observations: torch.Tensor) -> Drawn:
    """The same push always."""
    n = len(observations)
    return Drawn(torch.full((n, 2), 0.5), torch.arange(n) * 1.0)


def window(ended, terminated=None) -> Window:
    """Of one environment, by where its episodes end; everything else is empty."""
    ended = torch.tensor(ended)[:, None]
    stopped = torch.zeros_like(ended) if terminated is None else torch.tensor(terminated)[:, None]
    empty = torch.zeros(len(ended), 1)
    return Window(empty[..., None], empty[..., None], empty, empty, ended, stopped)


# ------------------------------------------------------------------ stages


def test_a_window_is_transitions_one_after_another():
    """Observations, rewards and entropies of three steps, from where the last three ended."""
    system = DoubleIntegrator(2)
    stage, state = Stage(system, seed=3), system.initial(3)
    for _ in range(2):
        found = stage.window(push, 3)
        for t in range(3):
            features = system.task.features(state)
            action = push(features).actions
            after = system.transition(state, action)
            assert torch.equal(found.observations[t], features)
            assert torch.equal(found.after[t], system.task.features(after))
            assert torch.equal(found.rewards[t], system.reward(state, action, after))
            assert found.entropies[t].tolist() == [0.0, 1.0]
            state = after
        assert not found.ended.any()


def test_episodes_start_anew_where_they_end():
    """At the horizon they do, from other places than before, and nothing terminated."""
    system = DoubleIntegrator(1, horizon=3)
    stage = Stage(system, seed=3)
    found = stage.window(push, 8)
    assert found.ended[:, 0].tolist() == [False, False, True] * 2 + [False, False]
    assert not found.terminated.any()
    assert stage.episodes == 2
    # What comes after the last step of an episode is its own end, not the next start.
    assert torch.equal(found.observations[3], system.task.features(system.initial(4)))
    assert torch.equal(found.observations[6], system.task.features(system.initial(5)))
    assert not torch.equal(found.after[2], found.observations[3])


def test_first_episodes_end_one_after_another():
    """Four end after 2, 4, 6 and 8 steps, and all that follow after 8; resumed ones do so too."""
    system = DoubleIntegrator(4, horizon=8)
    stage = Stage(system, seed=0)
    ended = [stage.window(push, 5).ended]
    other = Stage(system, seed=0)
    other.set_state(stage.get_state())
    rest = other.window(push, 13).ended
    ended.append(stage.window(push, 13).ended)
    assert torch.equal(rest, ended[1])
    steps = [(column.nonzero()[:, 0] + 1).tolist() for column in torch.cat(ended).T]
    assert steps == [[2, 10, 18], [4, 12], [6, 14], [8, 16]]


def test_one_environment_ends_and_the_other_goes_on():
    """Only the row that is terminal is exchanged."""
    system = DoubleIntegrator(2)
    system.terminal = lambda state: torch.tensor([int(state.time[0]) == 2, False])
    found = Stage(system, seed=0).window(push, 3)
    assert found.terminated.tolist() == [[False, False], [True, False], [False, False]]
    assert torch.equal(found.ended, found.terminated)
    assert torch.equal(found.observations[2, 0], system.task.features(system.initial(2))[0])
    assert torch.equal(found.observations[2, 1], found.after[1, 1])


def test_a_step_that_broke_ends_its_episode_and_earns_nothing():
    """It terminates, so that nothing is bootstrapped from the state that it was undone to."""
    system = DoubleIntegrator(2)
    step = system.transition

    def breaking(state, action):
        after = step(state, action)
        fault = torch.tensor([NOT_A_NUMBER * int(state.time[0] == 1), 0], dtype=torch.int32)
        return after.replace(fault=fault)

    system.transition = breaking
    found = Stage(system, seed=0).window(push, 3)
    assert found.terminated[:, 0].tolist() == [False, True, False]
    assert found.rewards[1, 0] == 0.0
    assert found.rewards[1, 1] != 0.0


def test_gradients_end_where_the_window_begins_and_episodes_end():
    """A reward has slopes by the actions of its own piece alone."""
    system = DoubleIntegrator(1, horizon=3)
    stage = Stage(system, seed=0)
    actions = torch.zeros(7, 1, 2, requires_grad=True)
    rows = iter(actions)
    act = lambda seen: Drawn(next(rows), torch.zeros(1))  # noqa: E731
    first, second = stage.window(act, 2), stage.window(act, 5)
    for row, own in ((second.rewards[0], [2]), (second.rewards[3], [3, 4, 5])):
        slope = torch.autograd.grad(row.sum(), actions, retain_graph=True)[0]
        found = slope.abs().sum(dim=(1, 2)).nonzero()[:, 0].tolist()
        # The reward looks at the state before its step, so the last push counts by its size alone,
        # which has no slope at zero; two steps back are needed to move the point.
        assert set(found) <= set(own)
    last = torch.autograd.grad(second.rewards[3].sum(), actions, retain_graph=True)[0]
    assert last[3].abs().sum() > 0
    assert torch.autograd.grad(first.rewards[1].sum(), actions)[0][0].abs().sum() > 0


def test_the_stage_goes_on_exactly():
    """From a saved state come the same windows, restarts included, whatever the other's seed."""
    make = lambda seed: Stage(DoubleIntegrator(3, horizon=4), seed)  # noqa: E731
    whole = make(1)
    whole.window(push, 3)
    saved = whole.get_state()
    wanted = whole.window(push, 6)
    other = make(2)
    other.set_state(saved)
    assert torch.equal(other.window(push, 6).observations, wanted.observations)
    assert other.episodes == whole.episodes


# ------------------------------------------------------------------ worth


def test_discounts_count_from_every_restart():
    """γˡ, l = 0 at the beginning and after each end."""
    found = window([False, True, False, False]).discounts(GAMMA)
    assert found[:, 0].tolist() == [1.0, 0.5, 1.0, 0.5]


@pytest.mark.parametrize(
    ("ended", "terminated", "expected"),
    [
        # 1 + ½·2 + ¼·3, then γ³·V = ⅛·40.
        ([False, False, False], None, 1 + 1 + 0.75 + 5),
        # An end by time after two steps: its value counts γ²·30, and the third step starts anew.
        ([False, True, False], None, (1 + 1 + 0.25 * 30) + (3 + 0.5 * 40)),
        # A terminal one: nothing follows.
        ([False, True, False], [False, True, False], (1 + 1) + (3 + 0.5 * 40)),
        ([False, False, True], [False, False, True], 1 + 1 + 0.75),
    ],
)
def test_window_return_by_hand(ended, terminated, expected):
    """The mean per step of discounted pieces and of what follows them."""
    rewards, values = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[20.0], [30.0], [40.0]])
    found = window_return(window(ended, terminated), rewards, values, GAMMA)
    assert float(found) == pytest.approx(expected / 3)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_lambda_targets_by_the_sum_of_their_definition(lam):
    """(1 − λ) Σ λᵏ⁻¹ Gᵏ + λᵐ⁻¹ Gᵐ over the k-step returns up to the piece's end, m steps away."""
    ended, terminated = [False, False, True, False, False], [False, False, True, False, False]
    rewards, values = torch.randn(5, 1), torch.randn(5, 1)
    found = lambda_targets(window(ended, terminated), rewards, values, GAMMA, lam)
    follows = [0.0 if stop else float(v) for v, stop in zip(values, terminated, strict=True)]
    for t in range(5):
        end = 2 if t <= 2 else 4
        m = end - t + 1
        steps = [
            sum(GAMMA**i * float(rewards[t + i]) for i in range(k)) + GAMMA**k * follows[t + k - 1]
            for k in range(1, m + 1)
        ]
        expected = (1 - lam) * sum(lam ** (k - 1) * steps[k - 1] for k in range(1, m))
        expected += lam ** (m - 1) * steps[-1]
        # float32 sums of a dozen terms of order one.
        assert float(found[t]) == pytest.approx(expected, abs=1e-5)


# ------------------------------------------------------------------ adjoints


def sizes(watch: Watch) -> torch.Tensor:
    """Norms (T, N) of the gradients of a window's rewards by its actions."""
    system = DoubleIntegrator(2)
    actions = torch.zeros(4, 2, 2, requires_grad=True)
    rows = iter(actions)
    found = Stage(system, seed=0).window(lambda s: Drawn(next(rows), torch.zeros(2)), 4, watch)
    (torch.tensor([1.0, 100.0]) * found.rewards).sum().backward()
    return actions.grad.norm(dim=2)


def test_adjoints_of_actions_are_bounded():
    """Those above the bound come down to it, the others stay; normalised, all are at it."""
    free, bounded = sizes(Watch()), sizes(Watch(clip_action=0.05))
    assert (free[:3] > 0.05).any()
    assert (free[:3] < 0.05).any()
    torch.testing.assert_close(bounded, free.clamp(max=0.05))
    normal = sizes(Watch(clip_action=0.05, normalize=True))
    # The last push earns nothing within the window: what is zero stays zero.
    assert (normal[3] == 0).all()
    torch.testing.assert_close(normal[:3], torch.full((3, 2), 0.05))
