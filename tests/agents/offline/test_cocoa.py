"""COCOA: its input layer, anchors, the bases below it, saving and going on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents.offline.anchors import (
    closeness,
    visited,
)
from agents.offline.cocoa import COCOA, Transduction
from agents.offline.cql import CQL
from agents.offline.data import Transitions
from agents.offline.iql import IQL
from agents.offline.mobile import MOBILE
from agents.offline.mopo import MOPO
from simenv.errors import CheckpointError, ConfigurationError
from tests.agents.offline.models import ROLLOUTS, assert_resumes
from tests.agents.offline.sets import bandit, read_pendulum, regret

BASES = {"cql": CQL, "iql": IQL, "mopo": MOPO, "mobile": MOBILE}
PLAIN = {"net_arch": (8,), "batch_size": 16, "seed": 1}
TINY = PLAIN | {
    "transduction_arch": (8,),
    "rank": 2,
    "model_members": 3,
    "model_elites": 2,
    "model_widths": (8,),
    "model_max_epochs": 1,
}


def options_of(base: str) -> dict[str, Any]:
    """What makes a base fast."""
    rolling = ROLLOUTS | {"real_ratio": 0.5}
    found = {"cql": {"num_samples": 2}, "mopo": rolling}
    return (found | {"mobile": rolling | {"penalty_samples": 2}}).get(base, {})


def cocoa(base: str, data: Any = None, **options: Any) -> COCOA:
    """A tiny one."""
    data = bandit(50) if data is None else data
    return COCOA(data, base=base, **TINY | options_of(base) | options)


def still(observations: torch.Tensor) -> torch.Tensor:
    """Actions of 0."""
    return torch.zeros(len(observations), 1)


# ------------------------------------------------------------------ the input layer


def test_the_transduction_is_bilinear():
    """φ_k = Σ_j f_kj(Δ, a) g_kj(s̃, a), with neighbours in the output belonging to one k."""
    layer = Transduction(2, 1, (4, 3), rank=2)
    joined = torch.randn(5, 7, 5)
    found = layer(joined)
    assert found.shape == (5, 7, 3)
    difference, anchor, action = joined[..., :2], joined[..., 2:4], joined[..., 4:]
    f = layer.f(torch.cat([difference, action], -1))
    g = layer.g(torch.cat([anchor, action], -1))
    for k in range(3):
        expected = f[..., 2 * k] * g[..., 2 * k] + f[..., 2 * k + 1] * g[..., 2 * k + 1]
        torch.testing.assert_close(found[..., k], expected)


@pytest.mark.parametrize("base", BASES)
def test_every_network_of_the_base_begins_with_one(base):
    """Actor and critics, and the value where there is one; targets as well."""
    model = cocoa(base)
    networks = [model.actor.network, *model.critic.members, *model.critic_target.members]
    networks += list(model.value.members) if base == "iql" else []
    for network in networks:
        assert isinstance(network[0], Transduction)
        assert network[1].in_features == network[0].width == 8
    assert model.actor.network[0].actions == 0
    assert model.critic.members[0][0].actions == 1
    assert isinstance(model, BASES[base])
    assert isinstance(model, COCOA)


def test_a_class_of_ones_own_keeps_its_methods(tmp_path):
    """Above COCOA and its base, made and loaded."""

    class Late(COCOA):
        def anchors(self, observations):
            return observations + 1

    model = Late(bandit(50), base="iql", **TINY)
    model.save(tmp_path / "model")
    for one in (model, Late.load(tmp_path / "model"), type(model).load(tmp_path / "model")):
        assert isinstance(one, Late)
        assert isinstance(one, IQL)
        assert one.encode(torch.zeros(1, 1)).tolist() == [[-1.0, 1.0]]


# ------------------------------------------------------------------ anchors


def test_what_the_networks_see():
    """Standardised s − s̃ beside s̃; together they are the state."""
    raw = bandit(100)
    data = Transitions.from_arrays(
        5 + 3 * raw.observations,
        raw.actions,
        raw.rewards[:, 0],
        5 + 3 * raw.next_observations,
        np.ones(100),
    )
    model = COCOA(data, base="iql", **TINY, normalize=True)
    model.anchors = lambda observations: observations - 2.0
    found = model.encode(data.observations)
    seen, anchor = model.normalizer(data.observations), model.normalizer(data.observations - 2.0)
    torch.testing.assert_close(found[:, 1:], anchor)
    torch.testing.assert_close(found.sum(dim=1, keepdim=True), seen)
    batch = model.prepare(data.at(torch.arange(100)))
    assert torch.equal(batch.observations, found)
    assert batch.next_observations.shape == (100, 2)


@pytest.mark.parametrize("base", BASES)
def test_anchors_are_found_once_per_batch(base, monkeypatch):
    """Those of s and of s', whatever number of networks and actions there are."""
    model, calls = cocoa(base), []
    found = COCOA.anchors
    batch = model.dataset.at(torch.arange(16))
    monkeypatch.setattr(COCOA, "anchors", lambda self, s: calls.append(len(s)) or found(self, s))
    model.update(model.prepare(batch))
    # MOBILE values two draws from each of two elites for the eight rows that are its model's.
    imagined = [8 * 2 * 2] if base == "mobile" else []
    assert calls == [16, 16, *imagined]


@pytest.mark.parametrize("base", BASES)
def test_gradients_reach_the_transduction_and_not_the_anchors(base):
    """Every f and g of actor and critics moves; models and π̃ do not."""
    model = cocoa(base)
    model.pretrain()
    frozen = (model.dynamics, model.reverse, model.seeker)
    before = [p.clone() for module in frozen for p in module.parameters()]
    fronts = [model.actor.network[0], *(member[0] for member in model.critic.members)]
    weights = [p for front in fronts for part in (front.f, front.g) for p in part.parameters()]
    old = [p.detach().clone() for p in weights]
    model.update(model.sample())
    assert not any(torch.equal(a, b) for a, b in zip(old, weights, strict=True))
    after = [p for module in frozen for p in module.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_pretraining_fits_everything_once(monkeypatch):
    """Before the first update, and not before a later one; h = 0 has nothing to fit."""
    calls, fit = [], COCOA.pretrain
    monkeypatch.setattr(COCOA, "pretrain", lambda self: calls.append(1) or fit(self))
    model = COCOA(bandit(60), base="iql", **TINY)
    model.learn(2)
    assert model.dynamics.fitted
    assert model.reverse.fitted
    assert model.seeker.fitted
    assert model.pretraining.keys() == {"round_trip", "seeker_loss"}
    model.learn(2)
    assert calls == [1]
    COCOA(bandit(60), base="iql", **TINY, anchor_steps=0).learn(2)
    assert calls == [1]


# ------------------------------------------------------------------ how near it is to the data


def test_closeness_by_hand(monkeypatch):
    """A grid of step 1: states half a step beyond it, anchors on it, differences ten steps off."""
    grid = torch.arange(21.0)[:, None]
    data = bandit(21)
    data.observations = grid
    model = COCOA(data, base="iql", **TINY)

    def encode(observations):
        inside = observations.clamp(0.0, 20.0).round()
        far = torch.where(observations == inside, observations, torch.full_like(inside, 30.0))
        return torch.cat([far, inside], dim=1)

    monkeypatch.setattr(model, "encode", encode)
    found = closeness(model, np.array([[20.5], [-0.5]]))
    assert found == pytest.approx({"state": 0.5, "anchor": 0.0, "difference": 10.0}, abs=1e-4)
    assert closeness(model, np.array([[3.0]]))["difference"] == pytest.approx(0.0, abs=1e-4)


def test_visited_states_are_those_of_whole_episodes(tmp_path, monkeypatch):
    """As raw observations, 200 per episode of Pendulum; their closeness is finite."""
    data = read_pendulum(tmp_path, monkeypatch)
    model = COCOA(data, "Pendulum-v1", base="iql", **TINY).learn(1)
    states = visited(model, episodes=2)
    assert states.shape[1] == 3
    assert len(states) >= 400
    torch.testing.assert_close(states[:, :2].norm(dim=1), torch.ones(len(states)))
    assert all(math.isfinite(value) for value in closeness(model, states, rows=100).values())


def test_closeness_without_anchors():
    """Every state is its own: all differences are 0, which is as near as data to data."""
    model = cocoa("iql", anchor_steps=0)
    found = closeness(model, np.array([[0.5], [-2.0]]))
    assert found["difference"] == 1.0
    assert found["anchor"] == found["state"]


def test_closeness_needs_a_dataset_and_visits_an_environment(tmp_path):
    """Each says what is missing."""
    cocoa("iql").save(tmp_path / "model")
    loaded = COCOA.load(tmp_path / "model")
    with pytest.raises(ConfigurationError, match="no dataset to be near to"):
        closeness(loaded, np.zeros((2, 1)))
    with pytest.raises(ConfigurationError, match="no environment to visit"):
        visited(loaded)


# ------------------------------------------------------------------ like the base


class Anchor(nn.Module):
    """Passes the anchor and the action on, as the base's networks see state and action."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.width = inputs

    def forward(self, joined):
        return joined[..., 1:]


@pytest.mark.parametrize("base", BASES)
def test_without_steps_and_layer_it_is_the_base(base, monkeypatch):
    """With h = 0 the anchor is the state: where the networks see it alone, bit by bit the base."""
    monkeypatch.setattr(COCOA, "front", lambda self, inputs: Anchor(inputs))
    options = PLAIN | options_of(base)
    if base in ("mopo", "mobile"):
        options |= {name: value for name, value in TINY.items() if name.startswith("model_")}
    plain = BASES[base](bandit(100), **options).learn(20)
    model = COCOA(bandit(100), base=base, anchor_steps=0, **options).learn(20)
    for mine, theirs in ((model.actor, plain.actor), (model.critic, plain.critic)):
        pairs = zip(mine.parameters(), theirs.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert model.losses == plain.losses


def test_without_steps_there_is_no_difference():
    """Δ is exactly 0, whatever the state."""
    model = COCOA(bandit(20), base="iql", **TINY, anchor_steps=0)
    states = torch.randn(9, 1)
    assert torch.equal(model.encode(states), torch.cat([torch.zeros(9, 1), states], dim=1))


FAST = {"actor_learning_rate": 3e-3, "initial_temperature": 0.05, "num_samples": 2}


@pytest.mark.parametrize(
    ("base", "anchor_steps", "options"),
    [
        ("iql", 0, {"beta": 10.0}),
        ("iql", 1, {"beta": 10.0}),
        ("cql", 1, {"conservative_weight": 0.1, **FAST}),
    ],
)
def test_it_solves_a_bandit_as_its_base_does(base, anchor_steps, options):
    """From uniform actions, to the bound of the base's own test.

    Zero has a regret of 0.21; 0.01 is an error of 0.1 where actions span 2.
    """
    model = COCOA(
        bandit(1_000),
        base=base,
        anchor_steps=anchor_steps,
        net_arch=(16,),
        transduction_arch=(16,),
        rank=4,
        model_widths=(8,),
        model_max_epochs=2,
        batch_size=64,
        learning_rate=3e-3,
        seed=0,
        **options,
    )
    assert regret(model.learn(400)) < 0.01


# ------------------------------------------------------------------ persistence


@pytest.mark.parametrize(("base", "at"), [("cql", 0), ("iql", 7), ("mopo", 9), ("mobile", 8)])
def test_resume_equals_the_uninterrupted_training(base, at, tmp_path):
    """Models, π̃, networks, moments, losses and what the model-based have rolled out agree."""
    data = bandit(100)

    def parts(model):
        return [model.rollouts.rows] if hasattr(model, "rollouts") else []

    assert_resumes(lambda: cocoa(base, data), tmp_path, at, parts, updates=13)


def test_resuming_fits_nothing_again(tmp_path, monkeypatch):
    """Models and π̃ come from the checkpoint, even from one of before the first update."""
    model = cocoa("iql").learn(0)
    model.save_checkpoint(tmp_path / "c")
    monkeypatch.setattr(COCOA, "pretrain", lambda self: pytest.fail("fitted again"))
    again = cocoa("iql")
    again.load_checkpoint(tmp_path / "c")
    assert again.learn(1).pretraining == model.pretraining


@pytest.mark.parametrize("base", BASES)
def test_what_is_saved_acts_the_same(base, tmp_path):
    """Loaded without dataset and without naming the base, which is known."""
    data = bandit(100)
    model = cocoa(base, data).learn(2)
    model.save(tmp_path / "model")
    loaded, grid = COCOA.load(tmp_path / "model"), np.linspace(-1, 1, 11)[:, None]
    assert isinstance(loaded, BASES[base])
    assert np.array_equal(loaded.predict(grid)[0], model.predict(grid)[0])
    assert loaded.pretraining == model.pretraining
    with pytest.raises(ConfigurationError, match="loaded without a dataset"):
        loaded.learn(1)
    with pytest.raises(CheckpointError, match="holds a COCOA"):
        BASES[base].load(tmp_path / "model")
    COCOA.load(tmp_path / "model", dataset=data).learn(2)
