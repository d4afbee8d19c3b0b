"""In which order an update steps its optimisers, and when a model is rolled out between updates."""

from __future__ import annotations

from typing import Any

import pytest
from torch.optim import Optimizer

from agents.offline import iql, sac
from agents.offline.cocoa import COCOA
from agents.offline.cql import CQL
from agents.offline.iql import IQL
from agents.offline.mobile import MOBILE
from agents.offline.mopo import MOPO
from agents.offline.sac import OfflineSAC
from tests.agents.offline import models
from tests.agents.offline.sets import bandit
from tests.agents.offline.test_losses import changed, weights

PLAIN: dict[str, Any] = {"net_arch": (8,), "batch_size": 16, "seed": 1}
MODEL = models.TINY | {"model_max_epochs": 1, "rollout_every": 3, "rollout_batch": 10}

ACTOR_FIRST = ["actor", "temperature", "critic", "targets"]
CRITIC_FIRST = ["critic", "actor", "temperature", "targets"]
IMPLICIT = ["value", "critic", "actor", "targets"]


def recorded(model: Any, patch: pytest.MonkeyPatch) -> list[str]:
    """A list that takes down every step of an optimiser, by its name, and every one of targets."""
    steps: list[str] = []

    def note(owner: Any, name: str, word: str) -> None:
        real = getattr(owner, name)
        patch.setattr(owner, name, lambda *x, **o: steps.append(word) or real(*x, **o))

    for name, value in vars(model).items():
        if isinstance(value, Optimizer):
            note(value, "step", name.removesuffix("_optimizer"))
    for module in (iql, sac):
        note(module, "polyak_update", "targets")
    for name, word in (("fit_model", "fit"), ("roll_out", "rollouts")):
        if hasattr(model, name):
            note(model, name, word)
    return steps


@pytest.mark.parametrize(
    ("agent", "more", "order"),
    [
        (IQL, {}, IMPLICIT),
        (OfflineSAC, {}, CRITIC_FIRST),
        (CQL, {"num_samples": 2}, ACTOR_FIRST),
        (
            CQL,
            {"num_samples": 2, "lagrange_threshold": 1.0},
            [*ACTOR_FIRST[:3], "multiplier", "targets"],
        ),
        (COCOA, {"base": "iql", "anchor_steps": 0}, IMPLICIT),
        (COCOA, {"base": "cql", "anchor_steps": 0, "num_samples": 2}, ACTOR_FIRST),
    ],
    ids=["iql", "sac", "cql", "cql-lagrange", "cocoa-iql", "cocoa-cql"],
)
def test_an_update(agent, more, order, monkeypatch):
    """The same in every update; the order of CQL's paper is not that of MOPO's and MOBILE's."""
    model = agent(bandit(40), **PLAIN | more)
    steps = recorded(model, monkeypatch)
    model.learn(2)
    assert steps == order * 2


@pytest.mark.parametrize(
    ("agent", "more"),
    [(MOPO, {}), (MOBILE, {"penalty_samples": 2}), (COCOA, {"base": "mopo", "anchor_steps": 0})],
    ids=["mopo", "mobile", "cocoa-mopo"],
)
def test_rollouts_between_updates(agent, more, monkeypatch):
    """Before the first update, and then before every third; they ask for the fit themselves."""
    if agent is COCOA:
        more = more | {"transduction_arch": (8,), "rank": 2}
    model = agent(bandit(40), **MODEL | more)
    steps = recorded(model, monkeypatch)
    model.learn(7)
    rollouts = ["fit", "rollouts"]
    assert steps == 2 * (rollouts + 3 * CRITIC_FIRST) + rollouts + CRITIC_FIRST


def test_the_weights_of_iqls_actor(monkeypatch):
    """They are those of V after its step, and of the target critics before theirs."""
    model, found = IQL(bandit(40), **PLAIN), []
    value, target, real = weights(model.value), weights(model.critic_target), model.actor_loss

    def loss(batch):
        found.append((changed(value, model.value), changed(target, model.critic_target)))
        return real(batch)

    monkeypatch.setattr(model, "actor_loss", loss)
    model.learn(1)
    assert found == [(True, False)]
    assert changed(target, model.critic_target)
