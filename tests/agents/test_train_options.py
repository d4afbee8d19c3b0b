"""Options of `simenv train`: values outside their bounds are refused by name."""

from __future__ import annotations

import pytest

from agents import train_options
from agents.budgets import suggested_limit
from agents.train_options import (
    Train,
    TrainCAL,
    TrainFLAC,
    TrainSAC,
    TrainSACLag,
    TrainSACPID,
    presets,
)
from simenv.errors import ConfigurationError

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("kind", "option", "value", "bound"),
    [
        (Train, "learning_rate", 0.0, "above 0.0; its default is 0.001"),
        (Train, "learning_rate", NAN, "above 0.0"),
        (Train, "learning_rate", INF, "must be finite"),
        (Train, "gamma", 0.0, "above 0.0 and at most 1.0"),
        (Train, "gamma", 1.01, "above 0.0 and at most 1.0"),
        (Train, "tau", 0.0, "above 0.0 and at most 1.0"),
        (Train, "tau", 2.0, "above 0.0 and at most 1.0"),
        (Train, "n_steps", 0, "at least 1"),
        (Train, "net_arch", (), "widths of at least 1"),
        (Train, "net_arch", (64, 0), "widths of at least 1"),
        (TrainSAC, "munchausen", -0.1, "at least 0.0"),
        (TrainFLAC, "energy_budget", 0.0, "above 0.0"),
        (TrainCAL, "cost_limit", -1.0, "at least 0.0"),
        (TrainCAL, "cost_gamma", 1.5, "at most 1.0"),
        (TrainCAL, "cost_pessimism", -0.5, "at least 0.0"),
        (TrainCAL, "penalty", -1.0, "at least 0.0; its default is 10.0"),
        (TrainCAL, "dual_learning_rate", -1e-3, "at least 0.0"),
        (TrainCAL, "initial_multiplier", 0.0, "above 0.0"),
        (TrainSACLag, "dual_learning_rate", -1.0, "at least 0.0"),
        (TrainSACLag, "initial_multiplier", -1.0, "at least 0.0"),
        (TrainSACLag, "cost_window", 0, "at least 1"),
        (TrainSACPID, "cost_window", 0, "at least 1"),
        (TrainSACPID, "integral_gain", -1.0, "at least 0.0"),
        (TrainSACPID, "max_multiplier", NAN, "at least 0.0"),
    ],
)
def test_bounds(kind, option, value, bound):
    """The message names the option, its value and the bound."""
    with pytest.raises(ConfigurationError) as error:
        kind("Pendulum-v1", **{option: value})
    assert f"{option} = {value} must" in str(error.value)
    assert bound in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"gamma": 1.0, "tau": 1.0},
        {"cost_limit": 0.0, "cost_gamma": 1.0, "penalty": 0.0, "cost_pessimism": 0.0},
    ],
)
def test_bounds_that_may_be_reached(options):
    """A bound that is no exclusion is allowed."""
    kept = TrainCAL("Pendulum-v1", **options)
    assert all(getattr(kept, name) == value for name, value in options.items())


@pytest.mark.parametrize("word", ["auto_", "auto_x", "auto_0", "auto_-1", "auto_inf", "autos"])
def test_temperatures_that_mean_nothing(word):
    """A start value is a number above zero."""
    with pytest.raises(ConfigurationError, match=f"ent_coef = '{word}' must be auto, auto_X"):
        TrainSAC("Pendulum-v1", ent_coef=word)


@pytest.mark.parametrize("word", ["auto_auto", "-0.1", "nan", "inf", ""])
def test_fixed_temperatures_that_mean_nothing(word):
    """A fixed temperature is a number that is not negative."""
    with pytest.raises(ConfigurationError, match="a number of at least 0"):
        TrainSAC("Pendulum-v1", ent_coef=word)


@pytest.mark.parametrize(
    ("word", "value"), [("auto", "auto"), ("auto_0.1", "auto_0.1"), ("0.2", 0.2), ("0", 0.0)]
)
def test_temperatures(word, value):
    """Words go on as they are, numbers as numbers."""
    assert TrainSAC("Pendulum-v1", ent_coef=word).agent_arguments()["ent_coef"] == value


@pytest.mark.parametrize("kind", [TrainCAL, TrainSACLag, TrainSACPID])
def test_ids_without_costs_are_refused_at_once(kind):
    """The limit of a -Safe id is not taken for one that has no costs, whatever limit is given."""
    for options in ({}, {"cost_limit": 3.0}):
        with pytest.raises(ConfigurationError, match=r"no costs; take simenv/SoftWalker2D-Safe-v0"):
            kind("simenv/SoftWalker2D-v0", **options)
    safe = kind("simenv/SoftWalker2D-Safe-v0")
    assert safe.cost_limit == suggested_limit("simenv/SoftWalker2D-Safe-v0") > 0
    assert kind("simenv/SoftWalker2D-Safe-v0", cost_limit=3.0).cost_limit == 3.0
    assert kind("Pendulum-v1").cost_limit is None


def test_presets_are_within_bounds():
    """Every preset makes options."""
    kinds = {
        "sac": TrainSAC,
        "flac": TrainFLAC,
        "cal": TrainCAL,
        "saclag": TrainSACLag,
        "sacpid": TrainSACPID,
    }
    for algorithm in kinds:
        for task_id, options in presets()[algorithm].items():
            assert kinds[algorithm](task_id, **options).id == task_id


@pytest.mark.parametrize(
    ("algorithm", "name", "own", "familys"),
    [("cql", "steps", 10_000, 8_000), ("ogsrl", "eval_every", 40, 1_000)],
)
def test_an_algorithms_own_table_stands_before_its_familys(algorithm, name, own, familys):
    """What it says itself holds, what it does not say is the families', and others are left."""
    found = presets()
    assert found[algorithm]["Pendulum-v1"][name] == own
    assert found["td3bc"]["Pendulum-v1"][name] == familys
    assert found[algorithm]["Pendulum-v1"]["reward_scale"] == 0.1
    assert "families" not in found


@pytest.mark.parametrize("families_first", [True, False])
def test_the_order_of_tables_in_the_file_does_not_matter(families_first, tmp_path, monkeypatch):
    """An own table wins before and after that of its family."""
    tables = ['[pair."x"]\nsteps = 1\ntau = 2\n', '[sac."x"]\nsteps = 3\n']
    text = "".join(tables if families_first else tables[::-1])
    path = tmp_path / "presets.toml"
    path.write_text(f'[families]\npair = ["sac", "cal"]\n{text}')
    monkeypatch.setattr(train_options, "PRESETS", path)
    expected = {"sac": {"x": {"steps": 3, "tau": 2}}, "cal": {"x": {"steps": 1, "tau": 2}}}
    assert presets() == expected
