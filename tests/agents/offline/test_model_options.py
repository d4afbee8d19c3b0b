"""Options of the agents that learn in a model: bounds, presets, and the classes they belong to."""

from __future__ import annotations

import pytest

from agents.algorithms import ALGORITHMS
from agents.train_options import preset, presets
from agents.training import load_agent, train
from simenv.errors import ConfigurationError
from tests.agents.offline.sets import pendulum
from tests.agents.signatures import assert_same_defaults

KINDS = ("mopo", "mobile", "ogsrl")
TINY = {
    "model_members": 2,
    "model_elites": 2,
    "model_widths": (4,),
    "model_max_epochs": 1,
    "net_arch": (4,),
    "batch_size": 8,
    "eval_episodes": 1,
    "progress_bar": False,
}


@pytest.mark.parametrize("algorithm", KINDS)
def test_defaults_are_those_of_the_class(algorithm):
    """An option that is left out means the same in Python and on the command line."""
    row = ALGORITHMS[algorithm]
    assert_same_defaults(algorithm, row.options(dataset="x-v0"), *row.load().unused)


@pytest.mark.parametrize("algorithm", KINDS)
def test_presets_make_options(algorithm):
    """Every preset is known to its algorithm."""
    for name in presets()[algorithm]:
        ALGORITHMS[algorithm].options(dataset="x-v0", **preset(algorithm, name))


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_run(algorithm, tmp_path, monkeypatch):
    """From options to a run folder, and back to the agent."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    pendulum("pendulum/toy-v0")
    more = {"guardian_points": 300} if algorithm == "ogsrl" else {"rollout_batch": 20}
    kind = ALGORITHMS[algorithm].options
    options = kind(dataset="pendulum/toy-v0", steps=2, out=tmp_path / "run", **TINY | more)
    run = train(algorithm, options)
    assert run.metrics()["step"] == [0, 2]
    assert type(load_agent(run)).__name__.lower() == algorithm


@pytest.mark.parametrize(
    ("algorithm", "option"),
    [
        ("mopo", {"penalty": -1.0}),
        ("mopo", {"model_members": 0}),
        ("mopo", {"model_elites": 8}),
        ("mopo", {"model_max_epochs": 0}),
        ("mopo", {"model_widths": ()}),
        ("mopo", {"model_learning_rate": 0.0}),
        ("mopo", {"rollout_batch": 0}),
        ("mopo", {"temperature": -1.0}),
        ("mopo", {"actor_learning_rate": 0.0}),
        ("mopo", {"target_entropy": float("nan")}),
        ("mopo", {"real_ratio": 2.0}),
        ("mobile", {"penalty": -1.0}),
        ("mobile", {"penalty_samples": 0}),
        ("mobile", {"model_elites": 1}),
        ("ogsrl", {"rollouts": 0}),
        ("ogsrl", {"guardian_points": 1}),
        ("ogsrl", {"rollout_length": 0}),
        ("ogsrl", {"gamma": 0.0}),
        ("ogsrl", {"starts": "last"}),
        ("ogsrl", {"clone_from": "dear"}),
        ("ogsrl", {"clone_from": "cheap"}),
        ("ogsrl", {"clone_steps": -1}),
        ("ogsrl", {"initial_std": 0.0067}),
        ("ogsrl", {"initial_std": 7.4}),
        ("ogsrl", {"initial_std": float("nan")}),
        ("ogsrl", {"max_kl": 0.0}),
        ("ogsrl", {"search_steps": 0}),
        ("ogsrl", {"value_epochs": 0}),
        ("ogsrl", {"horizon": 0}),
        ("ogsrl", {"cost_limit": -1.0}),
        ("ogsrl", {"guardian_limit": 2.0}),
        ("ogsrl", {"guardian_share": 0.5}),
        ("ogsrl", {"guardian_bandwidth": 0.0}),
        ("ogsrl", {"gae_lambda": 2.0}),
        ("ogsrl", {"damping": -1.0}),
    ],
)
def test_options_outside_their_bounds(algorithm, option):
    """Each is refused by name, before anything is read."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        ALGORITHMS[algorithm].options(dataset="x-v0", **option)
