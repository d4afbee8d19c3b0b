"""SVGG on made-up episodes."""

import numpy as np
import pytest
import torch

from agents.goals.sampler import Episode, GoalBox, UniformGoals
from agents.goals.svgg import SVGG, difficulty
from simenv.errors import ConfigurationError

BOX = GoalBox(np.array([0.0, -1.0]), np.array([4.0, 1.0]))
SMALL = {
    "num_particles": 40,
    "recent_episodes": 60,
    "batch_episodes": 20,
    "predictor_steps": 20,
    "validity_goals": 200,
    "hidden": (16,),
}


def play(sampler, episodes, seed=0, steps=20):
    """Episodes from (0, 0): goals with x < 2 are reached, and achieved goals have |y| < 0.3."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(episodes):
        goal = sampler.draw(1)[0]
        drawn.append(goal)
        achieved = rng.uniform([0.0, -0.3], [4.0, 0.3], (steps, 2))
        sampler.observe(Episode(np.zeros(2), goal, achieved, bool(goal[0] < 2.0)))
        sampler.advance(steps)
    return np.array(drawn)


@pytest.fixture(scope="module")
def trained():
    """A sampler after 400 episodes."""
    sampler = SVGG(
        BOX, **SMALL, temperature=20.0, alpha=2.0, beta=2.0, particle_learning_rate=0.02, seed=0
    )
    play(sampler, 400)
    return sampler


def test_box_and_units():
    """Corners are -1 and 1, and the way there and back is the identity."""
    np.testing.assert_allclose(BOX.to_unit(np.stack([BOX.low, BOX.high])), [[-1, -1], [1, 1]])
    goals = np.random.default_rng(0).uniform(BOX.low, BOX.high, (5, 2))
    np.testing.assert_allclose(BOX.from_unit(BOX.to_unit(goals)), goals)


def test_uniform_goals_fill_the_box():
    """Even draws from the whole box; a saved generator repeats them."""
    sampler = UniformGoals(BOX, seed=0)
    state = sampler.get_state()
    goals = sampler.draw(2000)
    assert ((goals >= BOX.low) & (goals <= BOX.high)).all()
    # The mean of 2000 even draws has a standard error of 1/√12/√2000 = 0.65 % of an edge.
    np.testing.assert_allclose(goals.mean(axis=0), [2.0, 0.0], atol=0.03 * 4.0)
    sampler.set_state(state)
    np.testing.assert_array_equal(sampler.draw(2000), goals)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2.0, 2.0), (3.0, 1.5)])
def test_difficulty_is_the_beta_density(a, b):
    """It integrates to one over [0, 1]."""
    middles = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    # Midpoint rule; the density's slope is infinite at an end for b = 1.5: error about h^1.5.
    assert abs(float(difficulty(torch.logit(middles), a, b).mean()) - 1.0) < 1e-5


def test_difficulty_of_certain_goals_has_a_slope():
    """Where D has run to 0 or 1 in float32, the gradient is still a number."""
    logits = torch.tensor([-200.0, 200.0], requires_grad=True)
    slope = torch.autograd.grad(difficulty(logits, 1.5, 1.5).sum(), logits)[0]
    assert torch.isfinite(slope).all()


def test_gradient_of_the_target(trained):
    """∇log p̃ equals central differences in float64."""
    trained.predictor.network.double()
    try:
        initial = torch.tensor([-1.0, 0.0], dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        points = 2 * torch.rand(20, 2, generator=generator, dtype=torch.float64) - 1
        leaf = points.clone().requires_grad_()
        exact = torch.autograd.grad(trained.log_target(leaf, initial).sum(), leaf)[0]
        h = 1e-6
        for axis in range(2):
            shift = torch.zeros(2, dtype=torch.float64)
            shift[axis] = h
            with torch.no_grad():
                up, down = (trained.log_target(points + s, initial) for s in (shift, -shift))
            # Truncation h² · third derivative (≤ 1e4) and rounding 1e-15 · 30/h: below 1e-7. A kink
            # of a ReLU within h of a point would show up as a gross error.
            torch.testing.assert_close((up - down) / (2 * h), exact[:, axis], atol=1e-5, rtol=1e-6)
    finally:
        trained.predictor.network.float()


def test_particles_find_the_frontier(trained):
    """Goals drawn lie where success is uncertain, and where goals have been achieved."""
    goals = trained.draw(500)
    assert (np.abs(goals[:, 0] - 2.0) < 0.7).mean() > 0.8
    assert (np.abs(goals[:, 1]) < 0.6).mean() > 0.8


def test_particles_stay_in_the_box():
    """Nothing but the box holds particles that only repel each other."""
    sampler = SVGG(BOX, **SMALL, particle_learning_rate=0.5, seed=0)
    play(sampler, 60)
    for _ in range(50):
        sampler.move(annealing=0.0)
    goals = sampler.draw(500)
    assert ((goals >= BOX.low - 1e-6) & (goals <= BOX.high + 1e-6)).all()
    assert float(sampler.particles.abs().max()) == 1.0


def test_goals_are_even_before_the_models_are_ready():
    """Too few episodes for the predictor: the box; afterwards particles."""
    sampler = SVGG(BOX, **SMALL, seed=0)
    early = play(sampler, 19)
    assert early[:, 1].std() > 0.3
    assert not set(map(tuple, early)) & set(map(tuple, sampler.draw(40)))
    play(sampler, 60)
    places = set(map(tuple, BOX.from_unit(sampler.particles.numpy().astype(np.float64))))
    assert set(map(tuple, sampler.draw(40))) <= places


def test_annealing_cycle():
    """Repulsion alone in the first 1000 of every 5000 steps."""
    sampler = SVGG(BOX, **SMALL)
    sampler.advance(999)
    assert sampler.annealing == 0.0
    sampler.advance(1)
    assert sampler.annealing == 1.0
    sampler.advance(4000)
    assert sampler.annealing == 0.0


def test_state_round_trip_goes_on_identically():
    """A sampler restored into a fresh one draws the same goals for good."""
    one = SVGG(BOX, **SMALL, seed=0)
    play(one, 80)
    other = SVGG(BOX, **SMALL, seed=7)
    other.set_state(one.get_state())
    np.testing.assert_array_equal(play(one, 60, seed=1), play(other, 60, seed=1))


def test_saved_state_is_a_copy():
    """Going on does not change what has been saved."""
    sampler = SVGG(BOX, **SMALL, seed=0)
    play(sampler, 80)
    state = sampler.get_state()
    expected = SVGG(BOX, **SMALL)
    expected.set_state(state)
    ahead = play(sampler, 60, seed=1)
    late = SVGG(BOX, **SMALL)
    late.set_state(state)
    np.testing.assert_array_equal(play(late, 60, seed=1), ahead)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 0.5}, "alpha = 0.5"),
        ({"num_particles": 0}, "num_particles"),
        ({"nu": 0.0}, "nu = 0.0"),
        ({"recent_episodes": 0}, "recent_episodes"),
    ],
)
def test_options_outside_their_bounds(options, words):
    """They are named."""
    with pytest.raises(ConfigurationError, match=words):
        SVGG(BOX, **options)


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        ("simenv/DoughShape-Goal-v0", "100 numbers that no box describes"),
        ("simenv/SandPaint-Goal-v0", "16 numbers that no box describes"),
        ("simenv/SoftWalker2D-v0", "has no goals"),
    ],
)
def test_tasks_without_a_box_are_refused(task_id, words):
    """Height maps fill no box, so goals cannot be sampled from one."""
    with pytest.raises(ConfigurationError, match=words):
        GoalBox.of(task_id)


@pytest.mark.parametrize("name", ["FingerReach2D", "ArmReach3D", "FluidTransport"])
def test_task_goals_lie_in_their_box(name):
    """The box of a task holds the goals that it draws itself."""
    from simenv.envs.functional import Functional

    task = Functional(f"simenv/{name}-Goal-v0", threads=1).task
    box = GoalBox.of(f"simenv/{name}-Goal-v0")
    rng = np.random.default_rng(0)
    goals = np.stack([*(task.draw_goal(rng) for _ in range(20)), task.middle_goal()])
    assert box.num_goals == task.num_goals
    assert (np.abs(box.to_unit(goals)) <= 1.0).all()


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ([0.0, 1.0], [1.0, 1.0], "below high"),
        ([0.0] * 7, [1.0] * 7, "too many"),
        ([], [], "at least"),
    ],
)
def test_wrong_box(low, high, words):
    """A box must have an inside, and few numbers."""
    with pytest.raises(ConfigurationError, match=words):
        GoalBox(np.array(low), np.array(high))
