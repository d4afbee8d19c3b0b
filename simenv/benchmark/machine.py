"""The machine and the versions that the figures belong to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simenv.benchmark.plan import cores

PACKAGES = ("gymnasium", "numpy", "torch", "warp-lang")
BUSY = 0.5
"""Load per CPU above which other work disturbs the figures."""


def describe_machine() -> dict[str, Any]:
    """Processor, operating system, versions and the load of the last minute."""
    import simenv

    return {
        "processor": processor(),
        "cpus": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "simenv": simenv.__version__,
        **{name: version(name) for name in PACKAGES},
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Model name, family and number of the processor."""
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    name = facts.get("model name", platform.machine())
    if "cpu family" not in facts:
        return name
    return f"{name} (family {facts['cpu family']}, model {facts.get('model', '?')})"


def load_warning(machine: dict[str, Any]) -> str | None:
    """A line for the user if other programs keep the processor busy."""
    load = machine["load"]
    if load is None or load < BUSY * machine["cpus"]:
        return None
    return (
        f"other programs keep this machine busy (load {load:.1f} on {machine['cpus']} CPUs): "
        "figures will be low, ratios uncertain"
    )
