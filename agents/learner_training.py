"""What training a `Learner` changes in `agents.training`."""

from __future__ import annotations

from typing import Any

from agents.training import Trainer


class LearnerTrainer(Trainer):
    """Evaluates and saves between two updates."""

    def evaluate(self) -> None:
        """Score the present policy and log the row at once: no rollout will."""
        super().evaluate()
        self.logger.dump(self.num_timesteps)

    def learning_arguments(self) -> dict[str, Any]:
        """Losses are averaged from one evaluation to the next."""
        return {"log_interval": self.options.eval_every}

    def _progress(self) -> dict[str, float]:
        return dict(self.agent.losses)
