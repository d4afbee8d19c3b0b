"""Losses of BC, TD3+BC and IQL against values computed by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from agents.offline.bc import BC
from agents.offline.cql import CQL
from agents.offline.iql import IQL, expectile_loss
from agents.offline.td3bc import TD3BC
from tests.agents.offline.sets import BATCH, bandit

TINY = {"net_arch": (4,), "batch_size": 2, "seed": 0, "gamma": 0.5}


class Known(nn.Module):
    """Two values, or as many as there are functions, of states or of states and actions."""

    def __init__(self, *functions) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, *inputs):
        return torch.cat([function(*inputs) for function in self.functions], dim=-1)

    def smallest(self, *inputs):
        return self(*inputs).min(dim=-1, keepdim=True).values


def weights(*modules: nn.Module) -> list[torch.Tensor]:
    """Copies of all parameters."""
    return [p.detach().clone() for module in modules for p in module.parameters()]


def changed(before: list[torch.Tensor], *modules: nn.Module) -> bool:
    """Whether any parameter is another."""
    return any(not torch.equal(b, p) for b, p in zip(before, weights(*modules), strict=True))


# ------------------------------------------------------------------ BC


def test_bc_loss():
    """Half a state as the action, squared distances 0 and 1.5²: mean 1.125."""
    model = BC(bandit(10), net_arch=(4,), batch_size=2, seed=0)
    model.actor = Known(lambda s: 0.5 * s)
    assert model.actor_loss(BATCH).item() == pytest.approx(1.125)


# ------------------------------------------------------------------ TD3+BC


def td3bc(**options) -> TD3BC:
    """With networks whose values are known."""
    model = TD3BC(bandit(10), **TINY, **options)
    model.critic = Known(lambda s, a: s + a, lambda s, a: 2 * s)
    model.critic_target = Known(lambda s, a: s + a, lambda s, a: 10 * s)
    model.actor = model.actor_target = Known(lambda s: 0.25 * s)
    return model


def test_td3bc_target():
    """r + γ (1 − d) min Q̄(s', π̄(s')): 1 + ½ (2 + ½), and the end has its reward alone."""
    assert td3bc(policy_noise=0.0).target(BATCH)[:, 0].tolist() == [2.25, 3.0]


def test_td3bc_target_noise_is_clipped():
    """Noise of deviation 10 moves the target action by the clip, and not beyond the bounds."""
    torch.manual_seed(0)
    batch = BATCH._replace(terminated=torch.zeros(2, 1), next_observations=torch.zeros(2, 1))
    model = td3bc(policy_noise=10.0, noise_clip=0.5)
    model.critic_target = Known(lambda s, a: a, lambda s, a: a + 1)
    moved = torch.cat([(model.target(batch) - batch.rewards) / 0.5 for _ in range(20)])
    assert {moved.min().item(), moved.max().item()} == {-0.5, 0.5}
    model.actor_target = Known(lambda s: s + 0.9)
    assert max((model.target(batch) - batch.rewards).max() / 0.5 for _ in range(20)) == 1.0


def test_td3bc_critic_loss():
    """Both critics against [2.25, 3]: errors −.75, −1.5 and −.25, 1; the sum of two means."""
    loss = td3bc(policy_noise=0.0).critic_loss(BATCH)
    expected = (0.75**2 + 1.5**2) / 2 + (0.25**2 + 1.0**2) / 2
    assert loss.item() == pytest.approx(expected)


def test_td3bc_actor_loss():
    """Actions ¼, ½ and Q₁ = 1¼, 2½: λ = 2.5 / 1.875, so the value's part is −2.5 exactly."""
    found = td3bc().actor_loss(BATCH).item()
    assert found == pytest.approx((0.25**2 + 1.0**2) / 2 - 2.5)


def test_td3bc_normalisation_has_no_gradient():
    """λ is a constant: the slope by the action is −λ ∂Q/∂a + 2 (π − a)."""
    model, action = td3bc(), torch.tensor([[0.25], [0.5]], requires_grad=True)
    model.actor = Known(lambda s: action)
    model.actor_loss(BATCH).backward()
    slope = 2.5 / 1.875
    expected = (2 * (action.detach() - BATCH.actions) - slope) / 2
    torch.testing.assert_close(action.grad, expected)


def test_td3bc_delays_actor_and_targets():
    """At every second update, counted from one."""
    model = TD3BC(bandit(10), **TINY)
    parts = (model.actor, model.actor_target, model.critic_target)
    moved = []
    for _ in range(4):
        before, critic = weights(*parts), weights(model.critic)
        model.update(model.sample())
        model.num_timesteps += 1
        moved.append(changed(before, *parts))
        assert changed(critic, model.critic)
    assert moved == [False, True, False, True]


def test_targets_follow_by_tau():
    """θ̄ ← θ̄ + τ (θ − θ̄)."""
    for model in (
        TD3BC(bandit(10), **TINY, tau=0.25, policy_delay=1),
        IQL(bandit(10), **TINY, tau=0.25),
        CQL(bandit(10), **TINY, tau=0.25, num_samples=2),
    ):
        old = weights(model.critic_target)
        model.update(model.sample())
        for now, before, source in zip(
            weights(model.critic_target), old, weights(model.critic), strict=True
        ):
            torch.testing.assert_close(now, 0.75 * before + 0.25 * source)


# ------------------------------------------------------------------ IQL


def iql(**options) -> IQL:
    """With networks whose values are known."""
    model = IQL(bandit(10), **TINY, **options)
    model.critic = Known(lambda s, a: s + a, lambda s, a: 2 * s)
    model.critic_target = Known(lambda s, a: s + a, lambda s, a: s - a)
    model.value = Known(lambda s: s)
    return model


def test_expectile_loss():
    """ξ u² above zero and (1 − ξ) u² below; ξ = ½ is half the mean square."""
    u = torch.tensor([[2.0], [-1.0]])
    assert expectile_loss(u, 0.7).item() == pytest.approx((0.7 * 4 + 0.3 * 1) / 2)
    assert expectile_loss(u, 0.5).item() == pytest.approx(0.5 * 2.5)


def test_the_minimiser_is_the_expectile():
    """Of −1 and 1 at ξ = .9 it is .8: .9 (1 − v) = .1 (1 + v)."""
    v = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([v], 0.5)
    for _ in range(200):
        optimizer.zero_grad()
        expectile_loss(torch.tensor([-1.0, 1.0]) - v, 0.9).backward()
        optimizer.step()
    assert v.item() == pytest.approx(0.8, abs=1e-4)


def test_iql_value_loss():
    """u = min(s + a, s − a) − s = −½ twice: .3 · ¼."""
    assert iql().value_loss(BATCH).item() == pytest.approx(0.3 * 0.25)


def test_iql_critic_loss():
    """Targets 1 + ½ · 2 and 3: errors ½, 1½ and 0, 1."""
    expected = (0.5**2 + 1.5**2) / 2 + (0.0 + 1.0) / 2
    assert iql().critic_loss(BATCH).item() == pytest.approx(expected)


@pytest.mark.parametrize(("beta", "weight"), [(3.0, math.exp(-1.5)), (-20.0, 100.0)])
def test_iql_actor_loss(beta, weight):
    """Advantage −½ twice, log π = a: −mean(w a) with w clipped at 100."""
    model = iql()
    model.beta = beta
    model.actor = SimpleNamespace(log_prob=lambda s, a: a + 1)
    assert model.actor_loss(BATCH).item() == pytest.approx(-weight)


def test_iql_gradients_stay_with_their_networks():
    """Each loss has gradients in its own network alone."""
    model = IQL(bandit(10), **TINY)
    networks = {"value": model.value, "critic": model.critic, "actor": model.actor}
    for name in networks:
        for network in (*networks.values(), model.critic_target):
            network.zero_grad()
        getattr(model, f"{name}_loss")(model.sample()).backward()
        touched = {
            key
            for key, network in {**networks, "target": model.critic_target}.items()
            if any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
        }
        assert touched == {name}


def test_iqls_actor_steps_fall_along_a_cosine():
    """η at first, η / 2 half-way, none at the end; the others keep theirs."""
    model = IQL(bandit(10), **TINY, learning_rate=0.1)
    rates = []
    for progress in (0.0, 0.5, 1.0):
        model.schedule(progress)
        rates.append(model.actor_optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.05, 0.0])
    assert model.critic_optimizer.param_groups[0]["lr"] == 0.1
    constant = IQL(bandit(10), **TINY, cosine=False).learn(3)
    assert constant.actor_optimizer.param_groups[0]["lr"] == 3e-4
    assert IQL(bandit(10), **TINY).learn(4).actor_optimizer.param_groups[0]["lr"] < 3e-4
