"""The optimiser's switches: what counts, how long, and which actions still move."""

from __future__ import annotations

import pytest
import torch

from agents.schemes import Schemes
from agents.trajopt import LossWindow, check_schemes, rollout
from agents.trajopt.objective import distance, gain
from simenv.envs import Functional
from simenv.errors import ConfigurationError
from tests.agents.toy import Toy
from tests.agents.trajopt.test_rollout import draw, replay
from tests.envs.reach import REACH, Reach

HORIZON = 10


def test_loss_window_grows_when_the_loss_stands_still():
    """The window starts short, waits while the objective improves, and grows to the horizon."""
    window = LossWindow(Schemes(loss_start=4, loss_growth=5, patience=2, freeze=3), HORIZON)
    seen = []
    for objective in (1.0, 2.0, 2.0, 1.0, -9.0, -9.0, -9.0, -9.0, -9.0, -9.0):
        seen.append((window.steps, window.frozen))
        window.see(objective)
    assert [steps for steps, _ in seen] == [4, 4, 4, 4, 9, 9, 9, 10, 10, 10]
    # What only the present window has is moved by it, however large its growth.
    assert [frozen for _, frozen in seen] == [0, 0, 0, 0, 4, 4, 4, 7, 7, 7]


def test_an_iteration_that_broke_says_nothing_of_the_loss():
    """The window waits for it, and what comes after is progress."""
    window = LossWindow(Schemes(loss_start=4, patience=3), HORIZON)
    assert not any(window.see(-float("inf")) for _ in range(9))
    assert not any(window.see(objective) for objective in (-20.0, -10.0, -5.0, -2.0, -1.0, -0.5))
    assert [window.see(-0.5) for _ in range(3)] == [False, False, True]


def test_freezing_without_a_growing_window_is_refused():
    """It would keep what was never moved."""
    with pytest.raises(ConfigurationError, match=r"^freeze go.*loss_start"):
        Schemes(freeze=2)


def test_a_loss_that_creeps_stands_still():
    """Gains far below `min_gain` of the loss hold nothing up; those that add up to it do."""
    slow, steady = (LossWindow(Schemes(loss_start=4, patience=3), HORIZON) for _ in range(2))
    grown = [slow.see(100.0 + 1e-8 * n) for n in range(4)]
    assert grown == [False, False, False, True]
    assert not any(steady.see(100.0 + 0.06 * n) for n in range(40))


def test_loss_window_is_off_by_default():
    """Without switches every step counts and no action is kept."""
    window = LossWindow(Schemes(), HORIZON)
    assert (window.steps, window.frozen) == (HORIZON, 0)


def test_steps_beyond_the_loss_window_are_played_but_do_not_count():
    """The rollout is the same; gains and gradients end with the window."""
    toy = Toy(horizon=6)
    actions = draw(toy, 6)
    run = rollout(toy, replay(actions), toy.initial(), loss_window=4)
    full = rollout(toy, replay(actions), toy.initial())
    assert torch.equal(run.rewards, full.rewards)
    assert run.gains.shape == (4, 2)
    run.gains.sum().backward()
    assert (actions.grad[:4] != 0).all()
    assert (actions.grad[4:] == 0).all()


def test_frozen_actions_get_no_gradient():
    """The first actions are played as they are."""
    toy = Toy(horizon=6)
    actions = draw(toy, 6)
    rollout(toy, replay(actions), toy.initial(), frozen=2).gains.sum().backward()
    assert (actions.grad[:2] == 0).all()
    assert (actions.grad[2:5] != 0).all()


@pytest.fixture(scope="module")
def reach() -> Functional:
    """The reaching task with target points for its block."""
    functional = Functional(REACH, num_envs=2, dtype="float64", softness=20.0)
    points = functional.simulator.initial_state().x[0] + torch.tensor([0.03, 0.04]).double()
    functional.task.target_points = lambda: points
    return functional


def test_distances_of_a_shifted_block(reach):
    """A shift by 5 cm is 5 cm pointwise; Chamfer sees only that the ends do not overlap."""
    state = reach.initial(0)
    torch.testing.assert_close(
        distance("pointwise", reach.task, state), torch.full((2,), 0.05).double()
    )
    x, target = state.x[0], reach.task.target_points()
    between = (x[:, None] - target[None]).norm(dim=-1)
    by_hand = (between.min(dim=0).values.mean() + between.min(dim=1).values.mean()) / 2
    torch.testing.assert_close(distance("chamfer", reach.task, state)[0], by_hand)
    assert float(by_hand) < 0.05


def test_attraction_is_the_distance_to_the_material(reach):
    """Each tool's distance to the nearest particle lowers the gain, by its weight."""
    state = reach.initial(0)
    nearest = (state.x[0] - state.pose[0, 0, :2]).norm(dim=-1).min()
    torch.testing.assert_close(reach.task.attraction(state)[0], nearest)
    reward = torch.ones(2, dtype=torch.float64)
    pulled = gain(Schemes(attraction=2.0), reach.task, reward, state)
    torch.testing.assert_close(pulled[0], 1.0 - 2.0 * nearest)
    assert torch.equal(gain(Schemes(), reach.task, reward, state), reward)


def test_softness_reaches_the_tools(reach):
    """The switch is an option of the task."""
    assert [tool.softness for tool in reach.task.scene.tools] == [20.0]
    with pytest.raises(ConfigurationError, match="softness = -1"):
        Reach(softness=-1.0)


def test_switches_that_a_task_cannot_serve():
    """A loss without target points and an attraction without tools are refused."""
    with pytest.raises(ConfigurationError, match="Reach has no target points"):
        check_schemes(Schemes(loss="chamfer"), Reach())
    task = Reach()
    task.scene.rigids.clear()
    with pytest.raises(ConfigurationError, match="no tools to attract"):
        check_schemes(Schemes(attraction=1.0), task)


def test_softness_is_the_tasks_own(reach):
    """A switch that the task's tools do not have would change nothing."""
    check_schemes(Schemes(softness=20.0), reach.task)
    bare = Reach()
    bare.scene.rigids.clear()
    for task, words in (
        (reach.task, r"softness = 666 .* Reach have \[20.0\]"),
        (bare, "Reach has no tools to soften"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            check_schemes(Schemes(softness=666.0), task)


@pytest.mark.parametrize("given", [{"loss_growth": 5}, {"patience": 2}, {"min_gain": 0.1}])
def test_growth_needs_a_window_to_grow(given):
    """Without `loss_start` all steps count from the start."""
    with pytest.raises(ConfigurationError, match=rf"{next(iter(given))}.* give loss_start too"):
        Schemes(**given)


def test_pointwise_loss_of_an_exact_match_has_a_gradient(reach):
    """Where every particle is in its place the loss is zero, and its slope finite."""
    state = reach.initial(0)
    x = reach.task.target_points().expand_as(state.x).clone().requires_grad_()
    loss = distance("pointwise", reach.task, state.replace(x=x))
    loss.sum().backward()
    assert loss.tolist() == [0.0, 0.0]
    assert torch.isfinite(x.grad).all()


def test_nothing_counts_after_a_tasks_own_end():
    """Rewards, gains and successes after the terminal step are left out."""
    toy = Toy(horizon=6)
    toy.terminal = lambda state: state.time >= 3
    actions = draw(toy, 6)
    run = rollout(toy, replay(actions), toy.initial())
    assert (run.rewards[:3] != 0).all()
    assert (run.rewards[3:] == 0).all()
    run.gains.sum().backward()
    assert (actions.grad[3:] == 0).all()
