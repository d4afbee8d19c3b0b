"""COCOA: an input layer that sees a state as an anchor in the data and a difference from it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from agents.offline.anchors import AnchorSeeker, divergent_rollouts, round_trip, seek
from agents.offline.cocoa_options import base_named
from agents.offline.dynamics import ReverseDynamics
from agents.offline.model_based import ModelBased
from agents.offline.networks import mlp
from simenv.errors import ConfigurationError, require_count


class Transduction(nn.Module):
    """φ_k(s, a) = Σ_j f_kj(Δ, a) g_kj(s̃, a), bilinear in features of difference and anchor.

    Netanyahu et al., "Learning to extrapolate" (arXiv:2304.14329).

    Args:
        features: O.
        actions: A; 0 for networks of states alone.
        widths: of the hidden layers of f and of g; the last one is K.
        rank: number of products that are summed.

    Attributes:
        width: K.
    """

    def __init__(self, features: int, actions: int, widths: Sequence[int], rank: int) -> None:
        super().__init__()
        self.features, self.actions, self.width, self.rank = features, actions, widths[-1], rank
        self.f = mlp(features + actions, self.width * rank, widths)
        self.g = mlp(features + actions, self.width * rank, widths)

    def forward(self, joined: Tensor) -> Tensor:
        """(…, K) from differences, anchors and actions, side by side, (…, 2 O + A)."""
        sizes = [self.features, self.features, self.actions]
        difference, anchor, action = joined.split(sizes, dim=-1)
        f, g = (
            network(torch.cat([part, action], dim=-1)).unflatten(-1, (self.width, self.rank))
            for network, part in ((self.f, difference), (self.g, anchor))
        )
        return (f * g).sum(dim=-1)


class COCOA(ModelBased):
    """Compositional conservatism with anchor-seeking (Song et al., arXiv:2404.04682).

    Another algorithm, the base, whose networks do not see a state s but an anchor s̃ near the data
    and the difference Δ = s − s̃, through a `Transduction`. Before the first update two models of
    the dynamics are fitted, forwards and backwards in time, and a policy π̃ that leads from where
    the backward model goes to the data; the anchor of s is where π̃ leads in `anchor_steps` steps of
    the forward model. Anchors are found once per batch, for all networks. MOPO and MOBILE share
    their own model with it, and have anchors of its steps too.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        base: name of the algorithm, as `simenv train` has it.
        anchor_steps: h; 0: every state is its own anchor, and nothing is fitted beforehand.
        transduction_arch: hidden layers of f and g; None: as the paper's code for that base.
        rank: of the transduction; None: the same.
        reverse_length: steps backwards from every transition of the data.
        net_arch: hidden layers of actor and critics after the transduction; None: as the paper's
            code for that base.
        options: everything else that the base takes, and what `ModelBased` takes: both models are
            alike.

    Attributes:
        pretraining: what came of it: the `round_trip` of both models, and the last loss of π̃.

    Example:
        >>> model = COCOA("pendulum/medium-v0", base="iql", seed=0, reward_scale=0.1).learn(8_000)
    """

    def __new__(cls, dataset: Any, env: Any = None, *, base: str = "cql", **options: Any) -> Any:
        """An instance that is a COCOA and a base; its class learns as the base's does."""
        kind: Any = cls
        return super().__new__(_over(kind, base), dataset, env, base=base, **options)

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        base: str = "cql",
        anchor_steps: int = 1,
        transduction_arch: Sequence[int] | None = None,
        rank: int | None = None,
        reverse_length: int = 5,
        net_arch: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        usual = base_named(base)
        require_count("reverse_length", reverse_length)
        if anchor_steps < 0:
            raise ConfigurationError(f"anchor_steps = {anchor_steps} must be at least 0")
        widths = usual.transduction_arch if transduction_arch is None else transduction_arch
        if not widths or min(widths) < 1:
            raise ConfigurationError(f"transduction_arch = {widths} must name widths of at least 1")
        self.transduction_arch = tuple(widths)
        self.rank = usual.rank if rank is None else rank
        require_count("rank", self.rank)
        self.base, self.anchor_steps, self.reverse_length = base, anchor_steps, reverse_length
        self.pretraining: dict[str, float] = {}
        arch = usual.net_arch if net_arch is None else net_arch
        super().__init__(dataset, env, net_arch=arch, **options)

    def setup(self) -> None:
        """All that the base has; models and π̃, where there are anchors to find."""
        super().setup()
        if self.anchor_steps:
            if not hasattr(self, "dynamics"):
                self.setup_model()
            sizes = (self.num_features, self.num_actions)
            self.reverse = ReverseDynamics(*sizes, **self._network).to(self.device)
            self.seeker = AnchorSeeker(*sizes).to(self.device)

    def front(self, inputs: int) -> nn.Module:
        """The transduction of a network of states, or of states and actions."""
        actions = inputs - self.num_features
        return Transduction(self.num_features, actions, self.transduction_arch, self.rank)

    # ------------------------------------------------------------------ anchors

    def encode(self, observations: Tensor) -> Tensor:
        """Standardised Δ and s̃ of raw observations (B, O), side by side, (B, 2 O)."""
        seen, anchors = self.normalizer(observations), self.normalizer(self.anchors(observations))
        return torch.cat([seen - anchors, anchors], dim=-1)

    def raw(self, observations: Tensor) -> Tensor:
        """Observations as the dataset has them: from Δ + s̃."""
        difference, anchor = observations.chunk(2, dim=-1)
        return super().raw(difference + anchor)

    def anchors(self, observations: Tensor) -> Tensor:
        """Anchors (B, O) of raw observations (B, O)."""
        if not self.anchor_steps:
            return observations
        return seek(self.dynamics, self.seeker, observations, self.anchor_steps)

    def learn(self, *arguments: Any, **options: Any) -> Any:
        """As every agent's; the first time models and π̃ are fitted before the first update."""
        if self.anchor_steps and len(self.dataset) and not self.seeker.fitted:
            self.pretrain()
        return super().learn(*arguments, **options)

    def pretrain(self) -> None:
        """Fit both models, and π̃ on divergent rollouts; note what came of it."""
        data, generator = self.dataset, self._generator
        self.fit_model()
        told = self.teller("the backward model")
        self.reverse.fit(data, generator, **self._fit, told=told)
        told = self.teller("the anchor-seeking policy")
        pairs = divergent_rollouts(self.reverse, data, generator, self.reverse_length)
        losses = self.seeker.fit(*pairs, generator, told=told)
        error = round_trip(self.dynamics, self.reverse, data)
        self.pretraining = {"round_trip": error, "seeker_loss": losses[-1]}

    # ------------------------------------------------------------------ persistence

    def get_extra_state(self) -> dict[str, Any]:
        """What the base has, and what came of the pre-training."""
        return super().get_extra_state() | {"pretraining": dict(self.pretraining)}

    def set_extra_state(self, state: Any) -> None:
        """Go on from what `get_extra_state` gave."""
        super().set_extra_state(state)
        self.pretraining = dict(state["pretraining"])


@cache
def _over(kind: type[COCOA], base: str) -> type[COCOA]:
    """COCOA, or a class of it, with a base below: what it does not say itself, the base says."""
    module, _, name = base_named(base).path.partition(":")
    below = getattr(importlib.import_module(module), name)
    if issubclass(kind, below):
        return kind
    about = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    return type(kind.__name__, (kind, below), about)
