"""ActorCritic: equal to Stable-Baselines3's SAC to the bit, its hooks, and its switches."""

from __future__ import annotations

import math

import gymnasium
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.actor_critic import ActorCritic
from agents.replay import Batch
from simenv.errors import ConfigurationError
from tests.agents.tiny import Bandit, Chain, regret, vector

SMALL = {"net_arch": [16, 16]}
WARM_UP = 20


def everything(model: SAC) -> dict[str, torch.Tensor]:
    """All that learning changes: parameters, targets, moments of the optimisers, log α."""
    found = dict(model.policy.state_dict())
    optimizers = {"actor": model.actor.optimizer, "critic": model.critic.optimizer}
    if model.ent_coef_optimizer is not None:
        found["log_ent_coef"] = model.log_ent_coef.detach()
        optimizers["ent_coef"] = model.ent_coef_optimizer
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            found.update({f"{name}.{index}.{key}": value for key, value in moments.items()})
    return found


@pytest.mark.parametrize(
    ("updates", "num_envs", "options"),
    [
        (500, 1, {}),
        (90, 1, {"gradient_steps": 3, "target_update_interval": 2}),
        (90, 1, {"ent_coef": 0.1, "gamma": 0.9}),
        (90, 1, {"n_steps": 3, "buffer_size": 150}),
        (90, 4, {"gradient_steps": -1, "learning_rate": lambda left: 1e-3 * left}),
    ],
    ids=["defaults", "several updates", "fixed temperature", "three steps", "four environments"],
)
def test_equal_to_stable_baselines3(updates, num_envs, options):
    """After learning on Pendulum, every number is that of Stable-Baselines3's SAC."""
    per_step = {1: 1, 3: 3, -1: num_envs}[options.get("gradient_steps", 1)]
    # The first episodes, of 200 steps, end while it learns.
    before = 20 if updates > 200 else 180
    found = []
    for kind in (SAC, ActorCritic):
        model = kind(
            "MlpPolicy",
            DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")] * num_envs),
            seed=7,
            batch_size=8,
            learning_starts=num_envs * before,
            policy_kwargs={"net_arch": [8]},
            device="cpu",
            **options,
        )
        model.learn(num_envs * (before + math.ceil(updates / per_step)))
        assert model._n_updates >= updates
        found.append(everything(model))
    expected, ours = found
    assert list(ours) == list(expected)
    different = [name for name in expected if not torch.equal(ours[name], expected[name])]
    assert different == []


def small(env="Pendulum-v1", **options) -> ActorCritic:
    """Small networks, after a warm-up that fills the replay buffer."""
    model = ActorCritic(
        "MlpPolicy",
        env,
        batch_size=16,
        learning_starts=WARM_UP,
        policy_kwargs=SMALL,
        seed=0,
        **options,
    )
    return model.learn(WARM_UP)


HOOKS = (
    "sample",
    "propose",
    "update_temperature",
    "critic_loss",
    "update_costs",
    "actor_loss",
    "update_duals",
    "update_targets",
)


class Recorded(ActorCritic):
    """Notes which hook is called when; calls from within another hook do not count."""

    def __init__(self, *args, **options) -> None:
        self.calls, self.depth = [], 0
        super().__init__(*args, **options)


def recorded(name: str):
    """A hook that notes its call."""

    def hook(self, *args):
        if self.depth == 0:
            self.calls.append(name)
        self.depth += 1
        try:
            return getattr(ActorCritic, name)(self, *args)
        finally:
            self.depth -= 1

    return hook


for _name in HOOKS:
    setattr(Recorded, _name, recorded(_name))


def test_hooks_are_called_in_the_documented_order():
    """Each update calls every hook once, in the order that the class describes."""
    model = Recorded(
        "MlpPolicy", "Pendulum-v1", batch_size=4, learning_starts=10, policy_kwargs=SMALL
    )
    model.learn(10)
    assert model.calls == []
    model.train(2, 4)
    assert model.calls == list(HOOKS) * 2
    text = " ".join((ActorCritic.__doc__ or "").split())
    places = [text.index(f"`{name}`") for name in HOOKS]
    assert places == sorted(places)


def test_policy_delay_and_target_interval():
    """Actor and multipliers move at every third update over all steps, targets at every second."""
    model = Recorded(
        "MlpPolicy",
        "Pendulum-v1",
        batch_size=4,
        learning_starts=10,
        policy_kwargs=SMALL,
        policy_delay=3,
        target_update_interval=2,
    )
    model.learn(10)
    for steps in (3, 2, 3):
        model.train(steps, 4)
    updates = " ".join(model.calls).split("sample")[1:]
    third = [index % 3 == 0 for index in range(8)]
    assert [("actor_loss" in u) for u in updates] == third
    assert [("update_duals" in u) for u in updates] == third
    # The interval counts within the updates of one vector step, as Stable-Baselines3's does.
    first, second = [True, False, True], [True, False]
    assert [("update_targets" in u) for u in updates] == first + second + first
    assert all("update_temperature critic_loss update_costs" in u for u in updates)


def test_temperature_has_its_own_step_size():
    """`temperature_learning_rate` stays while the networks' step size follows its schedule."""
    model = small(learning_rate=lambda left: 1e-3 * left, temperature_learning_rate=5e-2)
    assert model.ent_coef_optimizer is not None
    model._update_current_progress_remaining(1, 2)
    before = model.log_ent_coef.item()
    model.train(1, 16)
    assert model.actor.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)
    # Adam's first step is its step size.
    assert abs(model.log_ent_coef.item() - before) == pytest.approx(5e-2, rel=1e-4)


def test_step_size_falls_linearly():
    """Half-way through the training it is the mean of the first and the final one."""
    model = small(learning_rate=1e-3, final_learning_rate=2e-4)
    for done, expected in ((0, 1e-3), (1, 6e-4), (2, 2e-4)):
        model._update_current_progress_remaining(done, 2)
        model.train(1, 16)
        assert model.actor.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


@pytest.mark.parametrize("first", [lambda left: left, 1e-3])
def test_a_final_step_size_needs_a_first_one(first):
    """A schedule has its own end, and a step size of 0 or NaN learns nothing."""
    last = 1e-4 if callable(first) else float("nan")
    with pytest.raises(ConfigurationError, match="learning_rate"):
        small(learning_rate=first, final_learning_rate=last)


def test_log_prob_is_that_of_the_squashed_gaussian(monkeypatch):
    """log π(a|s) = log N(atanh a) + log|d atanh a / da|, the slope by central differences."""
    model = small()
    mean, log_std = torch.tensor([[0.3, -1.2]]).double(), torch.tensor([[-0.5, 0.4]]).double()
    actions = torch.tensor([[0.9, -0.2], [-0.95, 0.999], [0.0, 0.5]]).double()
    rows = len(actions)
    monkeypatch.setattr(
        model.actor,
        "get_action_dist_params",
        lambda _: (mean.expand(rows, 2), log_std.expand(rows, 2), {}),
    )
    step = 1e-6
    slope = (torch.atanh(actions + step) - torch.atanh(actions - step)) / (2 * step)
    gauss = torch.distributions.Normal(mean, log_std.exp()).log_prob(torch.atanh(actions))
    expected = (gauss + slope.log()).sum(dim=1, keepdim=True)
    # Stable-Baselines3 adds 1e-6 to 1 − a², which is 2e-3 at a = 0.999: log(1 + 5e-4).
    assert torch.allclose(model.log_prob(None, actions), expected, rtol=0, atol=6e-4)
    assert torch.allclose(model.log_prob(None, actions)[2], expected[2], rtol=0, atol=3e-6)


def test_log_prob_agrees_with_what_the_actor_draws():
    """Drawn actions have the density that the actor reports with them, even in the bounds."""
    model = small()
    seen = model.sample(16).observations
    actions, expected = model.actor.action_log_prob(seen)
    # Float32: atanh of an action of 0.9 loses a digit.
    assert torch.allclose(model.log_prob(seen, actions)[:, 0], expected, atol=1e-3)
    bounds = torch.ones(16, 1)
    assert torch.isfinite(model.log_prob(seen, bounds)).all()
    assert torch.isfinite(model.log_prob(seen, -bounds)).all()


def test_munchausen_bonus_is_clipped(monkeypatch):
    """r + α_m clip(0.03 log π, −1, 0): nothing above density one, never less than −α_m."""
    model = small(munchausen=0.9)
    log_prob = torch.tensor([[5.0], [0.0], [-10.0], [-100.0]])
    monkeypatch.setattr(model, "log_prob", lambda *_: log_prob)
    empty = torch.zeros(4, 1)
    batch = Batch(empty, empty, empty, empty, rewards=torch.full((4, 1), 2.0))
    assert model.rewards(batch)[:, 0].tolist() == pytest.approx([2.0, 2.0, 1.73, 1.1])
    model.munchausen = 0.0
    assert torch.equal(model.rewards(batch), batch.rewards)


def test_target_by_hand(monkeypatch):
    """y = r + bonus + γ (1 − terminated) (min Q̄ − α log π') with numbers put in."""
    model = small(munchausen=0.5, gamma=0.9)
    values = torch.tensor([[4.0], [4.0]]), torch.tensor([[3.0], [5.0]])
    monkeypatch.setattr(model.critic_target, "forward", lambda *_: values)
    monkeypatch.setattr(
        model.actor, "action_log_prob", lambda _: (torch.zeros(2, 1), torch.tensor([2.0, -1.0]))
    )
    monkeypatch.setattr(model, "log_prob", lambda *_: torch.tensor([[-20.0], [-50.0]]))
    dones, rewards = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]])
    batch = Batch(torch.zeros(2, 3), torch.zeros(2, 1), torch.zeros(2, 3), dones, rewards)
    found = model.target(batch, torch.tensor(0.25))
    # 1 + 0.5 · (−0.6) + 0.9 · (3 − 0.25 · 2), and 1 + 0.5 · (−1).
    assert found[:, 0].tolist() == pytest.approx([0.7 + 0.9 * 2.5, 0.5])
    several = batch._replace(discounts=torch.tensor([[0.5], [0.5]]))
    assert model.target(several, torch.tensor(0.25))[0].item() == pytest.approx(0.7 + 0.5 * 2.5)


def test_options_that_do_not_fit():
    """Errors name value and remedy."""
    for options, found in (
        ({"munchausen": 0.9, "n_steps": 3}, "set n_steps = 1, not 3"),
        ({"n_steps": 0}, "n_steps = 0 must be at least 1"),
        ({"policy_delay": 0}, "policy_delay = 0 must be at least 1"),
    ):
        with pytest.raises(ConfigurationError, match=found):
            ActorCritic("MlpPolicy", "Pendulum-v1", **options)


@pytest.mark.parametrize(("truncated", "values"), [(True, (2.0, 2.0)), (False, (1.5, 1.0))])
def test_truncation_bootstraps_and_termination_does_not(truncated, values):
    """Two rewards of one at γ = ½: worth 1.5 where the end is real, 2 where it is a time limit."""
    model = ActorCritic(
        "MlpPolicy",
        vector(Chain, 2, truncated=truncated),
        gamma=0.5,
        ent_coef=0.0,
        learning_rate=1e-2,
        tau=0.1,
        batch_size=32,
        learning_starts=50,
        seed=0,
        policy_kwargs={"net_arch": [16]},
    )
    model.learn(2 * 300)
    actions, _ = model.actor.action_log_prob(torch.tensor([[0.0], [1.0]]))
    found = model.critic(torch.tensor([[0.0], [1.0]]), actions)[0]
    # The values lie at least 0.5 apart; fitting them to a tenth of that tells them apart.
    assert found[:, 0].tolist() == pytest.approx(values, abs=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"policy_kwargs": {"layer_norm": True}},
        {"policy_kwargs": {"simba": True}},
        {"policy_kwargs": {"normalize": True}, "env": {"scale": 30.0, "offset": 500.0}},
        {"n_steps": 3, "env": {"length": 4}},
        {"munchausen": 0.9},
        {"policy_delay": 2},
    ],
    ids=["layer_norm", "simba", "normalize", "n_steps", "munchausen", "policy_delay"],
)
def test_every_switch_learns(options):
    """The best action follows what is shown; doing nothing would cost 0.22."""
    options = dict(options)
    shape = options.pop("env", {})
    kwargs = {"net_arch": [32], **options.pop("policy_kwargs", {})}
    model = ActorCritic(
        "MlpPolicy",
        vector(Bandit, **shape),
        learning_rate=1e-2,
        batch_size=64,
        learning_starts=80,
        gamma=0.9,
        seed=0,
        policy_kwargs=kwargs,
        **options,
    )
    model.learn(8 * 200)
    # A tenth of what doing nothing costs.
    assert regret(model, Bandit(**shape)) < 0.022
