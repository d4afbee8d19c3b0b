"""Options of COCOA: bounds, defaults of each base, and the command line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents import cli
from agents.algorithms import ALGORITHMS
from agents.offline.cocoa import COCOA
from agents.offline.cocoa_options import TrainCOCOA
from agents.runs import Run
from agents.training import load_agent, train
from simenv.errors import ConfigurationError
from tests.agents.offline.sets import bandit, pendulum
from tests.agents.offline.test_cocoa import BASES, TINY, options_of


@pytest.mark.parametrize(
    "option",
    [
        {"base": "sac"},
        {"anchor_steps": -1},
        {"rank": 0},
        {"reverse_length": 0},
        {"transduction_arch": ()},
    ],
)
def test_options_outside_their_bounds(option):
    """Each is refused by name, in Python and as an option of the command."""
    name = next(iter(option))
    with pytest.raises(ConfigurationError, match=name):
        COCOA(bandit(10), **TINY | option)
    if name != "transduction_arch":  # there () means the default
        with pytest.raises(ConfigurationError, match=name):
            TrainCOCOA(dataset="x-v0", **option)


def test_options_of_the_command():
    """Those of other bases are refused, not passed on; defaults are those of the base."""
    chosen = TrainCOCOA(dataset="x-v0", base="iql", beta=5.0)
    arguments = chosen.agent_arguments()
    assert [arguments[k] for k in ("net_arch", "transduction_arch", "rank")] == [
        (100, 100),
        (64, 64),
        4,
    ]
    assert arguments["beta"] == 5.0
    assert "conservative_weight" not in arguments
    assert TrainCOCOA(dataset="x-v0").agent_arguments()["transduction_arch"] == (256, 256, 256)
    with pytest.raises(ConfigurationError, match="expectile is no option of base 'cql'"):
        TrainCOCOA(dataset="x-v0", expectile=0.9)
    with pytest.raises(ConfigurationError, match="conservative_weight is no option of base 'iql'"):
        TrainCOCOA(dataset="x-v0", base="iql", conservative_weight=1.0)


def test_every_option_of_a_base_is_one_of_the_command():
    """With the base's own default, its bounds, and no value for another base."""
    for base in BASES:
        theirs = ALGORITHMS[base].options(dataset="x-v0").agent_arguments()
        arguments = TrainCOCOA(dataset="x-v0", base=base).agent_arguments()
        usual = {name: arguments[name] for name in theirs.keys() - {"net_arch"}}
        assert usual == {name: theirs[name] for name in usual}
    assert TrainCOCOA(dataset="x-v0", base="mobile", penalty=2.0).agent_arguments()["penalty"] == 2
    again = replace(TrainCOCOA(dataset="x-v0", base="iql"), steps=5)
    assert again.rollout_length is None
    # A flag on top of a preset of another base.
    other = replace(TrainCOCOA(dataset="x-v0", base="iql"), base="cql").agent_arguments()
    assert (other["rank"], other["transduction_arch"]) == (32, (256, 256, 256))
    with pytest.raises(ConfigurationError, match=r"penalty is no option.*base mopo or mobile"):
        TrainCOCOA(dataset="x-v0", base="iql", penalty=0.5)
    with pytest.raises(ConfigurationError, match="rollout_batch is no option of base 'cql'"):
        TrainCOCOA(dataset="x-v0", rollout_batch=10)
    for option in ({"penalty": -1.0}, {"rollout_length": 0}, {"model_elites": 1}):
        with pytest.raises(ConfigurationError, match=next(iter(option))):
            TrainCOCOA(dataset="x-v0", base="mobile", **option)


def test_python_and_the_command_have_the_same_defaults():
    """Of each base, whose own options count too."""
    for base in BASES:
        model = COCOA(bandit(20), base=base, anchor_steps=0, **options_of(base))
        arguments = TrainCOCOA(dataset="x-v0", base=base, anchor_steps=0).agent_arguments()
        elsewhere = {"dataset", "device", "seed", "normalize", "termination"}
        for name in arguments.keys() - elsewhere - options_of(base).keys():
            if hasattr(model, name):
                assert getattr(model, name) == arguments[name], name


@pytest.mark.parametrize("base", ["cql", "iql", "mobile"])
def test_a_run_folder(base, tmp_path, monkeypatch):
    """Trained by the options of the command; what is loaded is the base on anchors."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    pendulum("pendulum/toy-v0", 1, ref_min_score=-1200.0, ref_max_score=-150.0)
    tiny = {k: v for k, v in TINY.items() if k != "seed"} | options_of(base)
    tiny |= {"eval_every": 5, "save_every": 5}
    options = TrainCOCOA(
        dataset="pendulum/toy-v0",
        base=base,
        steps=10,
        eval_episodes=1,
        progress_bar=False,
        out=tmp_path / "run",
        **tiny,
    )
    run = train("cocoa", options)
    assert ALGORITHMS["cocoa"].load() is COCOA
    assert Run(run.path).config["base"] == base
    assert run.metrics()["step"] == [0, 5, 10]
    agent = load_agent(run)
    assert isinstance(agent, BASES[base])
    assert agent.seeker.fitted


# ------------------------------------------------------------------ by words


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """The options that words make, of a training on Pendulum-v1 that is not begun."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    monkeypatch.setattr("agents.training.train", lambda name, options: made.append(options))
    monkeypatch.setattr(cli, "_finished", lambda run: None)
    pendulum("pendulum/toy-v0", 1)
    made: list[TrainCOCOA] = []

    def choose(*words: str) -> TrainCOCOA:
        assert cli.main(["train", "cocoa", "--dataset", "pendulum/toy-v0", *words]) == 0
        return made[-1]

    return choose


def refused(capsys, *words: str) -> str:
    """What is said to words that do not go together."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "cocoa", "--dataset", "pendulum/toy-v0", *words])
    assert caught.value.code == 2
    return " ".join(capsys.readouterr().err.split())


def test_flags_are_those_of_the_base_of_the_preset(chosen, capsys):
    """Pendulum's preset has IQL: its flags pass without --base, and CQL's are refused."""
    options = chosen("--beta", "2")
    assert (options.base, options.beta, options.steps) == ("iql", 2.0, 8_000)
    assert "num_samples is no option of base 'iql'" in refused(capsys, "--num-samples", "5")


def test_flags_are_those_of_the_base_that_is_named(chosen, capsys):
    """Wherever it is named, before them or behind; the preset's own base has no say then."""
    options = chosen("--num-samples", "5", "--base", "cql")
    assert (options.base, options.num_samples) == ("cql", 5)
    assert chosen("--base=mopo", "--penalty", "2").penalty == 2.0
    message = refused(capsys, "--base", "cql", "--beta", "2")
    assert "beta is no option of base 'cql'" in message
