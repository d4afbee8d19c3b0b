"""Ensembles, models of dynamics, and where episodes end."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from agents.offline.dynamics import Dynamics, ReverseDynamics
from agents.offline.ensemble import DECAYS, GaussianEnsemble
from agents.offline.termination import LEARNT, NEVER, RULES, resolve
from simenv.errors import ConfigurationError, ShapeError, TrainingError
from tests.agents.offline.systems import drift, linear

TINY = {"members": 3, "elites": 2, "widths": (32, 32)}
FIT = {"batch_size": 128, "learning_rate": 3e-3, "max_epochs": 25}


def generator(seed: int = 0) -> torch.Generator:
    """Of splits and orders."""
    return torch.Generator().manual_seed(seed)


def fitted(data, **options) -> Dynamics:
    """A small model of a dataset."""
    torch.manual_seed(0)
    model = Dynamics(2, 1, **TINY, **options)
    model.fit(data, generator(), **FIT)
    return model


@pytest.fixture(scope="module")
def model():
    """Of the linear system, with costs and ends."""
    return fitted(linear(costs=True), with_costs=True, termination=LEARNT)


def inside(count: int = 1_000) -> tuple[torch.Tensor, torch.Tensor]:
    """States and actions a little inside of the data."""
    drawn = 1.8 * torch.rand(count, 3, generator=generator(5)) - 0.9
    return drawn[:, :2], drawn[:, 2:]


# ------------------------------------------------------------------ what is learnt


def test_a_linear_system_is_recovered(model):
    """Means within a quarter of the noise.

    A network with P weights, 1200 here, that fits T = 2400 rows to the full has an error of
    √(P/T) = 0.7 of the noise; one that stops early must do much better.
    """
    s, a = inside()
    with torch.no_grad():
        found = model.mean(s, a)
    noise = (0.02 * (1 + 2 * (s[:, :1] + 1))).mean()
    error = (found.observations - s - drift(s, a)).square().mean().sqrt()
    assert error < 0.25 * noise
    # Reward and cost have no noise: a tenth of their deviations, 0.30 each.
    assert (found.rewards[:, 0] + s[:, 0] ** 2).square().mean().sqrt() < 0.03
    assert (found.costs - a**2).square().mean().sqrt() < 0.03


def test_costs_are_expected_and_not_drawn(model):
    """Observations differ from draw to draw; costs do not, and are those of the mean."""
    s, a = torch.zeros(50, 2), torch.full((50, 1), 0.5)
    one, two = model.sample(s, a), model.sample(s, a)
    assert not torch.equal(one.observations, two.observations)
    assert torch.equal(one.costs, two.costs)
    assert torch.equal(one.costs, model.mean(s, a).costs.detach())


def test_the_noise_is_recovered_where_it_differs(model):
    """0.028 at s₀ = −0.8 and 0.092 at 0.8, each within a third.

    The deviation of a normal is known from its n rows to 1/√(2n), a tenth where fifty rows are
    near; the error of the mean and smoothing add to that.
    """
    for place, expected in ((-0.8, 0.028), (0.8, 0.092)):
        s = torch.cat([torch.full((500, 1), place), inside(500)[0][:, 1:]], dim=1)
        with torch.no_grad():
            std = model.members(s, inside(500)[1]).std[:, :, :2].mean()
        assert 2 / 3 < std / expected < 4 / 3


def test_ends_are_learnt(model):
    """Where s₀' is clearly on one side of 0.8; the noise is 0.1 at most."""
    after = torch.tensor([0.45, 1.0])
    s = torch.stack([after - 0.0, torch.zeros(2)], dim=1)
    a = (after - 0.9 * s[:, 0])[:, None] / 0.2
    with torch.no_grad():
        assert model.mean(s, a.clamp(-1, 1)).terminated[:, 0].tolist() == [0.0, 1.0]


def test_draws_have_the_noise_of_the_members(model):
    """Mean and deviation of 20,000 draws at one place, within five standard errors."""
    count = 20_000
    s, a = torch.zeros(count, 2), torch.zeros(count, 1)
    with torch.no_grad():
        drawn, found = model.sample(s, a), model.mean(s, a)
    chosen = model.ensemble.elite
    mean, std = found.members.mean[chosen, 0, :2], found.members.std[chosen, 0, :2]
    variance = (std.square() + mean.square()).mean(dim=0) - mean.mean(dim=0).square()
    error = variance.sqrt() / count**0.5
    assert ((drawn.observations.mean(dim=0) - found.observations[0]).abs() < 5 * error).all()
    assert drawn.observations.var(dim=0) / variance == pytest.approx(
        1.0, abs=5 * (2 / count) ** 0.5
    )


def test_every_row_of_a_draw_is_from_an_elite_of_its_own(model, monkeypatch):
    """But for the noise it is the mean of one of the two, and of either somewhere."""
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    s, a = inside(50)
    with torch.no_grad():
        drawn = model.sample(s, a).observations - s
        means = model.members(s, a).mean[model.ensemble.elite, :, :2]
    whose = (drawn - means).abs().amax(dim=-1) < 1e-6
    assert whose.any(dim=0).all()
    assert whose.any(dim=1).all()


def test_elites_are_the_best_on_data_held_out(model):
    """Means and draws come from them alone."""
    ensemble = model.ensemble
    assert ensemble.elite.tolist() == ensemble.holdout.argsort()[:2].tolist()
    s, a = inside(50)
    worst = int(ensemble.holdout.argmax())
    state = model.state_dict()
    changed = Dynamics(2, 1, **TINY, with_costs=True, termination=LEARNT)
    changed.load_state_dict(state)
    with torch.no_grad():
        for weight in changed.ensemble.weights:
            weight[worst] += 1.0
        assert torch.equal(changed.mean(s, a).observations, model.mean(s, a).observations)
        torch.manual_seed(0)
        mine = model.sample(s, a).observations
        torch.manual_seed(0)
        assert torch.equal(changed.sample(s, a).observations, mine)
        assert not torch.equal(changed.members(s, a).mean, model.members(s, a).mean)


def test_states_drawn_from_every_elite(model):
    """(elites, B, O), the means theirs."""
    s, a = inside(4)
    with torch.no_grad():
        found = model.members(s, a)
        draws = torch.stack([model.next_observations(s, found) for _ in range(2_000)])
    expected = s + found.mean[model.ensemble.elite, :, :2]
    error = found.std[model.ensemble.elite, :, :2] / 2_000**0.5
    assert draws.shape == (2_000, 2, 4, 2)
    assert ((draws.mean(dim=0) - expected).abs() < 5 * error).all()


def test_the_step_back(model):
    """s from (s', a): the error of the reverse is of the size of the noise, 0.06 on average."""
    torch.manual_seed(0)
    data = linear()
    reverse = ReverseDynamics(2, 1, **TINY)
    reverse.fit(data, generator(), **FIT)
    s, a = inside()
    after = s + drift(s, a)
    with torch.no_grad():
        error = (reverse.mean(after, a) - s).square().mean().sqrt()
    assert error < 0.06 < 0.2 * data.observations.std()
    assert reverse.sample(after, a).shape == s.shape
    assert reverse.fitted


# ------------------------------------------------------------------ fitting


def test_units_do_not_matter():
    """Targets a thousand times as large are predicted a thousand times as large."""
    x = torch.rand(400, 2, generator=generator())
    y = x.sum(dim=1, keepdim=True) + 0.1 * torch.randn(400, 1, generator=generator(1))
    found = []
    for scale in (1.0, 1000.0):
        torch.manual_seed(0)
        model = GaussianEnsemble(2, 1, members=2, elites=1, widths=(8,))
        model.fit(scale * x + scale, scale * y, generator(), max_epochs=3)
        with torch.no_grad():
            members = model(scale * x + scale)
        found.append((members.mean / scale, members.std / scale))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_the_same_generator_fits_the_same():
    """Equal seeds give equal bits, other seeds others; the global generator is not drawn from."""
    data, models = linear(300), []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model = Dynamics(2, 1, **TINY)
        before = torch.get_rng_state()
        model.fit(data, generator(seed), max_epochs=2)
        assert torch.equal(torch.get_rng_state(), before)
        models.append(model.state_dict())
    one, same, other = models
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["ensemble.weights.0"], other["ensemble.weights.0"])


def test_members_end_with_their_best_weights(monkeypatch):
    """Errors of the first and third epochs are the best of two members; the last is of no use."""
    model = GaussianEnsemble(1, 1, members=2, elites=1, widths=(4,))
    errors = iter([[1.0, 5.0], [0.995, 4.0], [3.0, 2.0], [9.0, 9.0], [9.0, 9.0]])
    kept = []

    def measure(data, rest):
        kept.append([w.detach().clone() for w in model.weights])
        return torch.tensor(next(errors))

    monkeypatch.setattr(model, "_errors", measure)
    x = torch.rand(20, 1, generator=generator())
    assert model.fit(x, x, generator(), patience=2, learning_rate=0.1) == 5
    for layer, weight in enumerate(model.weights):
        # One hundredth less is no improvement of the first member.
        assert torch.equal(weight[0], kept[0][layer][0])
        assert torch.equal(weight[1], kept[2][layer][1])
    assert model.elite.tolist() == [0]
    assert model.holdout.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, TrainingError])
def test_a_fit_that_is_broken_off_does_not_count(error, monkeypatch):
    """In its second epoch, also where another one had ended before; the next one counts."""
    model = GaussianEnsemble(1, 1, members=2, elites=1, widths=(4,))
    x = torch.rand(20, 1, generator=generator())

    def breaks_off(real):
        calls = iter([real])
        return lambda *data: next(calls, stop)(*data)

    def stop(*data):
        raise error

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(model, "_errors", breaks_off(model._errors))
            with pytest.raises(error):
                model.fit(x, x, generator())
        assert not model.fitted
        model.fit(x, x, generator(), max_epochs=2)
        assert model.fitted


def test_the_loss_by_hand():
    """One member, one layer of weights 0 and known biases: (μ−y)² e^{−v} + v, decay and bounds."""
    model = GaussianEnsemble(
        1, 1, flags=1, members=1, elites=1, widths=(1,), weight_decays=(0.0, 0.5)
    )
    with torch.no_grad():
        model.weights[0].zero_()
        model.weights[1].fill_(2.0)
        model.biases[1].copy_(torch.tensor([[[1.0, -1.0, 0.0]]]))
        model.low.fill_(-3.0)
        model.high.fill_(2.0)
    # Bounds by softplus: v = high − softplus(high − (−1)), then low + softplus(v − low).
    v = 2.0 - np.log1p(np.exp(3.0))
    v = -3.0 + np.log1p(np.exp(v + 3.0))
    rows = torch.zeros(1, 1, 1)
    found = model._loss(rows, torch.full((1, 1, 1), 3.0), torch.ones(1, 1, 1)).item()
    decay = 0.5 * 0.5 * 3 * 4.0
    assert found == pytest.approx(4 * np.exp(-v) + v + 0.01 * 5.0 + decay + np.log(2.0), rel=1e-6)


def test_decays():
    """The published ones for five layers, stretched over others, or given."""
    assert GaussianEnsemble(1, 1).weight_decays == DECAYS
    assert GaussianEnsemble(1, 1, widths=(4, 4)).weight_decays == (2.5e-5, 7.5e-5, 1e-4)
    with pytest.raises(ConfigurationError, match="must be 2 numbers"):
        GaussianEnsemble(1, 1, widths=(4,), weight_decays=(1e-4,))


def test_what_never_changes_is_predicted():
    """A constant input and a constant target do not divide by zero."""
    x = torch.cat([torch.rand(100, 1, generator=generator()), torch.ones(100, 1)], dim=1)
    model = GaussianEnsemble(2, 1, members=2, elites=1, widths=(8,))
    model.fit(x, torch.full((100, 1), 7.0), generator(), **FIT)
    assert model.mean(x).detach().numpy() == pytest.approx(7.0, abs=0.2)


@pytest.mark.parametrize(
    ("make", "fit", "message"),
    [
        ({"elites": 4}, {}, "elites = 4 must be at most members = 3"),
        ({"members": 0}, {}, "members"),
        ({"widths": ()}, {}, "widths"),
        ({}, {"batch_size": 0}, "batch_size"),
        ({}, {"patience": 0}, "patience"),
        ({}, {"max_epochs": 0}, "max_epochs"),
        ({}, {"learning_rate": 0.0}, "learning_rate"),
        ({}, {"improvement": 1.0}, "improvement"),
        ({}, {"holdout": 0.0}, "holdout"),
    ],
)
def test_options_outside_their_bounds(make, fit, message):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=message):
        GaussianEnsemble(1, 1, **TINY | make).fit(
            torch.rand(9, 1), torch.rand(9, 1), generator(), **fit
        )


def test_data_that_do_not_fit():
    """Other widths, a single row, and an error that is not finite."""
    model = GaussianEnsemble(2, 1, **TINY)
    with pytest.raises(ShapeError, match="targets"):
        model.fit(torch.rand(9, 2), torch.rand(9, 2), generator())
    with pytest.raises(ConfigurationError, match="1 rows are too few"):
        model.fit(torch.rand(1, 2), torch.rand(1, 1), generator())
    with pytest.raises(TrainingError, match="is not finite"):
        model.fit(torch.rand(9, 2), torch.full((9, 1), torch.inf), generator())
    assert not model.fitted


# ------------------------------------------------------------------ ends


@pytest.mark.parametrize("name", ["Hopper", "Walker2d", "Ant", "InvertedPendulum", "Humanoid"])
def test_rules_are_those_of_the_environments(name):
    """On random episodes of the environment itself; some of them end."""
    pytest.importorskip("mujoco")
    env = gymnasium.make(f"{name}-v5")
    env.action_space.seed(0)
    seen, ends = [], []
    for episode in range(5):
        env.reset(seed=episode)
        for _ in range(200):
            after, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seen.append(after)
            ends.append(terminated)
            if terminated or truncated:
                break
    found = RULES[name](torch.as_tensor(np.stack(seen)))
    assert found.tolist() == ends
    assert any(ends)
    assert not all(ends)


def test_who_says_where_episodes_end():
    """The environment's rule, what the data say, or what one asks for."""
    assert resolve("auto", "Hopper-v5", False) == "Hopper"
    assert resolve("auto", "Pendulum-v1", False) == NEVER
    assert resolve("auto", None, True) == LEARNT
    assert resolve("auto", "Ant-v2", True) == LEARNT
    assert resolve("never", "Hopper-v5", True) == NEVER
    with pytest.raises(ConfigurationError, match="termination = 'sometimes'"):
        resolve("sometimes", None, True)


def test_rules_in_a_model():
    """The rule is asked about the observation after the step."""
    torch.manual_seed(0)
    model = Dynamics(2, 1, **TINY, termination="InvertedPendulum")
    for parameter in model.ensemble.weights:
        parameter.data.zero_()
    states = torch.tensor([[9.0, 0.1], [0.0, -0.3]])
    assert model.mean(states, torch.zeros(2, 1)).terminated[:, 0].tolist() == [0.0, 1.0]
    never = Dynamics(2, 1, **TINY)
    assert never.mean(states, torch.zeros(2, 1)).terminated[:, 0].tolist() == [0.0, 0.0]
