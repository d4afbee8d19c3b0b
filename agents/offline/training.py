"""What training from a dataset changes in `agents.training`."""

from __future__ import annotations

from typing import Any

from agents.learner_training import LearnerTrainer
from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.options import TrainOffline
from agents.training import make_environment


def build_offline(make: type[OfflineAlgorithm], options: TrainOffline) -> OfflineAlgorithm:
    """The untrained agent that the options describe, and its environments to evaluate in."""
    env = None if options.id is None else make_environment(options, options.eval_episodes)
    return make(options.dataset, env, **options.agent_arguments())


class OfflineTrainer(LearnerTrainer):
    """Without an environment it notes losses alone."""

    def _evaluation_environment(self) -> Any:
        return self.agent.env
