"""Losses, gradients and observations that are not finite: kept out, counted and reported."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.actor_critic import ActorCritic
from agents.flac import FLAC
from agents.guard import PATIENCE, StepGuard, require_finite
from simenv.errors import TrainingError
from tests.agents.tiny import Bandit

WARM_UP = 12
TINY = {"batch_size": 8, "learning_starts": WARM_UP, "policy_kwargs": {"net_arch": [8]}, "seed": 0}


class Faulty(Bandit):
    """Gives NaN as a reward or an observation, from a step on."""

    def __init__(self, what: str, since: int) -> None:
        super().__init__(length=3)
        self.what, self.since, self.steps = what, since, 0

    def step(self, action):
        self.steps += 1
        seen, reward, *rest = super().step(action)
        if self.steps >= self.since and self.what != "reward":
            # The last observation of an episode is one that only the replay sees.
            seen = seen * np.nan if self.what == "observation" or rest[0] else seen
        bad = self.steps >= self.since and self.what == "reward"
        return seen, np.nan if bad else reward, *rest


def parameters(model: ActorCritic) -> torch.Tensor:
    """All weights, and log α."""
    mine = [p.detach().flatten() for p in model.policy.parameters()]
    return torch.cat([*mine, model.log_ent_coef.detach()])


def warmed_up() -> ActorCritic:
    """An agent with a few good transitions."""
    return ActorCritic("MlpPolicy", DummyVecEnv([Bandit]), **TINY).learn(WARM_UP)


# ------------------------------------------------------------------------------- steps


def test_one_bad_reward_harms_no_parameter():
    """A NaN in the replay skips the critics' step, tells of it once, and counts it."""
    model = warmed_up()
    good = model.sample(8)
    bad = good._replace(rewards=torch.full_like(good.rewards, torch.nan))
    critics = [p.clone() for p in model.critic.parameters()]
    with pytest.warns(RuntimeWarning, match=r"critic_loss.* at update 0; .*rewards"):
        model.update(bad, 0)
    assert all(map(torch.equal, critics, model.critic.parameters()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.update(bad, 1)
        model.update(good, 2)
    assert not all(map(torch.equal, critics, model.critic.parameters()))
    assert torch.isfinite(parameters(model)).all()
    assert model.guard.skipped == 2
    model._log_notes()
    assert model.logger.name_to_value["train/skipped"] == 2
    assert np.isfinite(model.logger.name_to_value["train/critic_loss"])


def test_actor_and_temperature_learn_on():
    """While the critics wait for sound rewards, the other optimisers take their steps."""
    model = warmed_up()
    good = model.sample(8)
    actor, alpha = [p.clone() for p in model.actor.parameters()], model.log_ent_coef.item()
    with pytest.warns(RuntimeWarning, match="critic_loss"):
        model.update(good._replace(rewards=good.rewards * torch.inf), 0)
    assert not all(map(torch.equal, actor, model.actor.parameters()))
    assert model.log_ent_coef.item() != alpha


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_bad_gradient_behind_a_finite_loss_is_seen(value):
    """The loss may be finite where its gradient is not."""
    weight = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    weight.grad = torch.tensor([1.0, value, 0.0])
    with pytest.warns(RuntimeWarning, match="my_loss .* at update 7"):
        assert not StepGuard().admits(optimizer, "my_loss", torch.zeros(()), 7)
    weight.grad = torch.ones(3)
    assert StepGuard().admits(optimizer, "my_loss", torch.zeros(()), 7)


def test_patience_ends():
    """As many bad steps of one loss in a row are an error; good ones of it start the count anew."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer, guard = torch.optim.SGD([weight], lr=1.0), StepGuard()
    good, bad = torch.zeros(()), torch.full((), torch.nan)

    def go(steps):
        for update, (name, loss) in enumerate(steps):
            guard.admits(optimizer, name, loss, update)

    almost = [("a", bad)] * (PATIENCE - 1)
    with pytest.warns(RuntimeWarning, match="a or its gradient"):
        go([*almost, ("a", good), *almost, ("b", good)])
    again = StepGuard()
    again.set_state(guard.get_state())
    with pytest.raises(TrainingError, match=f"a or its gradient .* {PATIENCE} updates in a row"):
        again.admits(optimizer, "a", bad, 5)
    assert again.skipped == 2 * PATIENCE - 1


@pytest.mark.parametrize("agent", [ActorCritic, FLAC])
def test_an_environment_that_gives_nan_rewards(agent):
    """Training ends with an error that names the loss, and every weight is still finite."""
    model = agent("MlpPolicy", DummyVecEnv([lambda: Faulty("reward", 1)]), **TINY)
    with (
        pytest.warns(RuntimeWarning, match="critic_loss"),
        pytest.raises(TrainingError, match=r"critic_loss .* updates in a row.*learning_rate"),
    ):
        model.learn(WARM_UP + PATIENCE + 10)
    assert torch.isfinite(parameters(model)).all()


# ------------------------------------------------------------------------------- observations


@pytest.mark.parametrize("what", ["observation", "last observation"])
@pytest.mark.parametrize("vector", [False, True], ids=["rows", "tensors"])
def test_an_environment_that_gives_nan_observations(what, vector):
    """The environment and the step are named, before anything is learnt from it."""
    makes = [lambda: Bandit(length=3), lambda: Faulty(what, 9)]
    if vector:
        mode = gymnasium.vector.AutoresetMode.SAME_STEP
        env = gymnasium.vector.SyncVectorEnv(makes, autoreset_mode=mode)
    else:
        env = DummyVecEnv(makes)
    model = ActorCritic("MlpPolicy", env, **{**TINY, "learning_starts": 100})
    with pytest.raises(TrainingError, match=r"environments \[1\] gave observations .* after 1[68]"):
        model.learn(60)
    assert torch.isfinite(torch.as_tensor(model.replay_buffer.store["observations"])).all()


def test_nan_in_the_first_observation():
    """A reset that gives NaN is found before the policy acts on it."""

    class Broken(Bandit):
        def _show(self):
            return super()._show() * np.float32(np.inf)

    with pytest.raises(TrainingError, match=r"environments \[0\] .* after 0 steps"):
        ActorCritic("MlpPolicy", DummyVecEnv([Broken]), **TINY).learn(1)


def test_dictionaries_and_bytes():
    """Every part of a dictionary is looked at; bytes are always finite."""
    sound = {"a": np.zeros((2, 3)), "b": np.zeros((2, 1), np.uint8)}
    require_finite(sound, 0)
    with pytest.raises(TrainingError, match=r"environments \[1\]"):
        require_finite({**sound, "c": torch.tensor([[0.0], [torch.inf]])}, 0)
    with pytest.raises(TrainingError, match=r"environments \[4\]"):
        require_finite({"c": np.array([np.nan, 0.0])}, 0, 4)
