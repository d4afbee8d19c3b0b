"""Options of `simenv train` for agents that imitate a demonstration. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from agents.train_options import Train, TrainRun, check_real, check_widths
from simenv.errors import ConfigurationError

if TYPE_CHECKING:
    from agents.demonstrations import Demonstration


@dataclass(frozen=True, kw_only=True)
class TrainImitation(TrainRun):
    """What every algorithm has that imitates a demonstration."""

    demo: Path | None = None
    """File of the demonstration, as 'simenv record RUN --demo' writes it. Needed."""

    @cached_property
    def demonstration(self) -> Demonstration | None:
        """What the file holds, read when it is first asked for; None without a file.

        Raises:
            DatasetError: it is missing or damaged.
        """
        from agents.demonstrations import as_demonstration

        return as_demonstration(self.demo)

    def resolved(self) -> Self:
        """With the whole path of the demonstration, which must belong to the task.

        Raises:
            ConfigurationError: no demonstration is named.
            DatasetError: it is missing, damaged, or of another task.
        """
        if self.demo is None:
            raise ConfigurationError(
                "an imitator needs a demonstration: --demo FILE; 'simenv record RUN --demo' and "
                "'simenv record ID --demo' write one"
            )
        made = replace(super().resolved(), demo=self.demo.resolve())
        assert made.demonstration is not None
        made.demonstration.require_task(str(self.id))  # type: ignore[attr-defined]
        made.demonstration.require_size(str(self.size))  # type: ignore[attr-defined]
        return made

    def environment_options(self) -> dict[str, Any]:
        """Environments pursue the demonstration's goal."""
        shown = self.demonstration
        chosen = {} if shown is None else shown.start_options()
        return {"reset_options": chosen} if chosen else {}

    def agent_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the agent's class."""
        mine = super().agent_arguments()
        del mine["demo"]
        return mine | {"demonstration": self.demonstration}


@dataclass(frozen=True)
class TrainGAIL(TrainImitation, Train):
    """Imitate a demonstration by a discriminator and a soft actor-critic."""

    discriminator_arch: tuple[int, ...] = (128, 128)
    """Hidden layers of the discriminator."""
    discriminator_learning_rate: float = 3e-4
    """Its step size."""
    gradient_penalty: float = 10.0
    """Weight of the penalty on its slope."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(self, "discriminator_arch")
        check_real(self, "discriminator_learning_rate", above=0.0)
        check_real(self, "gradient_penalty", at_least=0.0)
