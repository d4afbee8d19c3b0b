"""CDSA: models, directions, tuning by density, runs, exact resume."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import cli
from agents.algorithms import ALGORITHMS
from agents.offline.bc import BC
from agents.offline.cdsa import CDSA, STEPS
from agents.offline.data import Transitions
from agents.offline.options import TrainCDSA
from agents.offline.scores import noise_levels
from agents.offline.support import OUTSIDE, log_density
from agents.options import Resume
from agents.runs import Run
from agents.train_options import preset
from agents.training import load_agent, resume, train
from simenv.errors import ConfigurationError, RunError
from tests.agents.offline.policies import TINY, Policy, noisy
from tests.agents.offline.sets import bandit, pendulum
from tests.agents.offline.test_algorithm import assert_same
from tests.agents.offline.test_losses import BATCH, Known, changed, weights


@pytest.fixture(scope="module")
def trained() -> CDSA:
    """A model of 2,000 actions with noise .2 around the best."""
    data = bandit(noise=0.2)
    options = {"net_arch": (32,), "batch_size": 128, "learning_rate": 5e-3, "seed": 0}
    return CDSA(data, **options, policy=noisy(), tune=False).learn(250)


# ------------------------------------------------------------------ models


def untrained(**options) -> CDSA:
    """On unit data: scales change nothing, so that numbers can be followed by hand."""
    model = CDSA(bandit(40), **TINY, **options)
    for scale in (model.normalizer, model.action_scale, model.change_scale):
        scale.mean.zero_()
        scale.std.fill_(1.0 - scale.epsilon)
    return model


def test_losses_of_the_models():
    """a ≈ inverse(s, s' − s) and s' − s ≈ dynamics(s, a): errors by hand."""
    model = untrained()
    model.change_scale.std.fill_(0.5 - model.change_scale.epsilon)
    model.inverse = Known(lambda x: x[:, :1] - x[:, 1:])
    model.dynamics = Known(lambda x: x[:, :1] + x[:, 1:])
    losses = model.all_losses(BATCH)
    # Changes 1 and 2, so 2 and 4 scaled: inverse −1, −2 for ½, −½; dynamics 1½ for 2 and 4.
    assert losses["inverse_loss"].item() == pytest.approx((1.5**2 + 1.5**2) / 2)
    assert losses["dynamics_loss"].item() == pytest.approx((0.5**2 + 2.5**2) / 2)
    assert set(losses) == {"score_loss", "state_score_loss", "inverse_loss", "dynamics_loss"}


def test_directions():
    """σ² times the score, in the action's units; the way to the denoised next state."""
    model = untrained(sigma=0.5)
    model.action_scale.std.fill_(2.0 - model.action_scale.epsilon)
    seen = []
    model.score = lambda x, sigma: (
        seen.append((x, sigma)) or torch.stack([x[:, 0] * 100, x[:, 1] * 3], dim=1)
    )
    model.dynamics = Known(lambda x: x[:, :1] + x[:, 1:])
    model.state_score = lambda x, sigma: 8 * x
    model.inverse = Known(lambda x: 10 * x[:, :1] + x[:, 1:])
    states, actions = torch.tensor([[1.0]]), torch.tensor([[0.5]])
    by_action, by_state = model.directions(states, actions)
    # The action is .25 of its deviation, its score .75; σ² · deviation · score = ¼ · 2 · ¾.
    assert seen[0][0].tolist() == [[1.0, 0.25]]
    assert by_action.item() == pytest.approx(0.375)
    # s' = 1 + 1½, its denoised state 2½ + ¼ · 20; the inverse model sees the difference once.
    assert by_state.item() == pytest.approx(5.0)


def test_every_network_learns():
    """One update moves all four, and what it returns is their losses."""
    model = CDSA(bandit(100), **TINY)
    parts = (model.score, model.state_score, model.inverse, model.dynamics)
    before = [weights(part) for part in parts]
    model.update(model.sample())
    assert all(changed(old, part) for old, part in zip(before, parts, strict=True))


def test_the_models_learn_a_linear_system():
    """s' = s + a / 10: foreseen, and inverted, to a few per cent of the deviation."""
    rng = np.random.default_rng(0)
    seen, actions = rng.uniform(-1, 1, (1_000, 1)), rng.uniform(-1, 1, (1_000, 1))
    after = seen + 0.1 * actions
    data = Transitions.from_arrays(seen, actions, np.zeros(1_000), after, np.ones(1_000, bool))
    model = CDSA(data, net_arch=(64,), batch_size=128, learning_rate=3e-3, seed=0).learn(400)
    batch = model.prepare(data.at(torch.arange(1_000)))
    with torch.no_grad():
        losses = model.all_losses(batch)
    assert losses["inverse_loss"] < 0.05**2
    assert losses["dynamics_loss"] < 0.1**2


def test_densities_rise_with_small_steps(trained):
    """The mean log density of (s, a) of a noisy policy, at every step of η_a."""
    held = trained.prepare(trained.held_out())
    given = trained.unit_actions(noisy().predict(held.observations.numpy())[0])
    by_action, _ = trained.directions(held.observations, given)
    found = []
    for step in (0.0, 0.05, 0.1, 0.2, 0.4):
        points = trained.pairs(held.observations, given + step * by_action)
        data = trained.pairs(held.observations, held.actions)
        found.append(float(log_density(points, data, trained.sigma).mean()))
    assert all(low < high for low, high in pairwise(found))


# ------------------------------------------------------------------ tuning


def test_held_out_episodes_are_not_learnt_from():
    """Every tenth episode; of fewer than ten, the last tenth of the transitions."""
    for episodes, held in ((20, {9.0, 19.0}), (2, {38.0, 39.0, 36.0, 37.0})):
        number = np.repeat(np.arange(episodes), 40 // episodes)
        value = number if episodes == 20 else np.arange(40)
        cut = np.append(np.diff(number) > 0, True)
        seen = value[:, None].astype(float)
        data = Transitions.from_arrays(
            seen, np.zeros((40, 1)), np.zeros(40), seen, np.zeros(40, bool), truncated=cut
        )
        model = CDSA(data, **TINY | {"batch_size": 2_000}, normalize=False)
        assert set(model.held_out().observations[:, 0].tolist()) == held
        learnt = set(model.sample().observations[:, 0].tolist())
        assert learnt == set(value.astype(float)) - held


def test_tuning_a_noisy_policy(trained):
    """Steps that make its actions denser, as dense as the data's if any do, and fewer outside."""
    policy = noisy()
    found = trained.tune(policy)
    assert (trained.action_step, trained.state_step) == (found.action_step, found.state_step)
    assert found.action_step > 0
    assert found.density > found.density_policy
    assert found.outside_policy == trained.outside_share(policy)
    assert found.outside < 0.5 * found.outside_policy
    assert f"action_step {found.action_step:g}" in str(found)


def test_the_least_change_that_is_enough(trained):
    """A policy as dense as the data is left alone; one that cannot be gets the densest steps."""
    best = Policy(lambda seen: 0.8 * seen)
    found = trained.tune(best)
    assert (found.action_step, found.state_step) == (0.0, 0.0)
    assert found.density == found.density_policy >= found.density_data
    few = trained.tune(noisy(), steps=(0.0, 0.05, 0.1))
    assert few.density < few.density_data
    assert few.action_step == 0.1


def test_tuning_sees_no_rewards():
    """Data that differ in rewards alone lead to the same choice."""
    one = bandit(300, noise=0.2)
    other = Transitions.from_arrays(
        one.observations, one.actions, -5 * one.rewards[:, 0], one.observations, np.ones(300)
    )
    found = [CDSA(data, **TINY).learn(30).tune(noisy()) for data in (one, other)]
    assert found[0] == found[1]


def test_actions_of_the_data_are_outside_as_often_as_the_bound_says(trained):
    """5 % by definition."""
    held = trained.held_out()
    assert trained.outside_share(Policy(lambda seen: held.actions.numpy())) == pytest.approx(
        OUTSIDE, abs=1 / len(held.actions)
    )


def test_learning_ends_with_tuning(capsys):
    """The choice is said and noted; another training begins from the steps given."""
    model = CDSA(bandit(300, noise=0.2), **TINY, policy=noisy(), action_step=0.33)
    seen = []
    model.learn(20, callback=lambda *_: seen.append(model.action_step) or True)
    assert seen == [0.33] * 20
    assert model.action_step in STEPS
    assert model.losses["action_step"] == model.action_step
    assert "CDSA: action_step" in capsys.readouterr().out
    model.learn(1, callback=lambda *_: seen.append(model.action_step) or True)
    assert seen[-1] == 0.33
    untuned = CDSA(bandit(300), **TINY, policy=noisy(), action_step=0.33, tune=False).learn(2)
    assert untuned.action_step == 0.33


# ------------------------------------------------------------------ errors and persistence


@pytest.mark.parametrize(
    "option", [{"action_step": -1.0}, {"state_step": -1.0}, {"sigma": 0.005}, {"sigma": 1.1}]
)
def test_options_outside_their_bounds(option, trained):
    """Each is refused by name, in Python and on the command line."""
    name = next(iter(option))
    with pytest.raises(ConfigurationError, match=name):
        CDSA(bandit(40), **TINY, **option)
    with pytest.raises(ConfigurationError, match=name):
        TrainCDSA(dataset="x-v0", **option)
    if name != "sigma":
        with pytest.raises(ConfigurationError, match=name):
            trained.wrap(noisy(), **option)


def test_every_level_that_was_learnt_is_allowed():
    """The bounds themselves as well."""
    for sigma in noise_levels()[[0, -1]].tolist():
        assert CDSA(bandit(40), **TINY, sigma=round(sigma, 6)).sigma == pytest.approx(sigma)


def test_what_cannot_be_adjusted():
    """No policy, one of another environment, and data too few to hold some out."""
    model = CDSA(bandit(12), **TINY)
    with pytest.raises(ConfigurationError, match="there is none: wrap"):
        model.predict(np.zeros(1))
    other = Policy(None, action_space=spaces.Box(-1.0, 1.0, (2,)))
    with pytest.raises(ConfigurationError, match="policy has action_space"):
        model.wrap(other)
    with pytest.raises(ConfigurationError, match="policy has action_space"):
        CDSA(bandit(40), **TINY, policy=other)
    with pytest.raises(ConfigurationError, match="1 held-out transitions"):
        model.tune(noisy())


def test_resume_equals_the_uninterrupted_training(tmp_path):
    """Networks, moments, scales, losses and tuned steps agree bit by bit."""
    data = bandit(300, noise=0.2)
    whole = CDSA(data, **TINY, policy=noisy()).learn(12, log_interval=5)
    part = CDSA(data, **TINY, policy=noisy())
    part.learn(7, log_interval=5)
    part.save_checkpoint(tmp_path / "c")
    torch.manual_seed(99)
    again = CDSA(data, **TINY, policy=noisy())
    again.load_checkpoint(tmp_path / "c")
    again.learn(5, log_interval=5)
    assert_same(whole, again)
    assert again.losses == whole.losses
    assert (again.action_step, again.state_step) == (whole.action_step, whole.state_step)


def test_what_is_saved_adjusts_the_same(tmp_path):
    """Without dataset; a policy that is an object is given again, or wrapped."""
    model = CDSA(bandit(300, noise=0.2), **TINY, policy=noisy()).learn(10)
    model.save(tmp_path / "model")
    seen = np.linspace(-1, 1, 5)[:, None]
    loaded = CDSA.load(tmp_path / "model")
    assert np.array_equal(loaded.wrap(noisy()).predict(seen)[0], model.predict(seen)[0])
    assert loaded.action_step == model.action_step
    given = CDSA.load(tmp_path / "model", policy=noisy())
    assert np.array_equal(given.predict(seen)[0], model.predict(seen)[0])
    with pytest.raises(ConfigurationError, match="held-out transitions"):
        given.tune(noisy())


# ------------------------------------------------------------------ runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of BC on a set of Pendulum-v1."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("datasets")
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        pendulum("pendulum/toy-v0", ref_min_score=-1200.0, ref_max_score=-150.0)
        train("bc", options("bc", folder / "bc"))
        yield folder


def options(algorithm: str, out, **changes):
    """Options of a training of a second."""
    given = {
        "dataset": "pendulum/toy-v0",
        "steps": 20,
        "batch_size": 8,
        "net_arch": (8,),
        "eval_every": 10,
        "eval_episodes": 2,
        "save_every": 10,
        "progress_bar": False,
        "seed": 3,
    }
    return ALGORITHMS[algorithm].options(**given | changes, out=out)


def test_a_run_that_adjusts_another(runs, tmp_path, capsys):
    """Trained, tuned, evaluated beside the one that it adjusts, and gone on with."""
    run = train("cdsa", options("cdsa", tmp_path / "cdsa", policy=str(runs / "bc")))
    agent = load_agent(run)
    assert isinstance(agent, CDSA)
    assert isinstance(agent._policy, BC)
    metrics = run.metrics()
    assert metrics["action_step"][-1] == agent.action_step
    assert "CDSA: action_step" in capsys.readouterr().out
    assert cli.main(["evaluate", str(run.path), str(runs / "bc"), "--episodes", "2"]) == 0
    assert "cdsa" in capsys.readouterr().out
    going = train("cdsa", options("cdsa", tmp_path / "other", policy=str(runs / "bc"), steps=10))
    resume(Resume(going.path, steps=20, progress_bar=False))
    assert_same(load_agent(going), agent)
    again = going.metrics()
    assert again["return_mean"][-1] == metrics["return_mean"][-1]


def test_a_run_without_a_policy(runs, tmp_path, capsys):
    """Learns, evaluates nothing, and says what is missing when asked to."""
    run = train("cdsa", options("cdsa", tmp_path / "cdsa"))
    assert "return_mean" not in run.metrics()
    assert cli.main(["evaluate", str(run.path), "--episodes", "2"]) == 2
    assert "there is none: wrap(policy)" in capsys.readouterr().err
    adjusted = load_agent(run).wrap(load_agent(Run(runs / "bc")))
    assert adjusted.predict(np.zeros((2, 3)))[0].shape == (2, 1)


def test_a_policy_that_is_no_run(runs, tmp_path):
    """Nothing is written."""
    with pytest.raises(RunError, match="no run folder"):
        train("cdsa", options("cdsa", tmp_path / "cdsa", policy=str(tmp_path / "none")))
    assert not (tmp_path / "cdsa").exists()


def test_the_command_lines_options_are_the_agents():
    """Same names, and the same defaults."""
    given = TrainCDSA(dataset="x-v0").agent_arguments()
    model = CDSA(bandit(40), seed=0)
    for name in ("action_step", "state_step", "sigma", "net_arch", "learning_rate"):
        assert getattr(model, name) == given[name]
    assert (given["tune"], given["policy"]) == (model.tunes, None)
    assert TrainCDSA(dataset="x-v0", **preset("cdsa", "Pendulum-v1")).steps == 5_000
