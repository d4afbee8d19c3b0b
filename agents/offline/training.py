"""What training from a dataset changes in `agents.training`."""

from __future__ import annotations

import sys
import time
from typing import Any

from agents.learner_training import LearnerTrainer
from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.model_based import ModelBased
from agents.offline.options import TrainOffline
from agents.runs import Run
from agents.training import make_environment

REPORT = 10.0
"""Time between two lines about a fit at least [s]."""


def build_offline(make: type[OfflineAlgorithm], options: TrainOffline) -> OfflineAlgorithm:
    """The untrained agent that the options describe, and its environments to evaluate in."""
    env = None if options.id is None else make_environment(options, options.eval_episodes)
    return make(options.dataset, env, **options.agent_arguments())


class OfflineTrainer(LearnerTrainer):
    """Without an environment it notes losses alone; fits before the first update are ended too.

    Nothing is saved then: the checkpoint of the first step, or where there is none yet the options
    of the run, hold all that the fit depends on, and it begins again from there.
    """

    def __init__(self, run: Run, agent: OfflineAlgorithm, options: TrainOffline) -> None:
        super().__init__(run, agent, options)
        self._reported = 0.0
        if isinstance(agent, ModelBased):
            agent.on_fit = self.on_fit

    def on_fit(self, what: str, epochs: int, error: float) -> None:
        """Say what is fitted, with the progress bar how far too, and heed signals between epochs.

        Raises:
            KeyboardInterrupt: a signal was caught.
        """
        self.interruption.raise_if_caught()
        now = time.monotonic()
        if epochs == 0:
            self._say(f"fitting {what}", now)
        elif self.options.progress_bar and now - self._reported >= REPORT:
            self._say(f"fitting {what}: epoch {epochs}, error {error:.4g}", now)

    def _say(self, line: str, now: float) -> None:
        print(f"simenv: {line}", file=sys.stderr, flush=True)
        self._reported = now

    def _evaluation_environment(self) -> Any:
        return self.agent.env
