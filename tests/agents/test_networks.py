"""Switches of the policies: what they change, and that nothing changes without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.sac import policies as sb3
from torch import nn

from agents.actor_critic import ActorCritic
from agents.networks import (
    ActorCriticPolicy,
    MultiInputPolicy,
    ResidualBlock,
    RunningNorm,
    simba,
)
from simenv.errors import ConfigurationError
from tests.agents.tiny import Bandit, vector

BOX = spaces.Box(-np.inf, np.inf, (3,), np.float32)
DICT = spaces.Dict({"goal": BOX, "position": spaces.Box(-1, 1, (2,), np.float32)})
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
ACTION = spaces.Box(-1, 1, (2,), np.float32)


def policy(space: spaces.Space = BOX, **switches) -> ActorCriticPolicy:
    """A policy of small networks."""
    torch.manual_seed(0)
    switches.setdefault("net_arch", [16, 16])
    return ActorCriticPolicy(space, ACTION, lambda _: 1e-3, **switches)


def test_without_switches_the_policy_is_stable_baselines3s():
    """Names, order, values and random draws are the same, for vectors and dictionaries."""
    for theirs, ours, space in (
        (sb3.SACPolicy, ActorCriticPolicy, BOX),
        (sb3.MultiInputPolicy, MultiInputPolicy, DICT),
    ):
        found = []
        for kind in (theirs, ours):
            torch.manual_seed(5)
            made = kind(space, ACTION, lambda _: 1e-3)
            found.append((made.state_dict(), torch.get_rng_state(), type(made.actor.optimizer)))
        (expected, state, optimizer), (weights, after, same) = found
        assert list(weights) == list(expected)
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        assert torch.equal(state, after)
        assert same is optimizer


def test_layer_norm():
    """Each hidden layer of critics and targets is normalised: the scale before it is forgotten."""
    made = policy(layer_norm=True)
    for critic in (made.critic, made.critic_target):
        for network in critic.q_networks:
            kinds = [type(layer) for layer in network]
            assert kinds == [*[nn.Linear, nn.LayerNorm, nn.ReLU] * 2, nn.Linear]
    assert not any(isinstance(module, nn.LayerNorm) for module in made.actor.modules())
    seen, actions = torch.randn(5, 3), torch.randn(5, 2)
    before = made.critic(seen, actions)[0]
    with torch.no_grad():
        made.critic.qf0[0].weight *= 100
        made.critic.qf0[0].bias *= 100
    # What is left of the scale is ε = 1e-5 beside a variance of about 0.1: 1e-4, halved by √.
    assert torch.allclose(made.critic(seen, actions)[0], before, rtol=1e-3, atol=1e-4)


def test_critics_of_a_switch_are_trained():
    """The optimiser holds the new networks, and the target critics start as copies."""
    for switch in ("layer_norm", "simba"):
        made = policy(**{switch: True})
        held = {id(p) for group in made.critic.optimizer.param_groups for p in group["params"]}
        assert held == {id(p) for p in made.critic.parameters()}
        assert made.critic.q_networks == [made.critic.qf0, made.critic.qf1]
        copies = made.critic_target.state_dict()
        assert all(torch.equal(v, copies[k]) for k, v in made.critic.state_dict().items())


def test_residual_block():
    """x + W₂ ReLU(W₁ LayerNorm(x)), four times as wide inside."""
    torch.manual_seed(1)
    block = ResidualBlock(8)
    norm, first, _, second = block.branch
    assert (first.out_features, second.in_features) == (32, 32)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.normal_()
    x = torch.randn(6, 8, dtype=torch.float64)
    block.double()
    spread = torch.sqrt(x.var(dim=1, unbiased=False, keepdim=True) + 1e-5)
    scaled = (x - x.mean(dim=1, keepdim=True)) / spread * norm.weight + norm.bias
    hidden = (scaled @ first.weight.T + first.bias).clamp(min=0)
    expected = x + hidden @ second.weight.T + second.bias
    # Float64: a few dozen roundings of 1e-16.
    assert torch.allclose(block(x), expected, rtol=0, atol=1e-13)


def test_simba():
    """One block for each width, a norm at the end; default widths and AdamW are SimBa's."""
    made = policy(simba=True, net_arch=None)
    for trunk, width, blocks in ((made.actor.latent_pi, 128, 1), (made.critic.qf1[0], 512, 2)):
        kinds = [type(layer) for layer in trunk]
        assert kinds == [nn.Linear, *[ResidualBlock] * blocks, nn.LayerNorm]
        assert trunk[-1].normalized_shape == (width,)
    for optimizer in (made.actor.optimizer, made.critic.optimizer):
        assert type(optimizer) is torch.optim.AdamW
        assert optimizer.param_groups[0]["weight_decay"] == 1e-2
    assert isinstance(made.norm, RunningNorm)
    assert made.actor(torch.randn(4, 3)).shape == (4, 2)


def test_optimizer_of_simba_can_be_chosen():
    """A named optimiser or weight decay stands."""
    chosen = policy(simba=True, optimizer_class=torch.optim.Adam)
    assert type(chosen.critic.optimizer) is torch.optim.Adam
    decayed = policy(simba=True, optimizer_kwargs={"weight_decay": 0.5})
    assert decayed.actor.optimizer.param_groups[0]["weight_decay"] == 0.5


def test_switches_that_do_not_fit():
    """Errors name the switch and what to do."""
    with pytest.raises(ConfigurationError, match="layer_norm at False"):
        policy(simba=True, layer_norm=True)
    for widths in ([16, 32], []):
        with pytest.raises(ConfigurationError, match="repeat one width"):
            simba(3, widths)
    with pytest.raises(ConfigurationError, match="NatureCNN learns its features"):
        policy(IMAGE, normalize=True, features_extractor_class=NatureCNN)


def test_running_norm():
    """Mean and variance are those of everything seen, in batches of any size; outliers are cut."""
    rng = np.random.default_rng(0)
    seen = rng.normal([3.0, -50.0], [0.1, 20.0], (1000, 2)).astype(np.float32)
    norm, start = RunningNorm(2), 0
    for stop in (1, 2, 10, 11, 500, 1000):
        norm.update(torch.as_tensor(seen[start:stop]))
        start = stop
    assert int(norm.count) == 1000
    # Float32: roundings of 6e-8 relative to mean² + variance, which is 900 times the variance.
    assert np.allclose(norm.mean, seen.mean(axis=0, dtype=np.float64), rtol=1e-6)
    assert np.allclose(norm.var, seen.var(axis=0, dtype=np.float64), rtol=1e-4)
    scaled = norm(torch.as_tensor(seen)).numpy()
    assert np.allclose(scaled.mean(axis=0), 0.0, atol=1e-4)
    assert np.allclose(scaled.std(axis=0), 1.0, atol=1e-4)
    assert norm(torch.tensor([[1e4, -1e4]])).tolist() == [[10.0, -10.0]]


def test_every_network_sees_the_same_normalised_observation():
    """Actor, critics and targets share one set of statistics, which a state dict holds once."""
    for space in (BOX, DICT):
        made = policy(space, normalize=True)
        names = [name for name in made.state_dict() if name.endswith(("mean", "var", "count"))]
        assert names == ["norm.mean", "norm.var", "norm.count"]
        assert made.norm.clip == 10.0
        rows = [space.sample() for _ in range(50)]
        seen = {k: np.stack([r[k] for r in rows]) for k in space} if space is DICT else rows
        made.observe(seen if space is DICT else np.stack(rows))
        tensors, _ = made.obs_to_tensor(seen if space is DICT else np.stack(rows))
        parts = list(tensors.values()) if space is DICT else [tensors]
        plain = torch.cat(parts, dim=1).float()
        expected = (plain - plain.mean(dim=0)) / plain.std(dim=0, unbiased=False)
        for net in (made.actor, made.critic, made.critic_target):
            found = net.extract_features(tensors, net.features_extractor)
            # Float32 roundings of values of a few units.
            assert torch.allclose(found, expected, atol=1e-4)


def test_statistics_count_every_collected_observation_once():
    """Learning updates them by what was collected, not by what was sampled from replay."""
    model = ActorCritic(
        "MlpPolicy",
        vector(Bandit, 2, offset=5.0, length=3),
        learning_starts=10,
        batch_size=8,
        seed=0,
        policy_kwargs={"net_arch": [8], "normalize": True},
    )
    model.learn(60)
    assert model.replay_buffer is not None
    seen = model.replay_buffer.store["observations"][:30].reshape(60, 1)
    assert int(model.policy.norm.count) == 60
    # Float32: 60 roundings of 6e-8.
    assert torch.allclose(model.policy.norm.mean, seen.mean(dim=0), rtol=1e-5)
    assert torch.allclose(model.policy.norm.var, seen.var(dim=0, unbiased=False), rtol=1e-4)


def test_tensors_are_observed_where_they_are(monkeypatch):
    """Tensors give the statistics that arrays give, and are not taken to the host and back."""
    seen = np.random.default_rng(0).normal(4.0, 2.0, (20, 3)).astype(np.float32)
    arrays, tensors = policy(normalize=True), policy(normalize=True)
    arrays.observe(seen)
    monkeypatch.setattr(tensors, "obs_to_tensor", None)
    tensors.observe(torch.as_tensor(seen))
    assert torch.equal(arrays.norm.mean, tensors.norm.mean)
    assert torch.equal(arrays.norm.var, tensors.norm.var)
    assert tensors.norm.mean.all()


def test_observing_without_normalisation_changes_nothing():
    """`observe` may always be called."""
    made = policy()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.observe(np.ones((4, 3), np.float32))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


@pytest.mark.parametrize("switch", ["layer_norm", "simba", "normalize"])
def test_a_policy_survives_its_state_dict_and_its_file(switch, tmp_path):
    """Weights and statistics come back, into a policy of the same switches."""
    made = policy(**{switch: True})
    made.observe(np.random.default_rng(0).normal(4.0, 2.0, (20, 3)).astype(np.float32))
    torch.manual_seed(9)
    fresh = ActorCriticPolicy(BOX, ACTION, lambda _: 1e-3, net_arch=[16, 16], **{switch: True})
    fresh.load_state_dict(made.state_dict())
    made.save(str(tmp_path / "policy.pt"))
    loaded = ActorCriticPolicy.load(str(tmp_path / "policy.pt"))
    seen, actions = torch.full((2, 3), 3.5), torch.zeros(2, 2)
    for other in (fresh, loaded):
        assert torch.equal(other(seen, deterministic=True), made(seen, deterministic=True))
        assert torch.equal(other.critic_target(seen, actions)[1], made.critic(seen, actions)[1])
