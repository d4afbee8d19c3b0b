"""What learning through the physics changes in `agents.training`."""

from __future__ import annotations

from typing import Any

from agents.environments import make_vec
from agents.learner_training import LearnerTrainer
from agents.physics.algorithm import FirstOrder
from agents.physics.options import TrainFirstOrder
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError
from simenv.registry import TASKS


def build_first_order(make: type[FirstOrder], options: TrainFirstOrder) -> FirstOrder:
    """The untrained agent that the options describe.

    Raises:
        ConfigurationError: an environment that has no gradients, or one with goals.
    """
    if options.id not in TASKS:
        raise ConfigurationError(
            f"{options.id} has no gradients: these agents learn in simenv's own tasks; `simenv "
            "list` names them"
        )
    functional = Functional(
        options.id, num_envs=options.num_envs, size=options.size, device=options.device
    )
    return make(functional, **options.agent_arguments())


class FirstOrderTrainer(LearnerTrainer):
    """Evaluates and saves between two windows."""

    def _evaluation_environment(self) -> Any:
        options: Any = self.options
        given = {"size": options.size, "device": options.device}
        return make_vec(options.id, options.eval_episodes, **given, **options.environment_options())

    def _progress(self) -> dict[str, Any]:
        return {"episodes": float(self.agent.stage.episodes)} | super()._progress()
