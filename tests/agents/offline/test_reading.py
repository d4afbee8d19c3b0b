"""Minari datasets from the disk: streaming, ends, and damage that is named."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.datasets.manifest import write_manifest
from agents.datasets.names import HDF5, MANIFEST, METADATA
from agents.offline.reading import open_dataset, read, source_of
from simenv.errors import DatasetError
from tests.agents.offline.memory import TensorMemory
from tests.agents.offline.sets import BOXES, episode, pendulum, write


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty home for datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def test_episodes_become_transitions():
    """Next observations stay inside their episode, and time limits are no ends."""
    write("toy-v0", [episode(0, 3), episode(1, 2, terminated=True)])
    data = read("toy-v0")
    assert data.observations.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
    assert data.next_observations.tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2]]
    assert data.actions[:, 0].tolist() == [-1, 0, 1, -1, 1]
    assert data.rewards[:, 0].tolist() == [0, 1, 2, 10, 11]
    assert data.terminated[:, 0].tolist() == [0, 0, 0, 0, 1]
    assert data.truncated.tolist() == [False, False, True, False, False]
    assert data.episodes.tolist() == [0, 0, 0, 1, 1]
    assert data.initial.tolist() == [True, False, False, True, False]
    assert data.costs is None
    assert {data.observations.dtype, data.rewards.dtype, data.terminated.dtype} == {torch.float32}


@pytest.mark.parametrize("first", [0, 1])
def test_costs_are_those_of_the_steps(first):
    """With a cost of the reset in front (T + 1 numbers, as Minari collects) or without."""
    costs = np.arange(5.0)[1 - first :]
    write("toy-v0", [episode(0, 4, infos={"cost": costs})])
    assert read("toy-v0").costs[:, 0].tolist() == [1, 2, 3, 4]


def test_the_peak_of_memory_is_one_copy():
    """Reading holds the transitions and one episode, never all episodes beside them."""
    count, steps, width = 40, 250, 64
    wide = spaces.Box(-1.0, 1.0, (width,), np.float32)
    zeros = np.zeros((steps + 1, width), np.float32)
    write(
        "wide-v0",
        [episode(i, steps, observations=zeros) for i in range(count)],
        observation_space=wide,
    )
    with TensorMemory() as memory:
        data = read("wide-v0")
    tracemalloc.start()
    read("wide-v0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Numpy holds several versions of one episode; all at once would be forty times as much.
    assert peak < 0.25 * data.observations.nbytes
    # Observations and their successors, an action, reward, end, two flags, and the episode.
    size = count * steps * (4 * (2 * width + 3) + 10)
    # An episode's columns on their way; the set copied once more would be twice the size.
    assert size <= memory.peak < 1.1 * size
    assert len(data) == count * steps


def test_a_source_knows_environment_and_reference():
    """From the metadata: the id, its options and the scores of 0 and 100."""
    pendulum("pendulum/toy-v0", 1, ref_min_score=-1200.0, ref_max_score=-150.0)
    source = source_of(open_dataset("pendulum/toy-v0"))
    assert (source.name, source.env_id) == ("pendulum/toy-v0", "Pendulum-v1")
    assert source.reference == (-1200.0, -150.0)
    write("bare-v0", [episode(0)])
    bare = source_of(open_dataset("bare-v0"))
    assert (bare.env_id, bare.reference) == (None, None)
    pendulum("pendulum/flat-v0", 1, ref_min_score=5.0, ref_max_score=5.0)
    assert source_of(open_dataset("pendulum/flat-v0")).reference is None


def test_an_open_or_filtered_dataset():
    """What Minari has opened is taken as it is, filtered episodes left out."""
    opened = write("toy-v0", [episode(i) for i in range(3)])
    chosen = read(opened.filter_episodes(lambda found: found.id != 1))
    assert sorted(set(chosen.observations[:, 0].tolist())) == [0, 2]
    assert chosen.episodes.tolist() == [0] * 4 + [1] * 4


def test_a_missing_dataset_is_not_downloaded(root):
    """The message says where datasets live, and which name is near."""
    write("toy/medium-v0", [episode(0)])
    words = f"no dataset 'toy/medum-v0' in {root}; did you mean toy/medium-v0"
    with pytest.raises(DatasetError, match=words):
        read("toy/medum-v0")


def test_damaged_metadata(root):
    """Neither nonsense nor absence of it ends in a foreign error."""
    write("toy-v0", [episode(0)])
    file = root / "toy-v0" / "data" / "metadata.json"
    file.write_text("{")
    with pytest.raises(DatasetError, match="toy-v0: its metadata cannot be read"):
        read("toy-v0")
    file.unlink()
    with pytest.raises(DatasetError, match="toy-v0: its metadata cannot be read"):
        read("toy-v0")


def test_metadata_that_lie_about_the_size(root):
    """Fewer steps than there are must not overflow, and too many for any memory not crash."""
    write("toy-v0", [episode(0), episode(1)])
    file = root / "toy-v0" / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    for steps, words in ((5, "more than the 5 steps"), (10**15, "no room")):
        file.write_text(json.dumps(metadata | {"total_steps": steps}))
        with pytest.raises(DatasetError, match=words):
            read("toy-v0")
    file.write_text(json.dumps(metadata | {"total_steps": 100}))
    for skip in (False, True):
        with pytest.raises(DatasetError, match="holds 8 steps, but its metadata count 100"):
            read("toy-v0", skip_bad_episodes=skip)


@pytest.mark.parametrize("skip", [False, True])
def test_episodes_that_the_metadata_do_not_count(root, skip):
    """Two of three would be learnt from: refused, whoever made the dataset."""
    write("toy-v0", [episode(0), episode(1), episode(2)])
    edit(root / "toy-v0", total_episodes=2, total_steps=8)
    with pytest.raises(DatasetError, match="total_episodes is 2, but there are 3"):
        read("toy-v0", skip_bad_episodes=skip)


@pytest.mark.parametrize("field", ["total_steps", "total_episodes"])
def test_counts_that_are_no_numbers(root, field):
    """Named, by name as well as in a dataset that is open."""
    opened = write("toy-v0", [episode(0)])
    edit(root / "toy-v0", **{field: "many"})
    for asked in (opened, "toy-v0"):
        with pytest.raises(DatasetError, match=r"toy-v0.*'many', not a whole number"):
            read(asked)


NAN = np.array([0.0, np.nan, 0.0, 0.0])
BAD = {
    "rewards": ({"rewards": NAN}, "rewards: is not finite at step 1"),
    "large": ({"rewards": 1e300 * np.ones(4)}, "rewards: is not finite at step 0"),
    "observations": ({"observations": np.full((5, 2), np.inf)}, "observations: is not finite"),
    "actions": ({"actions": NAN[:, None]}, "actions: is not finite at step 1"),
    "cost": ({"infos": {"cost": NAN}}, "infos/cost: is not finite at step 1"),
    "short": ({"observations": np.zeros((4, 2))}, r"observations: has shape \(4, 2\)"),
    "ends": (
        {"terminations": np.array([False, True, False, False])},
        "terminations: is set at step 1, before the end",
    ),
    "text": ({"rewards": ["a", "b", "c", "d"]}, "rewards: is object, not numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_episodes_are_named_or_skipped(case):
    """By dataset, episode and field; with `skip_bad_episodes` a warning counts them."""
    changes, words = BAD[case]
    infos = {"cost": np.zeros(4)} if case == "cost" else {}
    write("toy-v0", [episode(0, infos=infos), episode(1, **changes), episode(2, infos=infos)])
    with pytest.raises(DatasetError, match=f"dataset toy-v0, episode 1: {words}") as caught:
        read("toy-v0")
    assert "skip_bad_episodes (--skip-bad-episodes)" in str(caught.value)
    with pytest.warns(RuntimeWarning, match="1 of 3 episodes of dataset toy-v0 are left out"):
        data = read("toy-v0", skip_bad_episodes=True)
    assert data.observations[:, 0].tolist() == [0] * 4 + [2] * 4


def test_an_empty_episode_and_a_missing_one(root):
    """Zero steps, and an episode that the file does not hold."""
    write("toy-v0", [episode(0), episode(1), episode(2)])
    with h5py.File(root / "toy-v0" / "data" / "main_data.hdf5", "a") as file:
        del file["episode_2"]
        file["episode_1/rewards"].resize((0,))
    with pytest.raises(DatasetError, match="episode 1: rewards: is empty"):
        read("toy-v0")
    with pytest.warns(RuntimeWarning, match="2 of 3 episodes.*episode 2 cannot be read"):
        assert len(read("toy-v0", skip_bad_episodes=True)) == 4


def test_a_truncated_file(root):
    """A file broken off half-way is a damaged dataset, and nothing of it is learnt from."""
    write("toy-v0", [episode(0)])
    file = root / "toy-v0" / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:1_000])
    with pytest.raises(DatasetError, match="dataset toy-v0, episode 0 cannot be read"):
        read("toy-v0")
    with pytest.raises(DatasetError, match=r"all of its 1 episodes are bad.*cannot be read"):
        read("toy-v0", skip_bad_episodes=True)


def test_a_missing_file(root):
    """Without any data no episode is left, whoever may be skipped."""
    opened = write("toy-v0", [episode(0), episode(1)])
    (root / "toy-v0" / "data" / "main_data.hdf5").unlink()
    with pytest.raises(DatasetError, match="all of its 2 episodes are bad"):
        read(opened, skip_bad_episodes=True)
    with pytest.raises(DatasetError, match="its metadata cannot be read"):
        read("toy-v0", skip_bad_episodes=True)


@pytest.mark.parametrize("skip", [False, True])
def test_only_some_episodes_have_costs(skip):
    """Half a signal is refused."""
    write("toy-v0", [episode(0, infos={"cost": np.zeros(4)}), episode(1)])
    with pytest.raises(DatasetError, match="only some episodes have costs"):
        read("toy-v0", skip_bad_episodes=skip)


def test_faults_of_the_whole_dataset_are_not_skipped(root):
    """More steps than the metadata count: which episodes to believe, nobody knows."""
    write("toy-v0", [episode(0), episode(1)])
    file = root / "toy-v0" / "data" / "metadata.json"
    for steps, words in ((5, "more than the 5 steps"), (10**15, "no room")):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"total_steps": steps}))
        with pytest.raises(DatasetError, match=words):
            read("toy-v0", skip_bad_episodes=True)


# ------------------------------------------------------------------------------- changes


def edit(folder: Path, **changes: object) -> None:
    """Change metadata; None takes an entry away."""
    file = folder / METADATA
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def spoil(folder: Path, field: str, values: object) -> None:
    """Overwrite a field of episode 1."""
    with h5py.File(folder / HDF5, "r+") as file:
        file["episode_1"][field][...] = values


@pytest.fixture
def sealed(root) -> Path:
    """Folder of toy-v0 with digests beside it, as simenv makes datasets."""
    names = ("observations", "actions")
    single = {name: np.float32(getattr(episode(0), name)) for name in names}
    write("toy-v0", [episode(i, **single) for i in range(4)])
    write_manifest(root / "toy-v0")
    return root / "toy-v0"


CHANGES = {
    "reward": lambda folder: spoil(folder, "rewards", 1e6),
    "action": lambda folder: spoil(folder, "actions", 5.0),
    "observations": lambda folder: spoil(folder, "observations", 0.0),
    "dataset_id": lambda folder: edit(folder, dataset_id="pendulum/other-v0"),
    "total_episodes": lambda folder: edit(folder, total_episodes=2),
    "env_spec": lambda folder: edit(folder, env_spec="null"),
    "manifest": lambda folder: (folder / MANIFEST).write_text("[]"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_files_are_refused(sealed, change):
    """Whatever has changed since the dataset was made, nothing is learnt from it unasked."""
    assert len(read("toy-v0")) == 16
    CHANGES[change](sealed)
    with pytest.raises(DatasetError, match=r"toy-v0.*make it again.*\(--skip-bad-episodes\)"):
        read("toy-v0")


@pytest.mark.filterwarnings("ignore:.*episodes of dataset toy-v0 are left out")
def test_changed_files_are_taken_on_demand(sealed):
    """With a warning; an episode in which the change leaves a trace is left out all the same."""
    CHANGES["reward"](sealed)
    words = "toy-v0 is not what was made: data/main_data.hdf5: its SHA-256"
    with pytest.warns(RuntimeWarning, match=words):
        assert read("toy-v0", skip_bad_episodes=True).rewards.max() == 1e6
    CHANGES["action"](sealed)
    with pytest.warns(RuntimeWarning, match=words):
        assert len(read("toy-v0", skip_bad_episodes=True)) == 12


def test_a_dataset_under_another_name(root):
    """Refused without digests, too; with the flag a warning."""
    write("toy-v0", [episode(0)])
    (root / "toy-v0").rename(root / "toy-v1")
    with pytest.raises(DatasetError, match=r"toy-v1.*its metadata call it 'toy-v0'"):
        read("toy-v1")
    with pytest.warns(RuntimeWarning, match="its metadata call it 'toy-v0'"):
        assert len(read("toy-v1", skip_bad_episodes=True)) == 4


def test_a_linked_dataset(root, tmp_path_factory):
    """A folder that is kept elsewhere is read through its link."""
    write("toy-v0", [episode(0)])
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "toy"
    (root / "toy-v0").rename(elsewhere)
    (root / "toy-v0").symlink_to(elsewhere)
    assert len(read("toy-v0")) == 4


def test_what_foreign_datasets_may_do():
    """Kinds of number, infos as they like, no end, and actions that the environment clips."""
    loose = episode(0, actions=np.full((4, 1), 9.0), infos={"words": ["a"] * 4})
    loose.truncations[-1] = False
    write("toy-v0", [loose])
    assert read("toy-v0").actions[:, 0].tolist() == [1.0] * 4


def test_another_environment_is_refused():
    """Spaces must fit those of the environment given."""
    write("toy-v0", [episode(0)])
    read("toy-v0", env_spaces=BOXES)
    with pytest.raises(DatasetError, match="does not fit the environment"):
        read("toy-v0", env_spaces=(BOXES[0], spaces.Box(-1.0, 1.0, (1,), np.float32)))
