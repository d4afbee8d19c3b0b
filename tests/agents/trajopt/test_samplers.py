"""Samplers: they find what has a known answer, and propose what their papers say."""

from __future__ import annotations

import math

import pytest
import torch

from agents.trajopt.cbo import CBO
from agents.trajopt.cmaes import CMAES
from agents.trajopt.samplers import CEM, ICEM, MPPI, Sampler, colored
from simenv.errors import ConfigurationError, ShapeError

T, A = 6, 2
SMALL = {
    "cem": lambda **o: CEM(T, A, **{"population": 60, "elites": 10} | o),
    "icem": lambda **o: ICEM(T, A, **{"population": 60, "elites": 10} | o),
    "mppi": lambda **o: MPPI(T, A, **{"population": 200, "temperature": 0.02, "std": 0.1} | o),
    "cbo": lambda **o: CBO(T, A, **{"low": -1.0, "high": 1.0} | o),
    "cmaes": lambda **o: CMAES(T, A, **{"population": 16} | o),
}


def bowl(plans: torch.Tensor) -> torch.Tensor:
    """Squared distance (N,) from 0.5, summed."""
    return (plans - 0.5).square().sum(dim=(1, 2))


def rastrigin(plans: torch.Tensor) -> torch.Tensor:
    """Σ x² + 2.5 (1 − cos 2πx), the benchmark of CBO's authors."""
    x = plans.flatten(1).double()
    return (x.square() + 2.5 * (1 - torch.cos(2 * math.pi * x))).sum(dim=1)


def ackley(plans: torch.Tensor) -> torch.Tensor:
    """Ackley's function."""
    x = plans.flatten(1).double()
    ridge = torch.cos(2 * math.pi * x).mean(dim=1).exp()
    return -20 * torch.exp(-0.2 * x.square().mean(dim=1).sqrt()) - ridge + 20 + math.e


def run(sampler: Sampler, costs, iterations: int) -> Sampler:
    """Ask and tell so often."""
    for _ in range(iterations):
        sampler.tell(costs(sampler.ask()))
    return sampler


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", SMALL)
def test_the_bottom_of_a_bowl(name):
    """Within 0.05 of it in every one of twelve numbers on average, from 0.5 away."""
    found = run(SMALL[name](), bowl, 400)
    assert found.plan.shape == (T, A)
    assert bowl(found.plan[None]) < 12 * 0.05**2
    assert found.best_cost <= float(bowl(found.best[None])) + 1e-6


@pytest.mark.parametrize("name", SMALL)
def test_equal_seeds_ask_equally(name):
    """And others otherwise; plans stay within their bounds."""
    one, same, other = (run(SMALL[name](seed=s), bowl, 3) for s in (1, 1, 2))
    assert torch.equal(one.ask(), same.ask())
    assert not torch.equal(one.ask(), other.ask())
    wide = {"mppi": {"std": 5.0}}.get(name, {"initial_std": 5.0})
    plans = SMALL[name](low=-0.25, high=0.5, **wide).ask()
    assert plans.min() == -0.25
    assert plans.max() == 0.5


@pytest.mark.parametrize("name", SMALL)
def test_costs_that_are_not_finite_are_the_worst(name):
    """Half of the plans are worth nothing; the others still lead to the bottom of the bowl."""

    def holed(plans):
        return torch.where(plans[:, 0, 0] < 0, torch.nan, bowl(plans))

    found = run(SMALL[name](), holed, 400)
    assert bool(torch.isfinite(found.plan).all())
    assert bowl(found.plan[None]) < 12 * 0.05**2
    assert math.isfinite(found.best_cost)


@pytest.mark.parametrize("name", SMALL)
def test_one_step_later(name):
    """What was planned for a step is planned for the one before; the best seen is forgotten."""
    ramp = torch.linspace(-0.6, 0.6, T)[:, None].expand(T, A)
    costs = lambda plans: (plans - ramp).square().sum(dim=(1, 2))  # noqa: E731
    found = run(SMALL[name](), costs, 50)
    # The best plan seen goes with its step; what is searched around stays.
    before = found.mean
    found.shift()
    assert found.best is None
    assert math.isinf(found.best_cost)
    torch.testing.assert_close(found.mean[:-1], before[1:])
    assert found.ask().shape[1:] == (T, A)


@pytest.mark.parametrize("name", SMALL)
def test_no_infinity_is_the_best(name):
    """Minus infinity is as bad as any; where nothing is finite the search stays where it was."""
    sampler = run(SMALL[name](), bowl, 3)
    costs = bowl(sampler.ask())
    costs[0], best = -math.inf, sampler.best_cost
    sampler.tell(costs)
    assert sampler.best_cost == min(best, float(costs[1:].min()))
    before = sampler.plan.clone()
    sampler.tell(torch.full((len(sampler.ask()),), torch.nan))
    assert torch.equal(sampler.plan, before)


@pytest.mark.parametrize("name", SMALL)
def test_what_failed_is_not_asked_again(name):
    """Where all costs are NaN others are drawn: the same ones would fail again."""
    sampler = SMALL[name]()
    asked = sampler.ask().clone()
    sampler.tell(torch.full((len(asked),), torch.nan))
    assert not (sampler.ask() == asked).all(dim=(1, 2)).any()


@pytest.mark.parametrize("name", ["cem", "icem", "cmaes"])
def test_the_scale_of_costs_does_not_matter(name):
    """Bit by bit, for a power of two; plans are drawn beyond the bounds, and some fail."""

    def far(scale):
        def costs(plans):
            apart = scale * (plans - 0.95).square().sum(dim=(1, 2)).double()
            return apart.masked_fill(plans[:, 0, 0] < -0.9, torch.nan)

        return costs

    one, small = (run(SMALL[name](), far(scale), 60) for scale in (1.0, 2.0**-13))
    assert torch.equal(one.ask(), small.ask())


def test_another_number_of_costs_is_refused():
    """With both numbers."""
    sampler = SMALL["cem"]()
    sampler.ask()
    with pytest.raises(ShapeError, match="costs"):
        sampler.tell(torch.zeros(7))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CEM(0, 1), "steps"),
        (lambda: CEM(1, 0), "actions"),
        (lambda: CEM(1, 1, population=0), "population"),
        (lambda: CEM(1, 1, population=5, elites=6), "elites = 6"),
        (lambda: CEM(1, 1, initial_std=0.0), "initial_std"),
        (lambda: CEM(1, 1, smoothing=1.0), "smoothing"),
        (lambda: CEM(1, 1, low=1.0, high=1.0), "low"),
        (lambda: ICEM(1, 1, decay=0.5), "decay"),
        (lambda: ICEM(1, 1, population=19), "population = 19 .* twice elites = 10"),
        (lambda: ICEM(1, 1, keep=1.5), "keep"),
        (lambda: ICEM(1, 1, color=-1.0), "color"),
        (lambda: ICEM(1, 1, iterations=0), "iterations"),
        (lambda: MPPI(1, 1, temperature=0.0), "temperature"),
        (lambda: MPPI(1, 1, std=0.0), "std"),
        (lambda: CBO(1, 1, population=0), "population"),
        (lambda: CBO(1, 1, drift=0.0), "drift"),
        (lambda: CBO(1, 1, diffusion=-1.0), "diffusion"),
        (lambda: CBO(1, 1, noise_kind="pink"), "noise_kind"),
        (lambda: CMAES(1, 1, population=2), "population"),
        (lambda: CMAES(1, 1, initial_std=-1.0), "initial_std"),
    ],
)
def test_options_outside_their_bounds(make, words):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=words):
        make()


# ------------------------------------------------------------------ each of them


def test_cem_moves_to_its_elites():
    """Mean and deviation of the two least, a tenth of the old ones kept."""
    cem = CEM(1, 1, population=4, elites=2, low=-10.0, high=10.0)
    cem._asked = torch.tensor([1.0, 5.0, 3.0, 9.0]).reshape(4, 1, 1)
    cem.tell(torch.tensor([0.0, 1.0, 0.5, 2.0]))
    assert float(cem.mean) == pytest.approx(0.9 * 2.0)
    assert float(cem.std) == pytest.approx(0.1 * 5.0 + 0.9 * 1.0)


def test_icem_asks_as_its_paper_says():
    """Fewer plans each time, elites that stay, and the mean in the last iteration."""
    icem = ICEM(T, A, population=40, elites=10, iterations=3)
    sizes, last = [], None
    for _ in range(3):
        plans = icem.ask()
        sizes.append(len(plans))
        if last is not None:
            # The three best of ten elites of the iteration before are among the plans.
            kept = last[0][last[1].argsort()[:3]]
            assert all((plans == plan).all(dim=(1, 2)).any() for plan in kept)
        last = plans, bowl(plans)
        mean = icem.mean.clamp(-1, 1)
        icem.tell(last[1])
    assert sizes == [40, 32 + 3, 26 + 3 + 1]
    assert (last[0] == mean).all(dim=(1, 2)).any()
    assert torch.equal(icem.plan, icem.best)


def test_icem_keeps_elites_one_step_later():
    """They are asked for again, shifted by a step; their last action is drawn anew."""
    icem = run(ICEM(T, A, population=40, elites=10, keep=0.3), bowl, 1)
    kept = icem._kept.clone()
    assert len(kept) == 3
    icem.shift()
    plans = icem.ask()
    # The population is a first one again, and the elites follow it.
    assert len(plans) == 40 + 3
    assert torch.equal(plans[40:, :-1], kept[:, 1:])
    last = plans[40:, -1]
    assert len(last.unique(dim=0)) == 3
    assert not torch.isclose(last, kept[:, -1]).any()


def test_mppi_weighs_by_costs():
    """w ∝ exp(−C/λ): 1 and e⁻² at λ = ½ for costs 0 and 1."""
    mppi = MPPI(1, 1, population=2, temperature=0.5, low=-10.0, high=10.0)
    mppi._asked = torch.tensor([2.0, 4.0]).reshape(2, 1, 1)
    mppi.tell(torch.tensor([0.0, 1.0]))
    share = math.exp(-2) / (1 + math.exp(-2))
    assert float(mppi.mean) == pytest.approx(2.0 + 2.0 * share)


@pytest.mark.parametrize("color", [0.0, 1.0, 3.0])
def test_the_power_of_coloured_noise(color):
    """Unit variance, and a spectrum that falls as 1/f^β.

    A mean of 4,000 squares is known to 1/√2000 = 2.2 %; five of these.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = colored(torch.randn(4_000, 32, 1, generator=generator), color)[:, :, 0]
    assert float(drawn.var()) == pytest.approx(1.0, rel=0.15)
    power = torch.fft.rfft(drawn, dim=1).abs().square().mean(dim=0)
    for f in (2, 4, 8):
        assert float(power[f] / power[1]) == pytest.approx(f**-color, rel=0.11 * 2)


@pytest.mark.parametrize("cost", [rastrigin, ackley])
def test_cbo_finds_the_bottom_among_many(cost):
    """In twenty dimensions, with the published settings: 20 of 20 seeds below 0.8."""
    found = []
    for seed in range(20):
        cbo = CBO(1, 20, population=100, initial_mean=2.0, initial_std=4.0, seed=seed)
        found.append(float(cost(run(cbo, cost, 2_000).plan[None])))
    assert max(found) < 0.8


def test_isotropic_noise_has_the_size_of_the_distance():
    """With λ = 0 drift nearly none, all coordinates are shaken alike."""
    options = {"drift": 1e-9, "diffusion": 1.0, "time_step": 1.0, "inverse_temperature": 1e6}
    for kind, still in (("anisotropic", True), ("isotropic", False)):
        cbo = CBO(1, 2, population=500, noise_kind=kind, **options)
        plans = torch.zeros(500, 1, 2)
        plans[1:, 0, 0] = 3.0
        cbo._asked = plans
        cbo.tell(plans[:, 0, 0])
        moved = cbo.particles[1:, 0] - plans[1:, 0]
        # 499 draws of deviation 3: known to 3/√998 = 0.1.
        assert float(moved[:, 0].std()) == pytest.approx(3.0, abs=0.5)
        assert float(moved[:, 1].std()) == pytest.approx(0.0 if still else 3.0, abs=0.5)


@pytest.mark.parametrize("name", ["cem", "icem"])
def test_no_plan_without_a_cost_is_an_elite(name):
    """With fewer finite costs than elites, the distribution moves to those that there are."""
    sampler = SMALL[name]()
    plans = sampler.ask()
    costs = torch.full((len(plans),), torch.inf)
    costs[7] = 1.0
    sampler.tell(costs)
    torch.testing.assert_close(sampler.mean, 0.9 * plans[7])
