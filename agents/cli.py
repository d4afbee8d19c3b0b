"""The command line: `simenv VERB …`. Heavy modules are imported by the verb that needs them."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from agents.interruption import Terminated
from simenv.errors import SimenvError

Options = TypeVar("Options")

HELP = ("-h", "--help")
USAGE = """usage: simenv VERB [options]

  list                  tasks, their spaces and what is to be done
  optimise ID           a gait or a plan, by gradients through the simulator or by sampling
  identify ID           parameters of a material from a trajectory
  train ALGORITHM ID    an agent (`simenv train --help`); `--resume RUN` goes on with one,
                        `--dataset NAME` instead of ID learns from a dataset
  evaluate RUN…         score runs against random actions
  plot RUN…             learning curves as a picture
  record RUN            an episode as GIF and MP4, with `--demo` as a demonstration to imitate
  dataset make ID       an offline dataset; `dataset list | info | check` keep them
  baseline [ID…]        action sequences that do each task, with scores
  gallery [ID…]         a page, a GIF and a thumbnail per task
  bench                 measure speed on this machine
  validate [CASE…]      physics against theory and experiment

`simenv VERB --help` lists a verb's options.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: its own, 2 for bad input."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in HELP:
        print(USAGE, end="")
        return 0 if words else 2
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _choose("verb", words[0], VERBS)(words[1:]) or 0
    except (SimenvError, OSError) as error:
        print(f"simenv: {error}", file=sys.stderr)
        return 2
    except Terminated:
        print("simenv: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("simenv: interrupted", file=sys.stderr)
        return 130


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _choose(kind: str, name: str, known: dict[str, Any]) -> Any:
    """The entry of a name, or exit with the nearest ones."""
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
    raise SimenvError(f"unknown {kind} {name!r}; {hint}")


def _parse(options: type[Options], verb: str, words: list[str]) -> Options:
    import tyro

    return tyro.cli(options, prog=f"simenv {verb}", args=words)


def _list(words: list[str]) -> None:

    if words and words[0] in HELP:
        print("usage: simenv list\n\nPrint every task with its spaces and what is to be done.")
        return
    if words:
        raise SimenvError(f"'simenv list' takes no arguments, got {' '.join(words)}")
    from simenv.listing import table

    print(table())


def _optimise(words: list[str]) -> None:
    from agents.optimise_options import Optimise

    options = _parse(Optimise, "optimise", words)
    from agents.optimise import run_optimise

    _finished(run_optimise(options))


def _identify(words: list[str]) -> None:
    from agents.options import Identify

    options = _parse(Identify, "identify", words)
    from agents.identification.command import run_identify

    run, table = run_identify(options)
    print(f"{table}\nfinished: {run.path}")
    print(f"next: simenv plot {run.path}")


def _train(words: list[str]) -> None:
    from agents.algorithms import ALGORITHMS

    if words and words[0] in HELP:
        print("usage: simenv train ALGORITHM ID [options]")
        print("       simenv train ALGORITHM --dataset NAME [options]")
        print("       simenv train --resume RUN\n")
        print("\n".join(f"  {name:<8} {row.summary}" for name, row in ALGORITHMS.items()))
        print("\n'simenv train sac --help' lists the options of one.")
        return
    if words and words[0] == "--resume":
        _resume(words[1:])
        return
    if not words or words[0].startswith("-"):
        raise SimenvError(f"'simenv train' needs an algorithm: {', '.join(ALGORITHMS)}")
    algorithm = _choose("algorithm", words[0], ALGORITHMS)
    options = _train_options(words[0], algorithm.options, words[1:])
    from agents.training import train

    _finished(train(words[0], options))


def _train_options(name: str, kind: Any, words: list[str]) -> Any:
    """Options of an algorithm; those of the id's preset stand where no flag says otherwise."""
    import tyro

    from agents.offline.options import TrainOffline
    from agents.train_options import preset

    if issubclass(kind, TrainOffline):
        return _offline_options(name, kind, words)
    # The id is needed first, so that its preset can fill in the defaults of everything else.
    if words and not words[0].startswith("-"):
        task_id, words = words[0], words[1:]
    else:
        task_id = tyro.cli(kind, prog=f"simenv train {name}", args=words).id
    default = kind(task_id, **preset(name, task_id))
    return tyro.cli(kind, prog=f"simenv train {name} ID", args=words, default=default)


def _offline_options(name: str, kind: Any, words: list[str]) -> Any:
    """Options of an algorithm that learns from a dataset: presets of its id, then of its name."""
    import tyro

    from agents.offline.options import TrainOffline
    from agents.options import Named
    from agents.train_options import preset

    prog = f"simenv train {name}"
    if set(HELP) & set(words):
        return tyro.cli(kind, prog=prog, args=words)
    # By itself: whether the other flags go together is for the preset to say as well.
    first, rest = tyro.cli(Named, prog=prog, args=words, return_unknown_args=True)
    _refuse_positional(name, words[:1], rest)
    if first.dataset is None:
        return tyro.cli(kind, prog=prog, args=words)
    task_id = TrainOffline(dataset=first.dataset, id=first.id).resolved().id
    chosen = preset(name, task_id) | preset(name, first.dataset)
    return tyro.cli(kind, prog=prog, args=words, default=kind(dataset=first.dataset, **chosen))


def _refuse_positional(name: str, first: list[str], rest: list[str]) -> None:
    """Say what to write instead of an id, or a name, in front; or of an id among other words."""
    import gymnasium

    from simenv.registry import TASKS

    about = f"{name} learns from a dataset, not in an environment"
    known = {*TASKS, *gymnasium.registry}
    for word in [w for w in rest if w in known]:
        raise SimenvError(
            f"{about}: 'simenv train {name} --dataset NAME', without {word}; 'simenv dataset list' "
            f"shows the names, 'simenv dataset make {word} --split random' makes one"
        )
    if first and not first[0].startswith("-"):
        raise SimenvError(f"{about}: its name follows a flag, --dataset {first[0]}")


def _resume(words: list[str]) -> None:
    from agents.options import Resume

    options = _parse(Resume, "train --resume", words)
    from agents.training import resume

    _finished(resume(options))


def _evaluate(words: list[str]) -> None:
    from agents.options import Evaluate

    options = _parse(Evaluate, "evaluate", words)
    from agents.evaluation import evaluate

    print(evaluate(options))


def _plot(words: list[str]) -> None:
    from agents.options import Plot

    options = _parse(Plot, "plot", words)
    from agents.plots import plot

    print(f"wrote {plot(options)}")


def _record(words: list[str]) -> None:
    from agents.options import Record

    options = _parse(Record, "record", words)
    from agents.recording import record

    for path in record(options):
        print(f"wrote {path}")


def _dataset(words: list[str]) -> int:
    if words and words[0] in HELP:
        print("usage: simenv dataset {" + "|".join(DATASET_VERBS) + "} [options]")
        return 0
    if not words or words[0].startswith("-"):
        raise SimenvError(f"'simenv dataset' needs a verb: {', '.join(DATASET_VERBS)}")
    return _choose("dataset verb", words[0], DATASET_VERBS)(words[1:]) or 0


def _dataset_make(words: list[str]) -> None:
    from agents.options import MakeDataset

    options = _parse(MakeDataset, "dataset make", words)
    from agents.datasets.making import make
    from agents.datasets.names import root

    folder = make(options)
    name = folder.relative_to(root()).as_posix()
    print(f"wrote {folder}\nnext: simenv dataset info {name}")


def _dataset_list(words: list[str]) -> None:
    from agents.options import ListDatasets

    _parse(ListDatasets, "dataset list", words)
    from agents.datasets.listing import table

    print(table())


def _dataset_info(words: list[str]) -> None:
    from agents.options import ShowDataset

    options = _parse(ShowDataset, "dataset info", words)
    from agents.datasets.listing import describe

    print(describe(options.name))


def _dataset_check(words: list[str]) -> int:
    from agents.options import CheckDatasets

    options = _parse(CheckDatasets, "dataset check", words)
    from agents.datasets.checks import check
    from agents.datasets.names import local_names

    sound, names = True, local_names() if options.all else options.names
    for name in names:
        problems = check(name)
        sound &= not problems
        print("\n".join(map(str, problems)) or f"{name}: sound")
    return 0 if sound else 1


DATASET_VERBS: dict[str, Callable[[list[str]], int | None]] = {
    "make": _dataset_make,
    "list": _dataset_list,
    "info": _dataset_info,
    "check": _dataset_check,
}


def _baseline(words: list[str]) -> None:
    from agents.options import MakeBaseline

    options = _parse(MakeBaseline, "baseline", words)
    from agents import baselines
    from agents.report import table

    for task_id in options.ids:
        baseline = baselines.make_baseline(task_id, options.run, options.device)
        print(f"wrote {baseline.save(task_id)}")
        rows = baselines.measure(task_id, options.device)
        baselines.save_scores(task_id, rows)
        print(table(rows))


def _gallery(words: list[str]) -> None:
    from agents.options import Gallery

    options = _parse(Gallery, "gallery", words)
    from agents.gallery import draw

    for path in draw(options):
        print(f"wrote {path}")


def _bench(words: list[str]) -> None:
    from agents.options import Bench

    options = _parse(Bench, "bench", words)
    from simenv.benchmark import run

    run(options.out, quick=options.quick, taichi_python=options.taichi_python)


def _validate(words: list[str]) -> int:
    from agents.options import Validate

    options = _parse(Validate, "validate", words)
    from simenv.validation.registry import select

    cases = select(options.cases, options.slow)
    from simenv.validation.runner import validate

    # Whoever names cases wants to know more than the table says.
    held = validate(cases, options.plots, options.table, explain=bool(options.cases))
    return 0 if held else 1


def _finished(run: Any) -> None:
    print(f"finished: {run.path}")
    if verbs := _next(run.config):
        print("next: " + "; ".join(f"simenv {verb} {run.path}" for verb in verbs))


def _next(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What can be done with a run: without an environment nothing, and simenv records its own."""
    from agents.optimise_options import TIMED
    from simenv.registry import TASKS

    if config["id"] is None:
        return ()
    first = "plot" if config.get("policy") in TIMED else "evaluate"
    return (first, "record" if config["id"] in TASKS else "plot")


VERBS: dict[str, Callable[[list[str]], int | None]] = {
    "list": _list,
    "optimise": _optimise,
    "identify": _identify,
    "train": _train,
    "evaluate": _evaluate,
    "plot": _plot,
    "record": _record,
    "dataset": _dataset,
    "baseline": _baseline,
    "gallery": _gallery,
    "bench": _bench,
    "validate": _validate,
}

if __name__ == "__main__":
    sys.exit(main())
