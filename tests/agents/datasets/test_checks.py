"""Every kind of damage is found, and named by file, episode and field."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import gymnasium
import h5py
import minari
import numpy as np
import pytest

from agents import cli
from agents.checkpoints import file_digest
from agents.datasets import check, making
from agents.datasets.metadata import KINDS
from agents.datasets.names import HDF5, MANIFEST, METADATA
from agents.options import MakeDataset
from simenv.errors import DatasetError
from tests.agents.datasets.conftest import use
from tests.agents.datasets.line import LINE

NAME = "toy/line/random-v0"


@pytest.fixture(scope="module")
def sound_root(tmp_path_factory) -> Path:
    """A folder with one sound dataset."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        making.make(MakeDataset(LINE, "random", 60, num_envs=2, progress_bar=False))
    return folder


@pytest.fixture
def folder(sound_root, tmp_path, monkeypatch) -> Path:
    """Folder of a copy of it, to be spoilt."""
    shutil.copytree(sound_root, tmp_path / "datasets")
    return use(tmp_path / "datasets", monkeypatch) / NAME


def reseal(folder: Path) -> None:
    """Write a manifest that fits the files, so that only their content can tell."""
    digests = {file: file_digest(folder / file) for file in (HDF5, METADATA)}
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "sha256": digests}))


def found(name: str = NAME) -> str:
    """What is wrong, a line each."""
    return "\n".join(map(str, check(name)))


def test_sound(folder):
    """A fresh dataset has no problems."""
    assert check(NAME) == []


@pytest.mark.parametrize("file", [HDF5, METADATA])
def test_a_changed_file(folder, file):
    """Anything that was changed after it was made is told by its SHA-256."""
    with (folder / file).open("ab") as stream:
        stream.write(b"\n")
    assert f"{NAME}: {file}: its SHA-256 is not that of manifest.json" in found()
    assert "make it again" in found()


def test_a_broken_off_file(folder):
    """Half of a file cannot be read: said so, without a traceback."""
    content = (folder / HDF5).read_bytes()
    (folder / HDF5).write_bytes(content[: len(content) // 2])
    assert f"{HDF5}: its SHA-256" in found()
    assert f"{HDF5}: cannot be read" in found()


@pytest.mark.parametrize("file", [HDF5, METADATA, MANIFEST])
def test_a_missing_file(folder, file):
    """A file that is gone is named."""
    (folder / file).unlink()
    assert f"{NAME}: {file}: " in found()


def change(folder: Path, edit) -> None:
    """Edit the episodes, and seal the result."""
    with h5py.File(folder / HDF5, "r+") as file:
        edit(file)
    reseal(folder)


def replace(group, field: str, values: np.ndarray) -> None:
    del group[field]
    group[field] = values


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda e: e["rewards"].__setitem__(2, np.nan), "rewards: is not finite at step 2"),
        (
            lambda e: e["observations"].__setitem__((1, 0), np.inf),
            "observations: is not finite at step 1",
        ),
        (
            lambda e: e["infos/cost"].__setitem__(0, np.nan),
            "infos/cost: is not finite at step 0",
        ),
        (lambda e: e["actions"].__setitem__((3, 0), 2.5), "actions: leaves the space's bounds"),
        (
            lambda e: replace(e, "observations", e["observations"][:-1]),
            "observations: has shape (12, 2), expected (13, 2)",
        ),
        (lambda e: replace(e, "infos/cost", e["infos/cost"][:-1]), "infos/cost: has shape (12,)"),
        (
            lambda e: replace(e, "actions", e["actions"][()].astype(np.float64)),
            "actions: is float64, expected float32",
        ),
        (lambda e: e["truncations"].__setitem__(4, True), "truncations: is set at step 4, before"),
        (lambda e: e["truncations"].__setitem__(-1, False), "truncations: is not set at the last"),
        (lambda e: replace(e, "rewards", np.zeros(0)), "rewards: is empty"),
    ],
)
def test_a_spoilt_episode(folder, edit, words):
    """What is wrong with an episode is named by its number and field."""
    change(folder, lambda file: edit(file["episode_3"]))
    assert f"{NAME}: {HDF5}: episode 3: {words}" in found()
    assert "SHA-256" not in found()


def test_an_empty_dataset(folder):
    """No episode at all."""
    change(folder, lambda file: file.clear())
    assert f"{HDF5}: is empty: it holds no transition" in found()


def test_a_missing_episode(folder):
    """A number that does not fit the metadata."""
    change(folder, lambda file: file.__delitem__(f"episode_{len(file) - 1}"))
    assert f"{METADATA}: total_episodes is" in found()
    change(folder, lambda file: file.__delitem__("episode_0"))
    assert "episode 0 cannot be read" in found()


def test_a_missing_field(folder):
    """An episode without rewards: said of that episode, and the others are looked at."""
    change(folder, lambda file: file["episode_1"].__delitem__("rewards"))
    change(folder, lambda file: file["episode_3/rewards"].__setitem__(2, np.nan))
    assert re.search(r"episode 1 cannot be read.*'rewards'", found())
    assert "episode 3: rewards: is not finite" in found()


def names(kinds: dict, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The way to every entry of nested dictionaries."""
    ways = []
    for name, kind in kinds.items():
        ways.append((*above, name))
        ways += names(kind, ways[-1]) if isinstance(kind, dict) else []
    return ways


def rewrite(folder: Path, way: tuple[str, ...], *values: object) -> None:
    """Give an entry of the metadata another value, or none, and seal the result."""
    content = inner = json.loads((folder / METADATA).read_text())
    for name in way[:-1]:
        inner = inner[name]
    inner.pop(way[-1], None)
    inner.update(zip(way[-1:], values, strict=False))
    (folder / METADATA).write_text(json.dumps(content))
    reseal(folder)


@pytest.mark.parametrize("way", names(KINDS), ids=".".join)
def test_bad_metadata(folder, way, capsys):
    """What is missing or of another kind is named, and `list` and `info` survive it."""
    shutil.copytree(folder, folder.with_name("zz-v0"))
    for values, words in (((), "is missing"), ((None,), "None, not"), (([1],), r"[1], not")):
        if values == (None,) and way[-1] == "expert":
            continue
        rewrite(folder, way, *values)
        assert re.search(rf"{METADATA}: {'.'.join(way)} (is )?{re.escape(words)}", found())
        assert cli.main(["dataset", "list"]) == 0
        first, second = capsys.readouterr().out.splitlines()[1:]
        assert "damaged: see 'simenv dataset check'" in first
        assert second.startswith("toy/line/zz-v0")
        assert cli.main(["dataset", "info", NAME]) == 2
        assert "see 'simenv dataset check'" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["observation_space", "action_space", "env_spec"])
@pytest.mark.parametrize("text", ["Box", "{}", '{"type": "Sphere"}', "3"])
def test_spaces_that_are_none(folder, field, text, capsys):
    """Text that is no JSON, or JSON that is no space, ends in no foreign error."""
    rewrite(folder, (field,), text)
    assert METADATA in found()
    assert cli.main(["dataset", "check", "--all"]) == 1
    assert cli.main(["dataset", "list"]) == 0
    assert cli.main(["dataset", "info", NAME]) == (2 if text == "Box" else 0)


def test_one_bad_dataset_hides_no_other(folder, capsys):
    """All are checked, whatever is wrong with the first."""
    shutil.copytree(folder, folder.with_name("zz-v0"))
    rewrite(folder, ("observation_space",))
    assert cli.main(["dataset", "check", "--all"]) == 1
    shown = capsys.readouterr().out
    assert f"{NAME}: {METADATA}: observation_space is missing" in shown
    assert "toy/line/zz-v0: " in shown


def test_another_environment(folder):
    """Spaces that are not those of the environment are told with both."""
    content = json.loads((folder / METADATA).read_text())
    content["action_space"] = content["action_space"].replace("2.0", "3.0")
    (folder / METADATA).write_text(json.dumps(content))
    reseal(folder)
    assert "action_space is Box(-3.0, 3.0, (1,), float32), but toy/Line-v1 has Box(-2.0" in found()


def test_an_environment_that_is_not_there(folder):
    """A package that is missing is no reason for a traceback."""
    text = (folder / METADATA).read_text().replace("datasets.line:Line", "nowhere:Line")
    (folder / METADATA).write_text(text)
    reseal(folder)
    assert "the environment cannot be made" in found()
    assert "install what it needs" in found()


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_a_foreign_dataset(folder, capsys):
    """One that Minari made without simenv is held against what an agent needs."""
    space = gymnasium.spaces.Box(-1, 1, (1,))
    buffer = minari.data_collector.EpisodeBuffer(
        observations=np.zeros((2, 1)),
        actions=np.full((1, 1), 3.0),
        rewards=np.zeros(1),
        terminations=np.ones(1, bool),
        truncations=np.zeros(1, bool),
    )
    minari.create_dataset_from_buffers(
        "other-v0", [buffer], observation_space=space, action_space=space
    )
    assert cli.main(["dataset", "check", "--all"]) == 0
    file = folder.parents[2] / "other-v0" / HDF5
    with h5py.File(file, "r+") as content:
        content["episode_0/rewards"][0] = np.nan
    words = found("other-v0")
    assert "other-v0: data/main_data.hdf5: episode 0: rewards: is not finite at step 0" in words
    assert "delete" not in words
    metadata = file.with_name("metadata.json")
    metadata.write_text(metadata.read_text().replace('"total_episodes": 1', '"total_episodes": 2'))
    assert "total_episodes is 2, but there are 1" in found("other-v0")
    metadata.write_text("{")
    assert "delete" not in found("other-v0")


def test_a_moved_dataset(folder):
    """Its name is not the one that its metadata say."""
    shutil.copytree(folder, folder.with_name("random-v1"))
    assert f"dataset_id is '{NAME}'" in found("toy/line/random-v1")


def test_no_such_dataset(folder):
    """A name that is not there is answered with the nearest."""
    with pytest.raises(DatasetError, match=f"did you mean {NAME}"):
        check("toy/line/randon-v0")


# ------------------------------------------------------------------------------- the command


def test_check_command(folder, capsys):
    """Exit code 0 for sound datasets, 1 for others, 2 for none of that name."""
    assert cli.main(["dataset", "check", NAME]) == 0
    assert capsys.readouterr().out == f"{NAME}: sound\n"
    assert cli.main(["dataset", "check", "--all"]) == 0
    change(folder, lambda file: file["episode_1/rewards"].__setitem__(0, np.nan))
    assert cli.main(["dataset", "check", "--all"]) == 1
    assert "episode 1: rewards: is not finite at step 0" in capsys.readouterr().out
    assert cli.main(["dataset", "check", "toy/lin/random-v0"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_list_command(folder, capsys):
    """A row per dataset; a damaged one does not hide the others."""
    assert cli.main(["dataset", "list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["name", "id", "split", "episodes"]
    assert row.split()[:3] == [NAME, LINE, "random"]
    about = json.loads((folder / METADATA).read_text())
    assert row.split()[3:5] == [str(about["total_episodes"]), str(about["total_steps"])]
    assert row.split()[5] == f"{about['simenv']['statistics']['return']['mean']:.2f}"
    shutil.copytree(folder, folder.with_name("random-v1"))
    (folder / METADATA).write_text("{")
    assert cli.main(["dataset", "list"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert "damaged" in rows[0]
    assert rows[1].startswith("toy/line/random-v1")


def test_info_command(folder, capsys):
    """Everything that is known, with the statistics."""
    assert cli.main(["dataset", "info", NAME]) == 0
    shown = capsys.readouterr().out
    assert "algorithm_name: uniform random actions" in shown
    statistics = json.loads((folder / METADATA).read_text())["simenv"]["statistics"]
    assert f"median: {statistics['return']['median']:.6g}" in shown
    assert f"mean: {statistics['cost']['mean']:.6g}" in shown


def test_statistics(folder):
    """They are those of the episodes."""
    statistics = json.loads((folder / METADATA).read_text())["simenv"]["statistics"]
    episodes = list(minari.load_dataset(NAME))
    returns = [e.rewards.sum() for e in episodes]
    assert statistics["return"]["mean"] == pytest.approx(np.mean(returns))
    assert statistics["return"]["std"] == pytest.approx(np.std(returns))
    assert statistics["return"]["median"] == pytest.approx(np.median(returns))
    assert statistics["cost"]["max"] == pytest.approx(max(e.infos["cost"].sum() for e in episodes))
    assert statistics["length"]["max"] == max(map(len, episodes))
    assert statistics["terminated"] == sum(int(e.terminations[-1]) for e in episodes)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dataset", "needs a verb: make, list, info, check"),
        ("dataset mkae", "unknown dataset verb 'mkae'; did you mean 'make'?"),
        ("dataset info toy/lines/random-v0", f"did you mean {NAME}"),
        (f"dataset make {LINE} --split random", "already"),
        ("dataset make toy/Lime-v1 --split random", f"did you mean {LINE}"),
    ],
)
def test_mistakes_are_answered(folder, capsys, line, words):
    """A mistake ends with code 2 and one line that helps."""
    assert cli.main(line.split()) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"dataset make {LINE}", ["--split"]),
        (f"dataset make {LINE} --split rando", ["rando", "random"]),
        (f"dataset make {LINE} --split random --transition 3", ["--transition", "--transitions"]),
        (f"dataset make {LINE} --split random --transitions 0", ["transitions = 0", "at least 1"]),
        ("dataset check", ["needs names, or else --all"]),
    ],
)
def test_flags_are_answered(folder, capsys, line, words):
    """A wrong flag or value ends with code 2, names itself and what was meant."""
    with pytest.raises(SystemExit) as caught:
        cli.main(line.split())
    assert caught.value.code == 2
    message = " ".join(capsys.readouterr().err.split())
    assert all(word in message for word in words)
