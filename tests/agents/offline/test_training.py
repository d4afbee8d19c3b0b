"""Training from a dataset by the command line: run folders, resume, scores and curves."""

from __future__ import annotations

import csv
import json
import shutil
import signal

import gymnasium
import pytest

from agents import cli
from agents.algorithms import ALGORITHMS
from agents.options import Resume
from agents.runs import Run
from agents.train_options import preset, presets
from agents.training import Trainer, load_agent, resume, train
from simenv.errors import CheckpointError, DatasetError, UnknownTaskError
from tests.agents.offline.sets import episode, pendulum, write

OFFLINE = ("bc", "td3bc", "iql", "cql")
TINY = {
    "dataset": "pendulum/toy-v0",
    "steps": 40,
    "batch_size": 8,
    "net_arch": (8,),
    "eval_every": 16,
    "eval_episodes": 2,
    "save_every": 8,
    "progress_bar": False,
    "seed": 3,
}


@pytest.fixture(scope="module", autouse=True)
def root(tmp_path_factory):
    """A home for datasets, with one of Pendulum-v1."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("datasets")
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        pendulum("pendulum/toy-v0", ref_min_score=-1200.0, ref_max_score=-150.0)
        write("toys/bare-v0", [episode(0), episode(1)])
        yield folder


def options(algorithm: str, out, **changes):
    """Options of a training of a second."""
    return ALGORITHMS[algorithm].options(**TINY | changes, out=out)


@pytest.fixture(scope="module", params=OFFLINE)
def whole(request, tmp_path_factory) -> tuple[str, Run]:
    """An algorithm and an uninterrupted run of it."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, train(request.param, options(request.param, out))


def content(run: Run) -> dict[str, bytes]:
    """Metrics without the clock, and the files of its checkpoints."""
    with (run.path / "metrics.csv").open() as stream:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]
    files = {
        f"{folder.name}/{file.name}": file.read_bytes()
        for folder in run.checkpoints()
        for file in folder.glob("*.safetensors")
    }
    return files | {"metrics": json.dumps(rows).encode()}


def test_a_run_folder(whole):
    """Config with the dataset's environment and reference, metrics by updates, two checkpoints."""
    algorithm, run = whole
    assert (run.config["id"], run.config["reference"]) == ("Pendulum-v1", [-1200.0, -150.0])
    metrics = run.metrics()
    assert metrics["step"] == [0, 16, 32, 40]
    scores = [100 * (r + 1200) / 1050 for r in metrics["return_mean"]]
    assert metrics["score"] == pytest.approx(scores)
    losses = metrics["actor_loss"]
    assert str(losses[0]) == "nan"
    assert len(set(losses[1:])) == 3
    assert [folder.name for folder in run.checkpoints()] == ["step-0000000032", "step-0000000040"]
    agent = load_agent(run)
    assert type(agent).__name__.lower() == algorithm


@pytest.mark.parametrize("at", [5, 21, 32])
def test_resume_equals_the_uninterrupted_run(whole, tmp_path, monkeypatch, at):
    """Killed before the first checkpoint, between two, and at an evaluation: the same bits."""
    algorithm, run = whole
    beat = Trainer._on_rollout_start

    def dies(trainer):
        if trainer.num_timesteps >= at:
            raise MemoryError("killed")
        beat(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_on_rollout_start", dies)
        with pytest.raises(MemoryError):
            train(algorithm, options(algorithm, tmp_path / "run"))
    again = resume(Resume(tmp_path / "run", progress_bar=False))
    assert content(again) == content(run)


def test_an_interrupt_saves_first(tmp_path, monkeypatch):
    """After SIGINT the update is finished and saved; the run goes on to the same end."""
    added = Trainer._on_rollout_start

    def interrupted(trainer):
        if trainer.num_timesteps == 11:
            trainer.interruption.signal = signal.SIGINT
        added(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_on_rollout_start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train("bc", options("bc", tmp_path / "run"))
    run = Run(tmp_path / "run")
    assert run.checkpoints()[-1].name == "step-0000000011"
    assert resume(Resume(run.path, progress_bar=False)).metrics()["step"][-1] == 40


def test_a_dataset_that_changed_is_refused(tmp_path, root):
    """A run does not go on from other data under the same name."""
    pendulum("pendulum/other-v0", 2)
    run = train("bc", options("bc", tmp_path / "run", dataset="pendulum/other-v0", steps=8))
    shutil.rmtree(root / "pendulum" / "other-v0")
    pendulum("pendulum/other-v0", 3)
    with pytest.raises(CheckpointError, match="belongs to another dataset"):
        resume(Resume(run.path, steps=16, progress_bar=False))


def test_without_an_environment(tmp_path, capsys):
    """Losses are noted, nothing is evaluated; `evaluate` says what is missing."""
    run = train("iql", options("iql", tmp_path / "run", dataset="toys/bare-v0"))
    assert run.config["id"] is None
    assert {"step", "seconds", "actor_loss", "critic_loss", "value_loss"} == set(run.metrics())
    assert cli.main(["evaluate", str(run.path)]) == 2
    assert "no environment to be evaluated in; train it with --id" in capsys.readouterr().err
    picture = tmp_path / "losses.png"
    plotted = ["plot", str(run.path), "--metric", "critic_loss", "--out", str(picture)]
    assert cli.main(plotted) == 0
    assert picture.stat().st_size > 0


def test_an_environment_that_is_not_installed_here(tmp_path, monkeypatch):
    """Learning does without it, with a warning; another one may be named."""
    with monkeypatch.context() as patch:
        patch.delitem(gymnasium.registry, "Pendulum-v1")
        with pytest.warns(RuntimeWarning, match="Pendulum-v1.* is not registered here"):
            run = train("bc", options("bc", tmp_path / "run"))
    assert run.config["id"] is None
    assert "return_mean" not in run.metrics()


def test_nothing_is_written_for_what_cannot_be(tmp_path):
    """An unknown dataset, an unknown id, and spaces that do not fit."""
    out = tmp_path / "run"
    with pytest.raises(DatasetError, match="no dataset 'none-v0'"):
        train("bc", options("bc", out, dataset="none-v0"))
    with pytest.raises(UnknownTaskError):
        train("bc", options("bc", out, id="Nowhere-v0"))
    with pytest.raises(DatasetError, match="does not fit the environment"):
        train("bc", options("bc", out, id="MountainCarContinuous-v0"))
    assert not out.exists()


# ------------------------------------------------------------------ the command line


def words(*more: str, out) -> list[str]:
    """A training of a second, as words."""
    given = {k: v for k, v in TINY.items() if k not in ("net_arch", "progress_bar")}
    flags = [w for k, v in given.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    return [
        "train",
        "iql",
        *flags,
        "--net-arch",
        "8",
        "--no-progress-bar",
        "--out",
        str(out),
        *more,
    ]


def test_train_evaluate_plot_and_resume(tmp_path, capsys):
    """The whole way by the command line."""
    out = tmp_path / "run"
    assert cli.main(words(out=out)) == 0
    assert cli.main(["evaluate", str(out), "--episodes", "2"]) == 0
    table = capsys.readouterr().out
    assert "score" in table
    row = json.loads((out / "evaluation.json").read_text())["iql"]
    assert row["score"] == pytest.approx(100 * (row["return_mean"] + 1200) / 1050)
    picture = tmp_path / "curves.png"
    assert cli.main(["plot", str(out), "--metric", "score", "--out", str(picture)]) == 0
    assert picture.stat().st_size > 0
    assert cli.main(["train", "--resume", str(out), "--steps", "48", "--no-progress-bar"]) == 0
    assert Run(out).metrics()["step"][-1] == 48


def test_what_comes_next_is_what_the_run_can_do(tmp_path, capsys):
    """Gymnasium's ids are not recorded by simenv; without an environment nothing is played."""
    out = tmp_path / "run"
    assert cli.main(words(out=out)) == 0
    assert capsys.readouterr().out == (
        f"finished: {out}\nnext: simenv evaluate {out}; simenv plot {out}\n"
    )
    assert cli.main(["plot", str(out), "--out", str(tmp_path / "curves.png")]) == 0
    capsys.readouterr()
    bare = tmp_path / "bare"
    assert cli.main([*words(out=bare), "--dataset", "toys/bare-v0"]) == 0
    assert capsys.readouterr().out == f"finished: {bare}\n"


@pytest.mark.parametrize(
    ("given", "hints"),
    [
        (["Pendulum-v1"], ["--dataset NAME", "simenv dataset make Pendulum-v1"]),
        (["--steps", "3", "Pendulum-v1"], ["--dataset NAME", "without Pendulum-v1"]),
        (["pendulum/toy-v0"], ["--dataset pendulum/toy-v0"]),
    ],
)
def test_an_id_instead_of_a_dataset(given, hints, capsys):
    """The answer says what is learnt from, and how it is named."""
    assert cli.main(["train", "bc", *given]) == 2
    message = capsys.readouterr().err
    assert message.startswith("simenv: bc learns from a dataset, not in an environment")
    assert all(hint in message for hint in hints)


def test_presets_of_the_datasets_environment_and_flags_over_them(tmp_path):
    """The dataset names Pendulum-v1, whose preset holds unless a flag says otherwise."""
    made = cli._train_options("iql", ALGORITHMS["iql"].options, ["--dataset", "pendulum/toy-v0"])
    assert made.steps == presets()["iql"]["Pendulum-v1"]["steps"]
    assert made.reward_scale == 0.1
    flags = ["--dataset", "pendulum/toy-v0", "--reward-scale", "0.5"]
    assert cli._train_options("iql", ALGORITHMS["iql"].options, flags).reward_scale == 0.5


def test_a_misspelt_flag_is_answered_with_the_right_one(capsys):
    """As everywhere else."""
    with pytest.raises(SystemExit):
        cli.main(["train", "iql", "--dataset", "pendulum/toy-v0", "--expectil", "0.8"])
    assert "--expectile" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--expectile", "1.0"], "expectile = 1.0 must be finite and above 0.0 and below 1.0"),
        (["--gamma", "2"], "gamma = 2.0"),
        (["--net-arch", "0"], "net_arch"),
        (["--reference", "3", "3"], "two finite returns, the lower one first"),
        (["--dataset", "none-v0"], "no dataset 'none-v0' in"),
    ],
)
def test_bad_options(flags, message, capsys):
    """Exit code 2 and the reason, in tyro's words or ours."""
    try:
        code = cli.main(["train", "iql", "--dataset", "pendulum/toy-v0", *flags])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("algorithm", OFFLINE)
def test_presets_make_options(algorithm):
    """Every preset is known to its algorithm."""
    for name in presets()[algorithm]:
        ALGORITHMS[algorithm].options(dataset="x-v0", **preset(algorithm, name))
