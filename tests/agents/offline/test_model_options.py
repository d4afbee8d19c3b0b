"""Options of the agents that learn in a model: bounds, presets, and the classes they belong to."""

from __future__ import annotations

import pytest

from agents.algorithms import ALGORITHMS
from agents.offline.data import Source
from agents.train_options import preset, presets
from agents.training import load_agent, train
from simenv.errors import ConfigurationError
from simenv.registry import TASKS
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


# ------------------------------------------------------------------ limits of ogsrl


@pytest.fixture
def resolved(tmp_path, monkeypatch):
    """The options of a training on a dataset that was made in some environment."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    pendulum("pendulum/toy-v0", 1)

    def resolve(made_in, **options):
        source = Source("pendulum/toy-v0", made_in)
        monkeypatch.setattr("agents.offline.reading.source_of", lambda dataset: source)
        return ALGORITHMS["ogsrl"].options(dataset="pendulum/toy-v0", **options).resolved()

    return resolve


def test_limits_are_those_that_simenv_suggests(resolved):
    """Of every id with costs, unless another one is given; where it is evaluated does not count."""
    safe = {i: task.cost_limit for i, task in TASKS.items() if task.variant == "safe"}
    assert len(safe) > 10
    assert {i: resolved(i).cost_limit for i in safe} == safe
    walker = "simenv/SoftWalker2D-Safe-v0"
    assert resolved(walker, cost_limit=3.0).cost_limit == 3.0
    assert resolved(walker, id="simenv/SoftWalker2D-v0").cost_limit == safe[walker]
    assert resolved(walker, clone_from="cheap").clone_from == "cheap"
    for plain in ("Pendulum-v1", "simenv/SoftWalker2D-v0", None):
        assert resolved(plain).cost_limit is None
    assert resolved(None, id=walker).cost_limit is None


def test_cheap_episodes_need_a_limit(tmp_path, monkeypatch):
    """Refused where the dataset suggests none; nothing is written."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    pendulum("pendulum/toy-v0", 1)
    kind, out = ALGORITHMS["ogsrl"].options, tmp_path / "run"
    options = kind(dataset="pendulum/toy-v0", clone_from="cheap", out=out, **TINY)
    with pytest.raises(ConfigurationError, match="clone_from = 'cheap' needs a cost_limit"):
        train("ogsrl", options)
    assert not out.exists()


def test_ogsrl_takes_two_hundred_iterations():
    """After some more its budgets take all of the return (docs/agents/ogsrl.md)."""
    options = ALGORITHMS["ogsrl"].options(dataset="x-v0")
    assert options.steps == 200
    assert options.steps % options.eval_every == options.steps % options.save_every == 0
