"""ILD: it follows where cloning drifts away, goes on exactly, and every switch does something."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.demonstrations import demonstrate
from agents.physics.episodes import Episodes
from agents.physics.ild import ILD
from agents.physics.matching import alpha_chamfer
from agents.physics.windows import Drawn
from simenv.errors import CheckpointError, ConfigurationError, DatasetError
from tests.agents.offline.test_algorithm import tensors
from tests.agents.physics.systems import TwoMasses, demonstrated, driver, position_error

TINY = {"net_arch": (8,), "match": "features", "warmup": 3, "truncation": 4, "seed": 1}
FINGER = "simenv/FingerReach2D-v0"


@pytest.fixture(scope="module")
def round_trip():
    """A lying eight of 64 steps."""
    return demonstrated()


@pytest.fixture(scope="module")
def short():
    """Its first six steps."""
    system = TwoMasses(1, 0.0, 0.0)
    system.task.horizon = 6
    return demonstrate(system, driver)


def make(demonstration, num_envs: int = 3, **options) -> ILD:
    """A tiny one."""
    return ILD(TwoMasses(num_envs), demonstration=demonstration, **TINY | options)


def error(model, demonstration) -> float:
    """Of its positions, deterministic, over disturbed episodes from other starts."""
    return position_error(lambda seen: model.act(model.encode(seen), True), demonstration)


# ------------------------------------------------------------------ learning


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_follows_where_cloning_drifts_away(seed, round_trip):
    """Within 0.3 m of the demonstration, root mean square; cloning is off by more than 1.5 m."""
    options = {"match": "features", "net_arch": (128, 64), "seed": seed}
    model = ILD(TwoMasses(32), demonstration=round_trip, **options)
    model.warm_up()
    assert error(model, round_trip) > 1.5
    model.learn(200 * model.stride)
    assert error(model, round_trip) < 0.3


def test_a_few_updates_help(short):
    """From nothing to nearer, without a warm-up."""
    model = make(short, 8, warmup=0, net_arch=(32,), learning_rate=1e-2, initial_std=0.05)
    before = error_of_start(model, short)
    model.learn(40 * model.stride)
    assert error_of_start(model, short) < 0.5 * before


def error_of_start(model, demonstration) -> float:
    """Mean distance of the episodes that it would learn from, without noise of its own."""
    twin = Episodes(TwoMasses(64), 10**6)
    torch.manual_seed(0)
    policy = lambda seen: Drawn(model.act(model.encode(seen), True), torch.zeros(64))  # noqa: E731
    with torch.no_grad():
        episode = twin.play(policy, model._matching, len(demonstration))
    return float(model.distances(episode)["state_distance"].mean())


def test_the_warm_up_clones(round_trip):
    """Actions of the demonstration in its states; with none, those of a fresh network."""
    acted = torch.as_tensor(round_trip.actions)
    seen = torch.as_tensor(round_trip.features[:-1])
    losses = []
    for warmup in (0, 300):
        model = make(round_trip, warmup=warmup, net_arch=(64,), learning_rate=3e-3)
        model.warm_up()
        with torch.no_grad():
            losses.append(float((model.act(model.encode(seen), True) - acted).square().mean()))
    assert losses[1] < 0.05 * losses[0]


def test_the_policy_descends_its_loss(short):
    """An update's gradient is that of the mean loss over environments, from the same draws."""
    given = {"warmup": 0, "max_grad_norm": 1e9, "clip_adjoint": 0.0, "clip_action": 0.0}
    model, twin = (make(short, **given) for _ in range(2))
    torch.manual_seed(5)
    episode = twin.stage.play(twin.draw, twin._matching, 6, 4)
    apart = alpha_chamfer(episode.matched, twin._matching.target, episode.counted)
    loss = apart.mean()
    wanted = torch.autograd.grad(loss, list(twin.actor.parameters()))
    torch.manual_seed(5)
    found = model.iterate()
    assert float(found["imitation_loss"]) == pytest.approx(float(loss.detach()), rel=1e-6)
    for parameter, slope in zip(model.actor.parameters(), wanted, strict=True):
        assert torch.equal(parameter.grad, slope)


# ------------------------------------------------------------------ switches


@pytest.mark.parametrize(
    "option",
    [
        {"loss": "pointwise"},
        {"truncation": 0},
        {"truncation": 2},
        {"clip_adjoint": 1e-6},
        {"clip_action": 1e-6},
        {"kappa": 0.2},
        {"reverse_discount": 0.5},
        {"state_weight": 0.3},
        {"action_weight": 1.0},
        {"entropy_weight": 0.1},
        {"squash": True},
        {"warmup": 0},
        {"normalize": False},
        {"initial_std": 0.5},
    ],
)
def test_every_switch_changes_what_is_learnt(option, short):
    """One update later the policy is another one."""
    torch.manual_seed(0)
    plain = make(short).learn(18)
    other = make(short, **option).learn(18)
    mine, theirs = plain.actor.network.state_dict(), other.actor.network.state_dict()
    same = all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert not same


def test_weights_by_hand(short):
    """The tanh of the weighted sum of distances and negative entropy, or the sum."""
    weights = {"state_weight": 0.5, "action_weight": 2.0, "entropy_weight": 0.1}
    model = make(short, **weights)
    episode = model.stage.play(model.draw, model._matching, 6)
    found = model.distances(episode)
    acted = torch.as_tensor(short.actions)
    assert torch.equal(
        found["action_distance"], alpha_chamfer(episode.actions, acted, episode.counted)
    )
    total = 0.5 * found["state_distance"] + 2.0 * found["action_distance"]
    total = total - 0.1 * episode.entropies.mean(dim=0)
    torch.testing.assert_close(model.weigh(found, episode), total)
    model.squash = True
    torch.testing.assert_close(model.weigh(found, episode), torch.tanh(total))


def test_the_best_policy_is_kept(short):
    """At the end it acts; going on, training takes up the last one."""
    model = make(short, keep_best=True)
    losses, before = [], {}
    iterate = model.iterate

    def watched():
        before[len(losses)] = [p.clone() for p in model.actor.parameters()]
        found = iterate()
        losses.append(float(found["imitation_loss"].detach()))
        return found

    model.iterate = watched
    model.learn(8 * 18)
    best = int(np.argmin(losses))
    assert float(model.best_loss) == min(losses)
    assert all(map(torch.equal, model.best_actor.parameters(), before[best]))
    seen = torch.randn(5, 8)
    assert torch.equal(model.act(seen, True), model.best_actor(seen))
    last = [p.clone() for p in model.actor.parameters()]
    model.learn(18)
    assert all(map(torch.equal, last, before[8]))
    never = make(short, keep_best=False).learn(18)
    assert torch.equal(never.act(seen, True), never.actor(seen))


def test_a_policy_that_breaks_the_simulator_is_not_the_best(short):
    """Though what is broken counts for nothing, and so is at no distance."""
    model = make(short)
    step = model.functional.transition

    def broken(state, action):
        after = step(state, action)
        return after.replace(fault=torch.ones_like(after.fault))

    model.functional.transition = broken
    loss = model.iterate()["imitation_loss"]
    assert float(loss) == 0.0
    assert torch.isinf(model.best_loss)
    assert float(model.iterate()["entropy"].detach().abs().max()) == 0.0


def test_who_keeps_nothing_is_told(short):
    """Where episodes end early none of them is the best."""
    model = make(short, warmup=0)
    model.functional.terminal = lambda state: state.time >= 3
    with pytest.warns(RuntimeWarning, match="the last policy stays"):
        model.learn(model.stride)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(short, warmup=0, keep_best=False).learn(model.stride)


def test_bounds_are_on_the_adjoints_of_an_environments_own_loss(short):
    """The same slope of the mean for three environments as for one, were they all alike."""

    def slope(count: int, bound: float = 1e-3) -> torch.Tensor:
        system = TwoMasses(count, 0.0, 0.0)
        model = ILD(
            system,
            demonstration=short,
            **TINY | {"warmup": 0, "clip_adjoint": bound},
        )
        model.max_grad_norm = 1e9
        own = model.draw
        # Without noise of the policy.
        model.draw = lambda seen: own(seen)._replace(actions=model.actor(model.encode(seen)))
        model.iterate()
        return torch.cat([p.grad.flatten() for p in model.actor.parameters() if p.ndim > 1])

    # Float32 sums in another order.
    torch.testing.assert_close(slope(1), slope(3), rtol=1e-3, atol=1e-6)
    assert not torch.allclose(slope(1), slope(1, 0.0), rtol=0.1)


# ------------------------------------------------------------------ faults, state


def test_a_gradient_that_is_not_finite_is_skipped(short):
    """The policy stays, and it is said from which step back."""
    model = make(short, warmup=0, normalize=False)
    system, step = model.functional, model.functional.transition

    def bad(state, action):
        after = step(state, action)
        poison = torch.sqrt(0.0 * action[:, :1, None])
        return after.replace(x=after.x + poison * (state.time == 5)[:, None, None])

    system.transition = bad
    before = [p.clone() for p in model.actor.parameters()]
    with pytest.warns(RuntimeWarning, match="imitation_loss .* from step 5 back"):
        model.learn(18)
    assert all(map(torch.equal, before, model.actor.parameters()))
    assert model.guard.skipped == 1


def test_a_flat_loss_is_said(short):
    """Beyond 9 or so, the tanh is 1 in float32: nothing would be learnt, and nobody would know."""
    with pytest.warns(RuntimeWarning, match="has no slope"):
        make(short, squash=True, kappa=1e3, warmup=0).learn(18)


def test_goes_on_exactly(short, tmp_path):
    """From a checkpoint to the same bits, through the end of a first training."""
    plain = {"final_learning_rate": None}
    whole = make(short, **plain).learn(72)
    half = make(short, **plain).learn(36)
    half.save_checkpoint(tmp_path / "half")
    other = make(short, **plain)
    other.load_checkpoint(tmp_path / "half")
    assert torch.equal(other.act(torch.ones(1, 8), True), half.act(torch.ones(1, 8), True))
    other.learn(36)
    assert other.num_timesteps == whole.num_timesteps == 72
    mine, theirs = tensors(whole), tensors(other)
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert torch.equal(whole.best_loss, other.best_loss)
    assert torch.equal(whole.stage.state.x, other.stage.state.x)


def test_another_demonstration_is_no_continuation(short, tmp_path):
    """Refused, whereas the policy alone needs none."""
    model = make(short).learn(18)
    model.save_checkpoint(tmp_path / "one")
    rewards = short.rewards + 1.0
    with pytest.raises(CheckpointError, match="belongs to another demonstration"):
        make(replace(short, rewards=rewards)).load_checkpoint(tmp_path / "one")


def test_save_and_load(short, tmp_path):
    """Same actions, without an environment or a demonstration; learning then asks for them."""
    model = make(short).learn(36)
    model.save(tmp_path / "model")
    loaded = ILD.load(tmp_path / "model")
    seen = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    assert np.array_equal(model.predict(seen)[0], loaded.predict(seen)[0])
    with pytest.raises(ConfigurationError, match="loaded without an environment"):
        loaded.learn(18)
    with pytest.raises(CheckpointError, match="pass demonstration="):
        ILD.load(tmp_path / "model", env=TwoMasses(3))
    again = ILD.load(tmp_path / "model", env=TwoMasses(3), demonstration=short)
    assert again.learn(18).num_timesteps == 18


def test_demonstrations_that_do_not_belong(short):
    """Of another task, or with other spaces."""
    with pytest.raises(DatasetError, match=f"recorded in somewhere, not in {FINGER}"):
        ILD(FINGER, demonstration=replace(short, task_id="somewhere"))
    narrow = replace(short, actions=short.actions[:, :1])
    with pytest.raises(DatasetError, match="8 features and 1 actions, the environment 8 and 4"):
        make(narrow)


@pytest.mark.parametrize(
    "option",
    [
        {"loss": "nearest"},
        {"match": "pixels"},
        {"truncation": -1},
        {"warmup": -1},
        {"kappa": -1.0},
        {"clip_adjoint": -1.0},
        {"clip_action": -1.0},
        {"reverse_discount": 0.0},
        {"state_weight": -1.0},
        {"action_weight": -1.0},
        {"entropy_weight": float("nan")},
        {"initial_std": 0.0},
    ],
)
def test_options_outside_their_bounds(option, short):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        make(short, **option)
