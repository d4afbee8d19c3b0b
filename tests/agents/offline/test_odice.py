"""ODICE: its gradients, their projection, the actor's weights, imitation, exact resume."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.algorithms import ALGORITHMS
from agents.offline.data import Batch, Transitions
from agents.offline.odice import ODICE, combine, conjugate, orthogonal
from agents.offline.options import TrainODICE
from agents.train_options import preset
from simenv.errors import ConfigurationError
from tests.agents.offline.sets import bandit, regret
from tests.agents.offline.test_algorithm import assert_same
from tests.agents.offline.test_losses import BATCH, Known, changed, weights

TINY = {"net_arch": (4,), "actor_arch": (4,), "batch_size": 16, "seed": 0, "gamma": 0.5}


def walk(size: int = 400) -> Transitions:
    """A noisy walk of three numbers in four episodes: s' is near s, as in most environments."""
    rng = np.random.default_rng(0)
    seen = np.cumsum(0.1 * rng.standard_normal((size + 1, 3)), axis=0)
    actions = rng.uniform(-1.0, 1.0, (size, 1))
    cut = np.arange(size) % (size // 4) == size // 4 - 1
    rewards = 0.1 * rng.standard_normal(size)
    return Transitions.from_arrays(
        seen[:-1], actions, rewards, seen[1:], np.zeros(size, bool), truncated=cut
    )


def doubled(**options) -> tuple[ODICE, Batch]:
    """A tiny agent in float64, its target unlike its value, and a batch."""
    model = ODICE(walk(), **TINY | options)
    batch = model.sample()
    for network in (model.value, model.value_target):
        network.double()
    with torch.no_grad():
        for parameter in model.value_target.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    double = [part.double() for part in batch if part is not None]
    return model, Batch(*double)


def relative(one: Tensor, other: Tensor) -> float:
    """|cosine| of two vectors, in float64."""
    one, other = one.double(), other.double()
    return float(torch.dot(one, other).abs() / (one.norm() * other.norm()))


# ------------------------------------------------------------------ the value's loss


def test_the_conjugate_is_the_supremum():
    """f*(x) = sup over w ≥ 0 of x w − (w − 1)²; a grid of step h misses it by at most h² / 4."""
    w = torch.linspace(0.0, 5.0, 5001, dtype=torch.float64)
    for x in (-3.0, -2.0, -0.5, 0.0, 1.7):
        best = (x * w - (w - 1) ** 2).max().item()
        assert conjugate(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(
            best, abs=1e-6
        )


def test_residuals():
    """By hand: V̄ takes the smaller value, V both, and an end has no next value."""
    model = ODICE(bandit(10), **TINY)
    model.value = Known(lambda s: s, lambda s: 2 * s)
    model.value_target = Known(lambda s: 3 * s, lambda s: 10 * s)
    # e_f = [1 + ½ · 6, 3] − [s, 2 s]; e_b = [1 + ½ [2, 4], 3] − [3, 6].
    assert model.forward_residual(BATCH).tolist() == [[3.0, 2.0], [1.0, -1.0]]
    assert model.backward_residual(BATCH).tolist() == [[-1.0, 0.0], [-3.0, -3.0]]


def losses(model: ODICE, batch: Batch) -> list[float]:
    """The three parts of the value's loss, as numbers."""
    weight = model.dice_lambda
    with torch.no_grad():
        return [
            float((1 - weight) * model.value(batch.observations).mean()),
            float(weight * conjugate(model.forward_residual(batch)).mean()),
            float(weight * model.eta * conjugate(model.backward_residual(batch)).mean()),
        ]


@pytest.mark.parametrize("layer_norm", [True, False])
def test_gradients_against_central_differences(layer_norm):
    """All three parts, by every parameter of both values, the target held."""
    model, batch = doubled(layer_norm=layer_norm, eta=0.7)
    step, found = 1e-6, []
    for parameter in model.value.parameters():
        entries = parameter.data.reshape(-1)
        for index in range(len(entries)):
            here = float(entries[index])
            entries[index] = here + step
            above = losses(model, batch)
            entries[index] = here - step
            below = losses(model, batch)
            entries[index] = here
            found.append([(a - b) / (2 * step) for a, b in zip(above, below, strict=True)])
    expected = torch.tensor(found, dtype=torch.float64).T
    # Differences of numbers of size 1 in float64 over 2e-6 are good to some 1e-10.
    torch.testing.assert_close(torch.stack(model.gradients(batch)), expected, rtol=0, atol=1e-8)
    assert (expected.norm(dim=1) > 1e-2).all()


# ------------------------------------------------------------------ the projection


def test_the_projected_gradient_is_orthogonal_in_float64():
    """To rounding, and it is g_b − (g_f·g_b / ‖g_f‖²) g_f."""
    model, batch = doubled()
    found = model.gradients(batch)
    kept = orthogonal(found.backward, found.forward)
    assert relative(found.backward, found.forward) > 0.1
    assert relative(kept, found.forward) < 1e-12
    share = found.forward @ found.backward / (found.forward @ found.forward)
    torch.testing.assert_close(kept, found.backward - share * found.forward)


def test_the_projected_gradient_is_orthogonal_in_float32():
    """To the rounding of its entries, with networks of the usual size."""
    model = ODICE(walk(), **TINY | {"net_arch": (256, 256), "batch_size": 256})
    found = [model.gradients(model.sample()) for _ in range(8)]
    assert max(relative(orthogonal(g.backward, g.forward), g.forward) for g in found) < 6e-8


def test_a_forward_gradient_of_nothing_leaves_the_backward_one():
    """Where f* is flat g_f is 0: nothing to project on, and no division by 0."""
    backward = torch.tensor([1.0, -2.0])
    assert torch.equal(orthogonal(backward, torch.zeros(2)), backward)


@pytest.mark.parametrize("gradient", ["orthogonal", "true", "semi"])
def test_the_gradient_that_the_value_takes(gradient):
    """Linear and forward part, and the backward one projected, whole or not at all."""
    model, batch = doubled(gradient=gradient)
    linear, forward, backward = model.gradients(batch)
    share = forward @ backward / (forward @ forward)
    kept = {"orthogonal": backward - share * forward, "true": backward, "semi": 0 * backward}
    expected = linear + forward + kept[gradient]
    torch.testing.assert_close(combine(model.gradients(batch), gradient), expected)
    cosine = model.descend_value(batch)["gradient_cosine"]
    taken = torch.cat([p.grad.reshape(-1) for p in model.value.parameters()])
    torch.testing.assert_close(taken, expected)
    assert float(cosine) == pytest.approx(
        float(forward @ backward / forward.norm() / backward.norm())
    )


@pytest.mark.parametrize(("dice_lambda", "share"), [(0.4, 1.0), (0.6, 0.0)])
def test_a_constant_residual_comes_to_rest(dice_lambda, share):
    """One-step episodes of reward 1 in one state: e_f = 2 (1 − 2λ) / λ, so 1 or −2/3."""
    size = 64
    z = np.ones((size, 1))
    data = Transitions.from_arrays(z, 0 * z, np.ones(size), z, np.ones(size, bool))
    model = ODICE(data, **TINY, dice_lambda=dice_lambda, learning_rate=0.02).learn(300)
    residual = model.forward_residual(data.at(torch.arange(size))).detach()
    expected = 2 * (1 - 2 * dice_lambda) / dice_lambda
    torch.testing.assert_close(residual, torch.full_like(residual, expected), rtol=0, atol=0.02)
    found = model.update(model.sample())
    assert found["positive_share"].mean() == share


# ------------------------------------------------------------------ the actor


def test_actor_loss():
    """Weights max(e_f, 0) up to 100, over both values: log π = 1.5 and .5."""
    model = ODICE(bandit(10), **TINY)
    model.actor = SimpleNamespace(log_prob=lambda s, a: a + 1)
    residual = torch.tensor([[-1.0, 2.0], [300.0, 0.5]])
    expected = -(2.0 * 1.5 + 100.0 * 0.5 + 0.5 * 0.5) / 4
    assert model.actor_loss(BATCH, residual).item() == pytest.approx(expected)


def test_the_order_of_an_update(monkeypatch):
    """The actor's weights are from before V's step; the target follows V's step by τ."""
    model = ODICE(walk(), **TINY, tau=0.25)
    batch, seen = model.sample(), []
    before, old = model.forward_residual(batch).detach(), weights(model.value_target)
    loss = model.actor_loss
    monkeypatch.setattr(model, "actor_loss", lambda b, e: seen.append(e) or loss(b, e))
    parts = (model.value, model.actor)
    kept = weights(*parts)
    found = model.update(batch)
    assert torch.equal(seen[0], before)
    assert not torch.equal(model.forward_residual(batch), before)
    assert all(
        changed(weights_of, part)
        for weights_of, part in zip((kept[:8], kept[8:]), parts, strict=True)
    )
    for now, was, source in zip(
        weights(model.value_target), old, weights(model.value), strict=True
    ):
        torch.testing.assert_close(now, 0.75 * was + 0.25 * source)
    assert torch.equal(found["positive_share"], (before > 0).float())


def test_the_mean_with_and_without_tanh():
    """Without it, a mean beyond the bounds is clipped by `predict` alone."""
    for tanh_mean, largest in ((False, 5.0), (True, float(np.tanh(5.0)))):
        model = ODICE(bandit(10), **TINY, tanh_mean=tanh_mean)
        torch.nn.init.zeros_(model.actor.network[-1].weight)
        torch.nn.init.constant_(model.actor.network[-1].bias, 5.0)
        assert model.actor(torch.zeros(1, 1)).item() == pytest.approx(largest)
        assert model.predict(np.zeros(1))[0] == pytest.approx(min(largest, 1.0))


def test_weight_decay_is_the_actors():
    """Not the values'."""
    model = ODICE(bandit(10), **TINY, weight_decay=0.5)
    assert model.actor_optimizer.param_groups[0]["weight_decay"] == 0.5
    assert model.value_optimizer.param_groups[0]["weight_decay"] == 0.0


def test_it_finds_the_best_actions_of_mixed_data():
    """Better than the mean of uniform actions, which is 0.2 away from the best."""
    model = ODICE(
        bandit(),
        **TINY | {"net_arch": (32,), "actor_arch": (32,), "batch_size": 64},
        dice_lambda=0.6,
        reward_scale=4.0,
        learning_rate=3e-3,
        normalize=True,
    ).learn(500)
    assert regret(model) < 0.02


# ------------------------------------------------------------------ imitation


def test_imitation_sees_one_episode_without_rewards():
    """Its transitions alone, its last one with its own next observation."""
    data = walk()
    model = ODICE(data, **TINY, imitate=2)
    assert torch.equal(model.dataset.observations, data.observations[200:300])
    assert torch.equal(model.dataset.next_observations, data.next_observations[200:300])
    assert model.dataset.costs is None
    assert len(data) == 400
    assert not model.sample().rewards.any()
    assert model.learn(2).num_timesteps == 2


def test_imitation_of_what_is_not_there():
    """The episodes that there are."""
    with pytest.raises(ConfigurationError, match="imitate = 4 must be an episode, from 0 to 3"):
        ODICE(walk(), **TINY, imitate=4)


# ------------------------------------------------------------------ options and persistence


@pytest.mark.parametrize(
    "option",
    [
        {"dice_lambda": 1.0},
        {"dice_lambda": 0.0},
        {"eta": -1.0},
        {"weight_decay": -1.0},
        {"gradient": "none"},
        {"actor_arch": ()},
    ],
)
def test_options_outside_their_bounds(option):
    """Each is refused by name, in Python and on the command line."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        ODICE(bandit(10), **TINY | option)
    if "gradient" not in option:
        with pytest.raises(ConfigurationError, match=next(iter(option))):
            TrainODICE(dataset="x-v0", **option)


def test_the_command_lines_options_are_the_agents():
    """Same names, and the same defaults."""
    given = TrainODICE(dataset="x-v0").agent_arguments()
    model = ODICE(bandit(10), seed=0)
    names = ("dice_lambda", "eta", "gradient", "layer_norm", "tanh_mean", "weight_decay")
    for name in (*names, "imitate", "actor_arch", "net_arch", "learning_rate"):
        assert getattr(model, name) == given[name]
    assert ALGORITHMS["odice"].load() is ODICE
    assert TrainODICE(dataset="x-v0", **preset("odice", "Pendulum-v1")).dice_lambda == 0.4


@pytest.mark.parametrize("imitate", [None, 1])
def test_resume_equals_the_uninterrupted_training(imitate, tmp_path):
    """Networks, target, moments and losses agree bit by bit."""
    options = {**TINY, "imitate": imitate}
    whole, part = ODICE(walk(), **options), ODICE(walk(), **options)
    whole.learn(12, log_interval=5)
    part = ODICE(walk(), **options).learn(7, log_interval=5)
    part.save_checkpoint(tmp_path / "c")
    torch.manual_seed(99)
    again = ODICE(walk(), **options)
    again.load_checkpoint(tmp_path / "c")
    again.learn(5, log_interval=5)
    assert_same(whole, again)
    again.save(tmp_path / "model")
    loaded = ODICE.load(tmp_path / "model")
    grid = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
    assert np.array_equal(loaded.predict(grid)[0], whole.predict(grid)[0])


def test_a_step_that_is_not_finite_is_skipped():
    """The value stays as it is."""
    model = ODICE(walk(), **TINY).learn(2)
    before, batch = weights(model.value, model.actor), model.sample()
    with pytest.warns(RuntimeWarning, match="_loss or its gradient is not finite") as caught:
        model.update(batch._replace(rewards=batch.rewards * torch.nan))
    assert [str(w.message).split()[0] for w in caught] == ["value_loss", "actor_loss"]
    assert not changed(before, model.value, model.actor)
