"""Search by trial in the simulator's stead: every sampler solves what is trivial."""

from __future__ import annotations

import pytest
import torch

from agents.schemes import Schemes
from agents.trajopt import make_policy, rollout, sample
from agents.trajopt.methods import SAMPLERS, make_sampler
from agents.trajopt.samplers import CEM
from simenv.errors import ConfigurationError, SimenvError
from tests.agents.toy import Toy

SETTINGS = {
    "cem": {"population": 100},
    "icem": {"population": 40, "iterations": 1},
    "mppi": {"population": 40, "temperature": 0.02, "std": 0.2},
    "cmaes": {"population": 12},
    "cbo": {"population": 40},
}


def solve(name: str, kind: str = "plan", iterations: int = 150, **options):
    """Search a policy on a `Toy`; the result, the rows and the toy."""
    rows, shape = [], make_policy(kind, Toy(horizon=4).task, 1).table.shape[1:]
    bound = make_policy(kind, Toy(horizon=4).task, 1).bound
    sampler = make_sampler(name, tuple(shape), SETTINGS[name], low=-bound, high=bound)
    toy = Toy(num_envs=sampler.most + 1, horizon=4)
    policy = make_policy(kind, toy.task, toy.num_envs)
    result = sample(toy, policy, sampler, iterations=iterations, report=rows.append, **options)
    return result, rows, toy


@pytest.mark.parametrize("name", SAMPLERS)
def test_solves_a_trivial_task(name):
    """A push to a point nearby: resting costs 0.34 in each of four steps, the best plan nothing."""
    result, rows, toy = solve(name)
    assert result.best_return > -0.15
    assert result.best_success
    assert rows[0]["return_mean"] < -0.5
    assert [row["return_best"] for row in rows] == sorted(row["return_best"] for row in rows)
    # The last answer is played by the whole batch.
    assert rows[-1]["step"] == (150 + 1) * toy.num_envs * 4
    assert len(rows) == 150


def test_the_best_is_worth_what_is_said():
    """The parameters that are returned earn the return that is reported."""
    result, _, _ = solve("cem", "gait", iterations=5)
    lone = Toy(num_envs=1, horizon=4)
    policy = make_policy("gait", lone.task, 1)
    policy.load_state_dict(result.best)
    with torch.no_grad():
        returns = rollout(lone, policy, lone.initial()).rewards.sum(dim=0)
    assert float(returns) == pytest.approx(result.best_return, rel=1e-5)


class Told(CEM):
    """Answers what a population taught, which is here to be at the goal at once, and to stay."""

    @property
    def plan(self) -> torch.Tensor:
        """To rest, until something has been told."""
        answer = torch.zeros(self.shape)
        if self.best is not None:
            answer[:2] = torch.tensor(Toy.goal) * torch.tensor([[1.0], [-1.0]])
        return answer


@pytest.mark.parametrize("alone", [True, False])
def test_what_the_last_population_teaches_is_tried(alone):
    """By a rollout more, which is counted: in an environment of its own, or in all of them."""
    toy, rows = Toy(num_envs=6, horizon=4), []
    result = sample(
        toy,
        make_policy("plan", toy.task, 6),
        Told(4, 2, population=5, elites=2),
        iterations=1,
        judge=Toy(num_envs=1, horizon=4) if alone else None,
        report=rows.append,
    )
    # No candidate comes near that.
    assert result.best_return == rows[-1]["return_best"] == pytest.approx(0.0, abs=1e-12)
    assert rows[-1]["return_max"] < -0.1
    assert [row["step"] for row in rows] == [(6 + (1 if alone else 6)) * 4]


class Resting(CEM):
    """Answers to rest, whatever it is told."""

    @property
    def plan(self) -> torch.Tensor:
        """Nothing in any step."""
        return torch.zeros(self.shape)


@pytest.mark.parametrize(("keep_best", "rests"), [(True, False), (False, True)])
def test_the_last_answer(keep_best, rests):
    """Without `keep_best` the sampler's own last answer is the result, not a lucky candidate."""
    toy = Toy(num_envs=41, horizon=4)
    # Half of so short steps go towards the goal.
    sampler = Resting(4, 2, population=40, initial_std=0.1)
    schemes = Schemes(keep_best=keep_best)
    result = sample(toy, make_policy("plan", toy.task, 41), sampler, iterations=2, schemes=schemes)
    assert (float(result.best["actions"].abs().max()) == 0.0) is rests
    # To rest costs 0.34 in each of four steps.
    assert (result.best_return == pytest.approx(-4 * 0.34, rel=1e-5)) is rests


def test_switches_of_gradients_are_refused():
    """They would change nothing."""
    with pytest.raises(ConfigurationError, match="clip shape gradients, and CEM uses none"):
        solve("cem", iterations=1, schemes=Schemes(clip=1.0))


def test_nothing_finite_is_said():
    """Where no candidate gives a number there is no result, and no silence."""
    toy = Toy(num_envs=5, horizon=2, weights=(float("nan"),) * 5)
    sampler = make_sampler("cem", (2, 2), {"population": 4, "elites": 2})
    with pytest.raises(SimenvError, match="no rollout had a finite return"):
        sample(toy, make_policy("plan", toy.task, 5), sampler, iterations=2)


def test_settings_of_another_method_are_refused():
    """With those that there are."""
    with pytest.raises(ConfigurationError, match=r"cem has no setting \['temperature'\]; it has"):
        make_sampler("cem", (1, 1), {"temperature": 1.0})
    with pytest.raises(ConfigurationError, match="elites"):
        make_sampler("icem", (1, 1), {"elites": 0})
