"""Importing simenv is light, and needs its neighbours to be its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simenv import neighbours

ROOT = Path(__file__).resolve().parent.parent
HEAVY = "{'torch', 'warp', 'stable_baselines3', 'matplotlib', 'imageio'} & set(sys.modules)"


def python(code: str, *, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, `first` ahead of the repository on its path."""
    path = os.pathsep.join(str(p) for p in (first, ROOT) if p)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=first or ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import simenv",
        "import simenv; simenv.TASKS, simenv.__version__",
        "import agents.cli; assert agents.cli.main(['list']) == 0",
        "import agents.cli; assert agents.cli.main(['--help']) == 0",
        "import agents.cli; assert agents.cli.main(['lsit']) == 2",
        "import agents.cli; assert agents.cli.main(['validate', 'hertzz']) == 2",
        "import gymnasium, simenv; gymnasium.spec('simenv/SoftWalker2D-v0')",
        "import simenv.render",
    ],
)
def test_what_is_light_stays_light(code):
    """Neither importing, nor listing, nor a mistyped verb loads torch, Warp or the like."""
    done = python(f"import sys\n{code}\nprint({HEAVY}, file=sys.stderr)")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "set()"


def test_heavy_parts_are_noticed():
    """The check above does see torch and Warp once something needs them."""
    done = python(f"import sys, simenv.envs\nprint(sorted({HEAVY}))")
    assert "'torch'" in done.stdout
    assert "'warp'" in done.stdout


@pytest.mark.parametrize("name", ["agents", "tasks"])
def test_an_intruder_is_named(tmp_path, name):
    """A package of the same name, earlier on the path, is refused with its place and owner."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    info = tmp_path / "intruder-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: intruder\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    done = python("import simenv", first=tmp_path)
    assert done.returncode != 0
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"ImportError: package {name!r} is imported from {tmp_path}")
    assert str(ROOT) in error
    assert "distribution intruder installs a package of that name: uninstall it" in error


def test_an_intruder_without_a_distribution(tmp_path):
    """A stray folder that no distribution owns is refused as well."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    done = python("import simenv", first=tmp_path)
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"ImportError: package 'agents' is imported from {tmp_path}")
    assert "something on sys.path" in error


def test_a_missing_neighbour_is_named(monkeypatch):
    """Without `tasks` beside it simenv says what is missing and where."""
    monkeypatch.setattr(neighbours.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"'tasks' is missing beside simenv.*reinstall simenv"):
        neighbours.check_neighbours()
