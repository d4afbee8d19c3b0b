"""MOBILE: soft actor-critic in a model, with targets lowered where its members disagree on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.offline.data import Batch
from agents.offline.model_based import ModelSAC
from agents.train_options import check_range
from simenv.errors import ConfigurationError, require_count


class MOBILE(ModelSAC):
    """Model-Bellman inconsistency penalised offline policy optimisation (Sun et al., ICML 2023).

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        penalty: β, by which the disagreement of the targets is weighed.
        penalty_samples: draws from each elite, over which a target is averaged.
        clamp: raise targets below 0 to 0, as the authors do; never where rewards are negative.
        rollout_length: as in `ModelSAC`, one step unless told otherwise.
        entropy_backup: as in `OfflineSAC`, left out unless told otherwise.
        options: everything else that `ModelSAC` takes.

    Raises:
        ConfigurationError: a single elite, which cannot disagree.
    """

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        penalty: float = 1.5,
        penalty_samples: int = 10,
        clamp: bool = False,
        rollout_length: int = 1,
        entropy_backup: bool = False,
        **options: Any,
    ) -> None:
        check_range("penalty", penalty, at_least=0.0)
        require_count("penalty_samples", penalty_samples)
        self.penalty, self.penalty_samples, self.clamp = penalty, penalty_samples, clamp
        super().__init__(
            dataset, env, rollout_length=rollout_length, entropy_backup=entropy_backup, **options
        )

    def setup(self) -> None:
        """As `ModelSAC`."""
        super().setup()
        if len(self.dynamics.ensemble.elite) < 2:
            raise ConfigurationError("model_elites = 1 cannot disagree; take at least 2")

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """`OfflineSAC`'s target, lowered by β times the inconsistency in rows of the model."""
        target, first = super().target(batch), self.num_real
        if first < len(target):
            found = self.inconsistency(batch.observations[first:], batch.actions[first:])
            target[first:] -= self.penalty * found
            self.note(inconsistency=found)
        return target.clamp(min=0.0) if self.clamp else target

    @torch.no_grad()
    def inconsistency(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Deviation over the elites of what each of them makes of the next value, (B, 1).

        Of one elite that is the mean over draws of minⱼ Q̄ⱼ(s', a'), s' from the elite and a' from
        the policy. Observations are those of a batch.
        """
        raw = self.raw(observations)
        found = self.dynamics.members(raw, actions)
        draws = [self.dynamics.next_observations(raw, found) for _ in range(self.penalty_samples)]
        after = torch.stack(draws)
        rows = self.encode(after.flatten(0, 2))
        values = self.critic_target.smallest(rows, self.act(rows, deterministic=False))
        return values.reshape(*after.shape[:3], 1).mean(dim=0).std(dim=0)
