"""Agents that learn in simenv's environments, and the command line.

>>> from agents import CAL
>>> model = CAL("MlpPolicy", "simenv/SoftWalker2D-Safe-v0", num_envs=16, cost_limit=10.0)
>>> model.learn(100_000, progress_bar=True).save("run/model")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stable_baselines3 import SAC

    from agents.actor_critic import ActorCritic
    from agents.cal import CAL
    from agents.flac import FLAC
    from agents.gail import GAIL
    from agents.offline.bc import BC
    from agents.offline.cdsa import CDSA
    from agents.offline.cocoa import COCOA
    from agents.offline.cql import CQL
    from agents.offline.iql import IQL
    from agents.offline.mobile import MOBILE
    from agents.offline.mopo import MOPO
    from agents.offline.odice import ODICE
    from agents.offline.ogsrl import OGSRL
    from agents.offline.td3bc import TD3BC
    from agents.physics.ild import ILD
    from agents.physics.sapo import SAPO
    from agents.physics.shac import SHAC
    from agents.saclag import SACLag
    from agents.sacpid import SACPID

__all__ = [
    "BC",
    "CAL",
    "CDSA",
    "COCOA",
    "CQL",
    "FLAC",
    "GAIL",
    "ILD",
    "IQL",
    "MOBILE",
    "MOPO",
    "ODICE",
    "OGSRL",
    "SAC",
    "SACPID",
    "SAPO",
    "SHAC",
    "TD3BC",
    "ActorCritic",
    "SACLag",
]

_MODULES = {
    "BC": "agents.offline.bc",
    "ActorCritic": "agents.actor_critic",
    "CAL": "agents.cal",
    "CDSA": "agents.offline.cdsa",
    "COCOA": "agents.offline.cocoa",
    "CQL": "agents.offline.cql",
    "FLAC": "agents.flac",
    "GAIL": "agents.gail",
    "ILD": "agents.physics.ild",
    "IQL": "agents.offline.iql",
    "ODICE": "agents.offline.odice",
    "MOBILE": "agents.offline.mobile",
    "MOPO": "agents.offline.mopo",
    "OGSRL": "agents.offline.ogsrl",
    "SAC": "stable_baselines3",
    "SACLag": "agents.saclag",
    "SACPID": "agents.sacpid",
    "SAPO": "agents.physics.sapo",
    "SHAC": "agents.physics.shac",
    "TD3BC": "agents.offline.td3bc",
}


def __getattr__(name: str) -> Any:
    """Load an agent when it is first asked for, so that the command line starts at once."""
    if name not in _MODULES:
        raise AttributeError(f"module 'agents' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
