"""Networks of the offline agents: actors, critics, and standardised observations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn
from torch.nn import functional as F

from agents.offline.options import LOG_STD

Front = Callable[[int], nn.Module | None]
"""Makes what a network's input passes first, for an input of so many features; it has a `width`."""


def mlp(
    inputs: int,
    outputs: int,
    widths: Sequence[int],
    *,
    layer_norm: bool = False,
    front: Front | None = None,
) -> nn.Sequential:
    """(B, inputs) to (B, outputs) through hidden layers with ReLU, LayerNorm before it if asked."""
    norms: list[type[nn.Module]] | None = [nn.LayerNorm] if layer_norm else None
    first = None if front is None else front(inputs)
    before = [] if first is None else [first]
    width = inputs if first is None else int(first.width)  # type: ignore[arg-type]
    hidden = create_mlp(width, outputs, list(widths), post_linear_modules=norms)
    return nn.Sequential(*before, *hidden)


class Critics(nn.Module):
    """N value functions of states, or of states and actions, side by side.

    Args:
        inputs: width of everything that `forward` is given.
        widths: of the hidden layers.
        count: N.
        layer_norm: LayerNorm in the hidden layers.
        front: of each network; None: none.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        count: int = 2,
        *,
        layer_norm: bool = False,
        front: Front | None = None,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            mlp(inputs, 1, widths, layer_norm=layer_norm, front=front) for _ in range(count)
        )

    def forward(self, *inputs: Tensor) -> Tensor:
        """Values (B, N) of inputs (B, …), side by side."""
        joined = torch.cat(inputs, dim=-1)
        return torch.cat([member(joined) for member in self.members], dim=-1)

    def smallest(self, *inputs: Tensor) -> Tensor:
        """The least of the values, (B, 1)."""
        return self(*inputs).min(dim=-1, keepdim=True).values


class DeterministicActor(nn.Module):
    """a = tanh(network(s)), (B, O) to (B, A)."""

    def __init__(self, inputs: int, actions: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(inputs, actions, widths)

    def forward(self, observations: Tensor) -> Tensor:
        """Actions (B, A)."""
        return torch.tanh(self.network(observations))


class GaussianActor(nn.Module):
    """a ~ N(tanh(network(s)), σ²), σ the same in every state.

    The distribution is not squashed: actions at the very bound, which data are full of, have a
    finite density.
    """

    def __init__(
        self, inputs: int, actions: int, widths: Sequence[int], front: Front | None = None
    ) -> None:
        super().__init__()
        self.network = mlp(inputs, actions, widths, front=front)
        self.log_std = nn.Parameter(torch.zeros(actions))

    def forward(self, observations: Tensor) -> Tensor:
        """The mean (B, A)."""
        return torch.tanh(self.network(observations))

    def std(self) -> Tensor:
        """σ (A,)."""
        return self.log_std.clamp(*LOG_STD).exp()

    def sample(self, observations: Tensor) -> Tensor:
        """Actions (B, A) in [-1, 1]."""
        mean = self(observations)
        return (mean + self.std() * torch.randn_like(mean)).clamp(-1.0, 1.0)

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Log density (B, 1) of actions (B, A)."""
        return normal_log_prob(self(observations), self.std(), actions)


class Squashed(nn.Module):
    """a = tanh(u), u ~ N(μ(s), σ(s)²); `parameters_of` says which."""

    def parameters_of(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ of u, (B, A) each."""
        raise NotImplementedError

    def forward(self, observations: Tensor) -> Tensor:
        """The action of the mean, tanh μ, (B, A)."""
        return torch.tanh(self.parameters_of(observations)[0])

    def sample(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (B, A), through which gradients flow, and their log densities (B, 1)."""
        return squashed_draw(*self.parameters_of(observations))

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Log density (B, 1) of actions (B, A); those at the bound are moved a little inside."""
        before = torch.atanh(actions.clamp(-1 + 1e-6, 1 - 1e-6))
        return normal_log_prob(*self.parameters_of(observations), before) - log_slope(before)


class SquashedGaussianActor(Squashed):
    """μ and σ from one network (Haarnoja et al., arXiv:1812.05905, appendix C)."""

    def __init__(
        self, inputs: int, actions: int, widths: Sequence[int], front: Front | None = None
    ) -> None:
        super().__init__()
        self.network = mlp(inputs, 2 * actions, widths, front=front)

    def parameters_of(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ of u, (B, A) each."""
        return mean_and_std(self.network(observations))


def mean_and_std(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """μ and σ, (B, A) each, of what a network says of both (B, 2 A)."""
    mean, log_std = outputs.chunk(2, dim=-1)
    return mean, log_std.clamp(*LOG_STD).exp()


def squashed_draw(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Actions tanh u, u ~ N(mean, std²), (…, A), and their log densities (…, 1)."""
    before = mean + std * torch.randn_like(mean)
    return torch.tanh(before), normal_log_prob(mean, std, before) - log_slope(before)


def normal_log_prob(mean: Tensor, std: Tensor, values: Tensor) -> Tensor:
    """Log density (B, 1) of values (B, A) under N(mean, std²), summed over A."""
    scaled = (values - mean) / std
    each = -0.5 * scaled.square() - std.log() - 0.5 * math.log(2 * math.pi)
    return each.sum(dim=-1, keepdim=True)


def log_slope(before: Tensor) -> Tensor:
    """Σ log(1 − tanh²u), (B, 1), as 2 (log 2 − u − softplus(−2u)), which does not cancel."""
    each = 2.0 * (math.log(2.0) - before - F.softplus(-2.0 * before))
    return each.sum(dim=-1, keepdim=True)


class Standardiser(nn.Module):
    """(s − mean) / (std + ε) by the statistics of a dataset.

    Args:
        dim: O.
        epsilon: ε, 1e-3 in Fujimoto & Gu (arXiv:2106.06860, section 5.2).

    Attributes:
        mean: (O,), zero until `fit`.
        std: (O,), such that nothing changes until `fit`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.full((dim,), 1.0 - epsilon))

    def fit(self, observations: Tensor) -> None:
        """Take the statistics of observations (T, O)."""
        var, mean = torch.var_mean(observations, dim=0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(var.sqrt())

    @property
    def scale(self) -> Tensor:
        """What is divided by, (O,)."""
        return self.std + self.epsilon

    def forward(self, observations: Tensor) -> Tensor:
        """(…, O) to (…, O)."""
        return (observations - self.mean) / self.scale

    def inverse(self, standardised: Tensor) -> Tensor:
        """What `forward` made (…, O) of."""
        return standardised * self.scale + self.mean
