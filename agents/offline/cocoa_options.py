"""Options of `simenv train cocoa`: its own and those of every base. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

from agents.offline.model_options import TrainMOBILE, TrainModelBased, TrainMOPO
from agents.offline.options import TrainCQL, TrainIQL, TrainOffline
from agents.options import check_bounds
from agents.train_options import check_widths
from simenv.errors import ConfigurationError, require_one_of


class Base(NamedTuple):
    """An algorithm that COCOA can stand on.

    Attributes:
        path: where its class lives, "module:Class".
        options: its own.
        net_arch: hidden layers after the transduction, as in the authors' repository.
        transduction_arch: hidden layers of the transduction, the same.
        rank: of the transduction, the same.
    """

    path: str
    options: type[TrainOffline]
    net_arch: tuple[int, ...] = (100, 100)
    transduction_arch: tuple[int, ...] = (64, 64)
    rank: int = 4


BASES: dict[str, Base] = {
    "cql": Base("agents.offline.cql:CQL", TrainCQL, (256, 256, 256), (256, 256, 256), 32),
    "iql": Base("agents.offline.iql:IQL", TrainIQL),
    "mopo": Base("agents.offline.mopo:MOPO", TrainMOPO),
    "mobile": Base("agents.offline.mobile:MOBILE", TrainMOBILE),
}


def base_named(name: str) -> Base:
    """The base of that name, or ConfigurationError."""
    require_one_of("base", name, sorted(BASES))
    return BASES[name]


@dataclass(frozen=True, kw_only=True)
class TrainCOCOA(TrainCQL, TrainIQL, TrainMOPO, TrainMOBILE):
    """Train another algorithm on a dataset, whose networks see anchors in it and differences."""

    base: str = "cql"
    """That algorithm: cql, iql, mopo or mobile. Options of another one are refused."""
    anchor_steps: int = 1
    """Steps to an anchor; 0: every state is its own."""
    net_arch: tuple[int, ...] = ()
    """Hidden layers after the transduction; default 256 256 256 for cql, else 100 100."""
    transduction_arch: tuple[int, ...] = ()
    """Hidden layers of the transduction; default 256 256 256 for cql, else 64 64."""
    rank: int | None = None
    """Products that it sums for each feature; default 32 for cql, else 4."""
    reverse_length: int = 5
    """Steps backwards from every transition of the dataset."""
    penalty: float | None = None  # type: ignore[assignment]
    """Weight of the model's doubt; default 0.5 for mopo, 1.5 for mobile."""
    rollout_length: int | None = None  # type: ignore[assignment]
    """Steps of each rollout; default 5 for mopo, 1 for mobile."""
    entropy_backup: bool | None = None  # type: ignore[assignment]
    """Count the entropy of the next action in targets; default True for mopo, False for mobile."""

    def __post_init__(self) -> None:
        usual = base_named(self.base)
        self._check_foreign()
        # Not filled in here: another base, given on top of these options, has other defaults.
        if self._missing():
            self._whole()
            return
        check_bounds(self, anchor_steps=0, rank=1, reverse_length=1)
        check_widths(self, "transduction_arch")
        # The bounds of an option are its owner's: those of other bases are as they were.
        for owner in (usual.options, TrainModelBased):
            owner(**{f.name: getattr(self, f.name) for f in fields(owner)})

    def resolved(self) -> Self:
        """With the base's defaults as well: the run's config must say which they were."""
        return super().resolved()._whole()

    def agent_arguments(self) -> dict[str, Any]:
        """Keyword arguments of the agent's class, without those of other bases."""
        foreign, whole = self._foreign(), super(TrainCOCOA, self._whole()).agent_arguments()
        return {k: v for k, v in whole.items() if k not in foreign}

    def _whole(self) -> Self:
        """With nothing left to defaults, and with its bounds checked."""
        return replace(self, **self._missing())

    def _missing(self) -> dict[str, Any]:
        """Defaults by name, of options that are not given."""
        return {k: v for k, v in self._defaults().items() if getattr(self, k) in ((), None)}

    def _defaults(self) -> dict[str, Any]:
        """Defaults by name, where they depend on the base."""
        usual = BASES[self.base]
        names = ("net_arch", "transduction_arch", "rank")
        theirs = {f.name: f.default for f in fields(usual.options)}
        shared = ("penalty", "rollout_length", "entropy_backup")
        found = {name: getattr(usual, name) for name in names}
        return found | {name: theirs[name] for name in shared if name in theirs}

    def _foreign(self) -> set[str]:
        """Names of options that only other bases have."""
        return _names(*(base.options for base in BASES.values())) - _names(
            BASES[self.base].options, TrainModelBased
        )

    def _check_foreign(self) -> None:
        foreign = self._foreign()
        for f in fields(self):
            if f.name in foreign and getattr(self, f.name) != f.default:
                owners = [k for k, base in BASES.items() if f.name in _names(base.options)]
                raise ConfigurationError(
                    f"{f.name} is no option of base {self.base!r}; leave it out, or take base "
                    f"{' or '.join(owners)}"
                )


def _names(*owners: type[TrainOffline]) -> set[str]:
    return {f.name for owner in owners for f in fields(owner)}
