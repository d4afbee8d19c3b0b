"""The algorithms that `simenv train` knows. Imports nothing heavy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from agents.imitation_options import TrainGAIL
from agents.offline.cocoa_options import TrainCOCOA
from agents.offline.model_options import TrainMOBILE, TrainMOPO, TrainOGSRL
from agents.offline.options import TrainBC, TrainCDSA, TrainCQL, TrainIQL, TrainODICE, TrainTD3BC
from agents.physics.options import TrainILD, TrainSAPO, TrainSHAC
from agents.train_options import (
    TrainCAL,
    TrainFLAC,
    TrainRun,
    TrainSAC,
    TrainSACLag,
    TrainSACPID,
)


@dataclass(frozen=True)
class Algorithm:
    """One row.

    Attributes:
        path: where the agent's class lives, "module:Class".
        options: its options.
        summary: one line on it.
    """

    path: str
    options: type[TrainRun]
    summary: str

    def load(self) -> Any:
        """The agent's class."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)


ALGORITHMS: dict[str, Algorithm] = {
    "sac": Algorithm("agents.actor_critic:ActorCritic", TrainSAC, "soft actor-critic"),
    "cal": Algorithm("agents.cal:CAL", TrainCAL, "cost budget, conservative augmented Lagrangian"),
    "saclag": Algorithm("agents.saclag:SACLag", TrainSACLag, "cost budget, Lagrange multiplier"),
    "sacpid": Algorithm("agents.sacpid:SACPID", TrainSACPID, "cost budget, PID-set multiplier"),
    "flac": Algorithm("agents.flac:FLAC", TrainFLAC, "an actor that is a flow"),
    "shac": Algorithm(
        "agents.physics.shac:SHAC", TrainSHAC, "through the simulator: short-horizon actor-critic"
    ),
    "sapo": Algorithm(
        "agents.physics.sapo:SAPO", TrainSAPO, "through the simulator: SHAC with entropy"
    ),
    "gail": Algorithm("agents.gail:GAIL", TrainGAIL, "from a demonstration: a discriminator"),
    "ild": Algorithm(
        "agents.physics.ild:ILD", TrainILD, "through the simulator: the states of a demonstration"
    ),
    "bc": Algorithm("agents.offline.bc:BC", TrainBC, "from a dataset: behavioural cloning"),
    "td3bc": Algorithm(
        "agents.offline.td3bc:TD3BC", TrainTD3BC, "from a dataset: TD3 held to its actions"
    ),
    "iql": Algorithm("agents.offline.iql:IQL", TrainIQL, "from a dataset: implicit Q-learning"),
    "odice": Algorithm(
        "agents.offline.odice:ODICE", TrainODICE, "from a dataset: values by orthogonal gradients"
    ),
    "cdsa": Algorithm(
        "agents.offline.cdsa:CDSA", TrainCDSA, "from a dataset: another policy's actions adjusted"
    ),
    "mopo": Algorithm(
        "agents.offline.mopo:MOPO", TrainMOPO, "from a dataset: SAC in a model that doubts itself"
    ),
    "mobile": Algorithm(
        "agents.offline.mobile:MOBILE",
        TrainMOBILE,
        "from a dataset: SAC in a model, doubt by values",
    ),
    "ogsrl": Algorithm(
        "agents.offline.ogsrl:OGSRL", TrainOGSRL, "from a dataset: cost budgets in a guarded model"
    ),
    "cql": Algorithm("agents.offline.cql:CQL", TrainCQL, "from a dataset: conservative Q-learning"),
    "cocoa": Algorithm(
        "agents.offline.cocoa:COCOA", TrainCOCOA, "from a dataset: another one on anchors in it"
    ),
}
