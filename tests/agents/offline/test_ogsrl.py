"""OGSRL: rollouts, advantages, budgets that bind, and exact resume."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from agents.offline.cpo import Rollouts
from agents.offline.data import Transitions
from agents.offline.dynamics import Outcome
from agents.offline.ensemble import Members
from agents.offline.ogsrl import OGSRL
from simenv.errors import ConfigurationError
from tests.agents.offline.models import TINY, assert_resumes
from tests.agents.offline.systems import linear

MORE = {"rollouts": 6, "rollout_length": 4, "guardian_points": 100, "clone_steps": 3}


def ogsrl(data=None, **options) -> OGSRL:
    """A tiny one, of the linear system unless told otherwise."""
    data = linear(300, costs="cost_limit" in options, narrow=True) if data is None else data
    return OGSRL(data, **TINY | MORE | options)


class KnownModel(nn.Module):
    """One state: reward −(a − 0.8)², cost (a + 1)/2; every step an end, or none."""

    fitted = True

    def __init__(self, ends: bool = True, with_costs: bool = True) -> None:
        super().__init__()
        self.ends, self.with_costs = ends, with_costs

    def sample(self, observations, actions):
        costs = (actions + 1) / 2 if self.with_costs else None
        rewards = -((actions - 0.8) ** 2)
        empty = torch.zeros(1, len(actions), 0)
        ends = torch.full_like(actions, float(self.ends))
        return Outcome(observations, rewards, ends, costs, Members(empty, empty, empty))


def guard(border: float):
    """A guardian to whom actions above a border are outside."""
    return SimpleNamespace(
        chosen=True,
        flags=lambda s, a: (a > border).float(),
        get_state=dict,
        set_state=lambda state, device: None,
    )


def one_state(costs: bool = True) -> Transitions:
    """Twenty steps of nothing."""
    zeros = np.zeros((20, 1))
    more = {"costs": np.zeros(20)} if costs else {}
    return Transitions.from_arrays(zeros, zeros, zeros[:, 0], zeros, np.ones(20), **more)


def toy(border: float = 2.0, **options) -> OGSRL:
    """A problem whose answer is known: one state, one step, a quadratic reward, a linear cost."""
    costly = options.get("cost_limit") is not None
    given = {"rollouts": 200, "rollout_length": 1, "horizon": 1, "max_kl": 0.02}
    model = ogsrl(one_state(costs=costly), **given | options)
    model.dynamics, model.guardian = KnownModel(with_costs=costly), guard(border)
    return model


def action(model: OGSRL) -> float:
    """What the policy does in the one state."""
    return float(model.predict(np.zeros(1))[0][0])


# ------------------------------------------------------------------ budgets that bind


def test_without_budgets_the_best_action():
    """0.8; the error of a policy by gradients of 200 draws with deviation σ is σ/√200 a step."""
    assert action(toy().learn(60)) == pytest.approx(0.8, abs=0.1)


def test_the_cost_budget_binds():
    """At most 0.6 of (a + 1)/2: the best action is 0.2, and the mean cost 0.6.

    The cost of an iteration's 200 draws errs by (σ/2)/√200, 0.02 at the first σ of 0.6; three of
    that on the cost, twice that on the action.
    """
    model = toy(cost_limit=0.6)
    model.learn(60, log_interval=10)
    assert action(model) == pytest.approx(0.2, abs=0.12)
    assert model.losses["cost"] == pytest.approx(0.6, abs=0.06)
    assert model.losses["cost_budget"] == pytest.approx(0.6)


def test_a_budget_that_is_exceeded_is_met_again():
    """From the best action, where the cost is 0.9, back under 0.3 + 0.06: recovery comes first."""
    model = toy(cost_limit=0.3, initial_std=0.3)
    with torch.no_grad():
        model.actor.network[-1].bias.fill_(1.1)
    assert action(model) == pytest.approx(0.8, abs=0.1)
    model.learn(60, log_interval=10)
    assert model.losses["cost"] < 0.36
    assert action(model) < -0.2


def test_the_guardian_binds():
    """At most a tenth of the steps above 0.3, where the reward would have them all.

    A share of 0.1 in 200 draws errs by 0.02; means over ten iterations, which aim at 0.1 from
    their own draws, stay within five of that.
    """
    model = toy(0.3, guardian_limit=0.1)
    model.learn(60, log_interval=10)
    assert model.losses["outside"] < 0.2
    assert model.losses["outside_budget"] == pytest.approx(0.1)
    assert action(model) < 0.3


# ------------------------------------------------------------------ the parts


def rollouts(signals, alive=None, terminated=None) -> Rollouts:
    """Of one environment: signals (H, 1 + K) as a list, everything else zero."""
    values = torch.tensor(signals)[:, None]
    steps = len(values)
    on = torch.ones(steps, 1) if alive is None else torch.tensor(alive)[:, None]
    ends = torch.zeros(steps, 1) if terminated is None else torch.tensor(terminated)[:, None]
    return Rollouts(torch.zeros(steps + 1, 1, 2), torch.zeros(steps, 1, 1), values, on, ends)


def test_mean_costs_by_hand():
    """1 + γ 2, and what comes after the end does not count: γ = ½ gives 2."""
    model = ogsrl(gamma=0.5)
    found = rollouts([[1.0, 0.0], [2.0, 1.0], [9.0, 9.0]], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0])
    assert model.mean_sums(found).tolist() == [2.0, 0.5]


def test_advantages_by_hand():
    """Values 1 everywhere, γ = ½, λ = ½: δ = r + ½ − 1, and r − 1 where an episode ends."""
    model = ogsrl(gamma=0.5, gae_lambda=0.5)
    model.value = model.cost_value = lambda s: torch.ones(*s.shape[:-1], 1)
    plain, targets = model.advantages(rollouts([[2.0, 0.0], [4.0, 0.0]]))
    assert plain[:, 0, 0].tolist() == [1.5 + 0.25 * 3.5, 3.5]
    # A cost ends with the rollout: δ = −½ and then −1.
    assert plain[:, 0, 1].tolist() == [-0.5 - 0.25, -1.0]
    assert torch.equal(targets, plain + 1)
    ended, _ = model.advantages(rollouts([[2.0, 0.0], [4.0, 0.0]], terminated=[1.0, 0.0]))
    assert ended[:, 0, 0].tolist() == [1.0, 3.5]


def test_budgets_by_hand():
    """A limit of 30 in 60 steps is ½ a step; three steps with γ = ½ count 1 + ½ + ¼."""
    given = {"cost_limit": 30.0, "horizon": 60, "gamma": 0.5, "rollout_length": 3}
    found = ogsrl(guardian_limit=0.1, **given).budgets
    assert found == pytest.approx({"cost": 0.5 * 1.75, "outside": 0.1 * 1.75})
    assert list(ogsrl(gamma=0.5).budgets) == ["outside"]


def test_rollouts_go_on_from_where_they_were():
    """Standardised for the policy, in the dataset's units for model and guardian; ends last."""
    model = ogsrl(normalize=True)
    batch = model.sample()
    asked, drawn = [], model.dynamics.sample

    def sample(observations, actions):
        asked.append((observations, actions))
        found = drawn(observations, actions)
        return found._replace(terminated=torch.full((6, 1), float(len(asked) == 2)))

    model.dynamics.sample = sample
    found = model.roll_out(batch.observations)
    assert torch.equal(asked[0][0], batch.observations)
    for step, (observations, actions) in enumerate(asked):
        torch.testing.assert_close(model.raw(found.observations[step]), observations)
        assert torch.equal(found.actions[step].clamp(-1, 1), actions)
    assert found.alive[:, 0].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert found.terminated[:, 0].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert torch.equal(
        found.signals[..., -1:], torch.stack([model.guardian.flags(*pair) for pair in asked])
    )


def test_states_that_run_off_stay_in_the_box_of_the_data():
    """Predictions far away become the ends of the range of the data, here 0 to 19 or so."""
    model = ogsrl(priced(), cost_limit=1.0, horizon=5)
    model.guardian = guard(2.0)
    model.dynamics = SimpleNamespace(
        sample=lambda s, a: Outcome(s + 1e9, 0 * a, 0 * a, 0 * a, torch.zeros(1, 1))
    )
    after, *_ = model._step(torch.zeros(1, 2), torch.zeros(1, 1))
    assert torch.equal(after[0], model.dataset.observations.amax(dim=0))


@pytest.mark.parametrize(("least", "kept"), [(0.0, [0.0, 0.5]), (-0.1, [-0.1, 0.5])])
def test_no_cost_lies_below_the_datas(least, kept):
    """A model's error is no credit: below 0 only as far as the data go."""
    model = toy(cost_limit=0.6)
    model.dataset.costs.fill_(0.5)[0] = least
    costs = torch.tensor([[-0.3], [0.5]])
    model.dynamics = SimpleNamespace(
        sample=lambda s, a: Outcome(s, 0 * a, 0 * a, costs, torch.zeros(2, 1))
    )
    _, signals, *_ = model._step(torch.zeros(2, 1), torch.zeros(2, 1))
    assert signals[:, 1].tolist() == pytest.approx(kept)


@pytest.mark.parametrize("fault", ["reward", "cost", "observation"])
def test_where_the_model_gives_no_number_the_worst_is_paid(fault):
    """The data's least reward and greatest cost, outside of them, staying there, and counted."""
    model = ogsrl(priced(), cost_limit=1.0, horizon=5)
    model.guardian = guard(2.0)
    model.dataset.rewards[3] = -7.0
    bad = dict.fromkeys(("reward", "cost", "observation"), 0.0) | {fault: -torch.inf}
    model.dynamics = SimpleNamespace(
        sample=lambda s, a: Outcome(
            s + bad["observation"], a + bad["reward"], a + 1, a + bad["cost"], torch.zeros(2, 1)
        )
    )
    start = model.dataset.observations[:2]
    after, signals, ends, lost = model._step(start, torch.zeros(2, 1))
    # The dearest episode costs 19 in five steps.
    assert signals.tolist() == [[-7.0, pytest.approx(19 / 5), 1.0]] * 2
    assert torch.equal(after, start)
    assert (ends.tolist(), lost.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    model.roll_out(start)
    assert model._lost.item() == 1.0


def priced() -> Transitions:
    """Twenty episodes of five steps; the i-th costs i, and above 5 they act otherwise."""
    episode = np.repeat(np.arange(20.0), 5)
    noise = np.random.default_rng(0).normal(0, 0.01, (100, 2))
    ends = np.tile([0, 0, 0, 0, 1], 20)
    actions = np.where(episode > 5, -0.5, 0.5)[:, None]
    return Transitions.from_arrays(
        np.column_stack([episode, np.zeros(100)]) + noise,
        actions,
        np.zeros(100),
        noise,
        ends,
        costs=episode / 5,
    )


# ------------------------------------------------------------------ the agent


def test_a_clone_is_no_wider_than_asked_and_can_be_left_out():
    """One step leaves errors of about 0.5, as large as the actions; none leaves the weights."""
    wide = ogsrl(clone_steps=1, initial_std=0.2)
    wide._prepare_model()
    assert wide.actor.std().item() == pytest.approx(0.2)
    model = ogsrl(clone_steps=0)
    before = [p.clone() for p in model.actor.parameters()]
    model._prepare_model()
    assert all(torch.equal(a, b) for a, b in zip(before, model.actor.parameters(), strict=True))


@pytest.mark.parametrize("at", [0, 2])
def test_resume_equals_the_uninterrupted_training(at, tmp_path):
    """Before model and guardian are fitted, and after."""
    make = lambda: ogsrl(cost_limit=2.0, horizon=10)  # noqa: E731
    parts = lambda model: (model.guardian.centres, model.actor.log_std)  # noqa: E731
    assert_resumes(make, tmp_path, at, parts, updates=4)


def test_what_is_saved_acts_the_same(tmp_path):
    """Without dataset, and it can go on with one; the guardian comes along."""
    model = ogsrl(cost_limit=2.0, horizon=10).learn(2)
    model.save(tmp_path / "model")
    loaded = OGSRL.load(tmp_path / "model")
    grid = np.linspace(-1, 1, 10).reshape(5, 2)
    assert np.array_equal(loaded.predict(grid)[0], model.predict(grid)[0])
    assert loaded.guardian.chosen == model.guardian.chosen
    OGSRL.load(tmp_path / "model", dataset=linear(300, costs=True, narrow=True)).learn(1)
    with pytest.raises(ConfigurationError, match="loaded without a dataset"):
        OGSRL.load(tmp_path / "model").learn(1)


def test_the_horizon_is_the_environments():
    """Where none is given, the time limit of Pendulum-v1, 200."""
    rng = np.random.default_rng(0)
    import gymnasium

    env = gymnasium.make("Pendulum-v1")
    data = Transitions.from_arrays(
        rng.normal(size=(9, 3)),
        rng.uniform(-2, 2, (9, 1)),
        np.zeros(9),
        rng.normal(size=(9, 3)),
        np.zeros(9),
        costs=np.zeros(9),
        action_space=env.action_space,
        observation_space=env.observation_space,
    )
    model = OGSRL(data, env, **TINY | MORE, cost_limit=50.0, gamma=1.0)
    assert model.horizon == 200
    assert model.budgets["cost"] == pytest.approx(50.0 * 4 / 200)


def test_costs_that_are_not_there():
    """A limit needs costs, and a horizon; without a limit neither is needed."""
    data = one_state(costs=False)
    with pytest.raises(ConfigurationError, match=r"cost_limit = 3\.0, but dataset arrays has no"):
        ogsrl(data, cost_limit=3.0, horizon=5)
    with pytest.raises(ConfigurationError, match="give horizon"):
        ogsrl(cost_limit=3.0)
    assert list(ogsrl(data).budgets) == ["outside"]


def test_costs_without_a_limit():
    """Learnt from, but not in silence; with a limit there is nothing to say."""
    with pytest.warns(RuntimeWarning, match=r"dataset arrays has costs, and without a cost_limit"):
        assert list(ogsrl(one_state()).budgets) == ["outside"]
    ogsrl(one_state(), cost_limit=3.0, horizon=5)


@pytest.mark.parametrize(
    "option",
    [
        {"rollouts": 0},
        {"rollout_length": 0},
        {"search_steps": 0},
        {"value_epochs": 0},
        {"cost_limit": -1.0},
        {"guardian_limit": 1.5},
        {"guardian_share": 0.0},
        {"guardian_points": 0},
        {"guardian_bandwidth": 0.0},
        {"gae_lambda": 1.5},
        {"max_kl": 0.0},
        {"damping": -1.0},
        {"initial_std": 0.0},
        {"initial_std": 9.0},
        {"clone_steps": -1},
        {"starts": "last"},
        {"gamma": 0.0},
        {"clone_from": "dear"},
        {"clone_from": "cheap"},
    ],
)
def test_options_outside_their_bounds(option):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        ogsrl(**option)
