"""What training from a dataset changes in `agents.training`."""

from __future__ import annotations

from typing import Any

from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.options import TrainOffline
from agents.training import Trainer, make_environment


def build_offline(make: type[OfflineAlgorithm], options: TrainOffline) -> OfflineAlgorithm:
    """The untrained agent that the options describe, and its environments to evaluate in."""
    env = None if options.id is None else make_environment(options, options.eval_episodes)
    return make(options.dataset, env, **options.agent_arguments())


class OfflineTrainer(Trainer):
    """Evaluates and saves between two updates; without an environment it notes losses alone."""

    def evaluate(self) -> None:
        """Score the present policy and log the row at once: no rollout will."""
        super().evaluate()
        self.logger.dump(self.num_timesteps)

    def learning_arguments(self) -> dict[str, Any]:
        """Losses are averaged from one evaluation to the next."""
        return {"log_interval": self.options.eval_every}

    def _evaluation_environment(self) -> Any:
        return self.agent.env

    def _progress(self) -> dict[str, float]:
        return dict(self.agent.losses)
