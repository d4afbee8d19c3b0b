"""Saving and loading agents that learn from a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

from gymnasium.spaces import Box

from agents.learner import Learner
from agents.offline.data import Transitions
from agents.spaces import space_from
from simenv.errors import CheckpointError


class PersistentOffline(Learner):
    """A `Learner` from a dataset, which itself is not saved.

    Checkpoints hold counters, running means of the losses and the random generators as well, and
    the SHA-256 of the dataset.
    """

    unsaved: ClassVar[tuple[str, ...]] = (
        "dataset",
        "env",
        "device",
        "tensorboard_log",
        "skip_bad_episodes",
    )

    @classmethod
    def load(
        cls: Any,
        path: str | Path,
        env: Any = None,
        device: str = "cpu",
        *,
        dataset: Any = None,
        **arguments: Any,
    ) -> Any:
        """The agent that `save` wrote.

        Args:
            path: the folder.
            env: to evaluate in, or None.
            device: where its networks go.
            dataset: to go on learning from; None: the agent can only predict.
            arguments: of the class, in place of those that it was made with.

        Raises:
            CheckpointError: no such folder, a damaged one, another class of agent, or a dataset or
                environment with other spaces.
        """
        return super().load(path, env, device, dataset=dataset, **arguments)

    @classmethod
    def _remade(
        cls: Any, about: Mapping[str, Any], env: Any, device: str, arguments: dict[str, Any]
    ) -> Any:
        dataset = arguments.pop("dataset", None)
        if dataset is None:
            spaces = (space_from(about["observation"]), space_from(about["action"]))
            dataset = Transitions(0, *cast(tuple[Box, Box], spaces), device=device)
        return cls(dataset, env, device=device, **arguments)

    def get_state(self: Any) -> dict[str, Any]:
        """The state by parts, as `checkpoints.write` takes it."""
        return {**super().get_state(), "dataset": self._dataset_state}

    def set_state(self: Any, state: Mapping[str, Any], path: Any = "state") -> None:
        """Go on from what `get_state` gave.

        Raises:
            CheckpointError: it belongs to another dataset.
        """
        theirs, mine = state["dataset"], self._dataset_state
        if theirs["sha256"] != mine["sha256"]:
            raise CheckpointError(
                f"checkpoint {path} belongs to another dataset: {theirs['name']} of "
                f"{theirs['size']} transitions, here it is {mine['name']} of {mine['size']}, or "
                "their contents differ"
            )
        super().set_state(state, path)

    @cached_property
    def _dataset_state(self: Any) -> dict[str, Any]:
        data = self.dataset
        return {"name": data.source.name, "size": len(data), "sha256": data.digest()}
