"""Start-up check that `tasks` and `agents` are simenv's own and not another distribution's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

NAMES = ("tasks", "agents")


def check_neighbours() -> None:
    """Raise ImportError if a package of the same name lies elsewhere on the path."""
    home = Path(__file__).resolve().parent.parent
    for name in NAMES:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            raise ImportError(
                f"package {name!r} is missing beside simenv in {home}; reinstall simenv"
            )
        found = Path(spec.origin).resolve().parent.parent
        if found != home:
            raise ImportError(
                f"package {name!r} is imported from {found}, not from {home} where simenv lies; "
                f"{_owner(name)} installs a package of that name: uninstall it or use an "
                "environment of its own"
            )


def _owner(name: str) -> str:
    owners = set(importlib.metadata.packages_distributions().get(name, [])) - {"simenv"}
    return f"distribution {' or '.join(sorted(owners))}" if owners else "something on sys.path"
