"""Systems of points that stand in for `Functional`, with answers that are known."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from scipy.linalg import solve_discrete_are
from torch import Tensor

from agents.demonstrations import Demonstration, demonstrate
from simenv.mpm import State

STEP = 0.05
LIMIT = 3.0
WEIGHTS = (1.0, 0.1, 0.05)
"""Of squared position, velocity and force."""


class DoubleIntegrator:
    """A point on a plane that is to rest at the origin: v' = v + u Δt, x' = x + v' Δt.

    Args:
        num_envs: N.
        horizon: steps of an episode.
    """

    device = "cpu"

    def __init__(self, num_envs: int = 64, horizon: int = 200) -> None:
        self.num_envs = num_envs
        self.task = SimpleNamespace(
            horizon=horizon,
            num_actions=2,
            num_features=4,
            features=lambda state: torch.cat([state.x[:, 0], state.v[:, 0]], dim=1),
            observation_space=spaces.Box(-10.0, 10.0, (4,), np.float32),
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
        )

    def initial(self, seed: int = 0, start: object = None) -> State:
        """At rest in the square [-1, 1]², environment i drawn from seed + i."""
        n = self.num_envs
        rows = [np.random.default_rng(seed + i).uniform(-1, 1, 2) for i in range(n)]
        x = torch.as_tensor(np.stack(rows))
        return points(x, torch.zeros_like(x))

    def transition(self, state: State, action: Tensor) -> State:
        """One step."""
        v = state.v + STEP * LIMIT * action[:, None]
        return state.replace(x=state.x + STEP * v, v=v, time=state.time + 1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the weighted squares of place, velocity and force before the step."""
        parts = state.x[:, 0], state.v[:, 0], LIMIT * action
        squares = [w * part.square().sum(dim=1) for w, part in zip(WEIGHTS, parts, strict=True)]
        return -torch.stack(squares).sum(dim=0)

    def terminal(self, state: State) -> Tensor:
        """Never."""
        return torch.zeros(self.num_envs, dtype=torch.bool)

    def success(self, state: State) -> Tensor:
        """Close to the origin."""
        return state.x[:, 0].norm(dim=1) < 0.1


class Pendulum:
    """Pendulum-v1 of Gymnasium, in torch: angle from upright and its rate as first of x and v.

    Args:
        num_envs: N.
    """

    device = "cpu"

    def __init__(self, num_envs: int = 1) -> None:
        self.num_envs = num_envs
        self.task = SimpleNamespace(horizon=200, num_actions=1, features=self.features)

    def initial(self, seed: int = 0, start: object = None) -> State:
        """Where the environment starts with that seed, for all N alike."""
        env = gymnasium.make("Pendulum-v1")
        env.reset(seed=seed)
        return self.at(*env.unwrapped.state)

    def features(self, state: State) -> Tensor:
        """Angle and rate, (N, 2)."""
        return torch.cat([state.x[:, 0, :1], state.v[:, 0, :1]], dim=1)

    def success(self, state: State) -> Tensor:
        """Nearly upright."""
        return torch.cos(state.x[:, 0, 0]) > 0.99

    def at(self, angle: float, rate: float) -> State:
        """A state, for all N alike."""
        return points(*(torch.tensor([[value, 0.0]] * self.num_envs) for value in (angle, rate)))

    def transition(self, state: State, action: Tensor) -> State:
        """One step of 0.05 s under a torque of up to 2 N m."""
        torque = 2.0 * action.clamp(-1.0, 1.0)
        slope = 15.0 * torch.sin(state.x[:, :, 0]) + 3.0 * torque
        v = torch.zeros_like(state.v)
        v[:, :, 0] = (state.v[:, :, 0] + 0.05 * slope).clamp(-8.0, 8.0)
        return state.replace(x=state.x + 0.05 * v, v=v, time=state.time + 1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Of the state before the step."""
        angle = torch.remainder(state.x[:, 0, 0] + np.pi, 2 * np.pi) - np.pi
        torque = 2.0 * action[:, 0].clamp(-1.0, 1.0)
        return -(angle.square() + 0.1 * state.v[:, 0, 0].square() + 0.001 * torque.square())

    def terminal(self, state: State) -> Tensor:
        """Never."""
        return torch.zeros(self.num_envs, dtype=torch.bool)


def points(x: Tensor, v: Tensor) -> State:
    """A point for each environment, at rest in all other fields; x and v are (N, d)."""
    n, d = x.shape
    flat, time = torch.zeros(n, 1, d, d), torch.zeros(n, dtype=torch.int64)
    place, speed = x.float()[:, None], v.float()[:, None]
    return State(place, speed, flat, flat, time=time, fault=time.to(torch.int32))


def gains() -> np.ndarray:
    """K (2,) of the best linear law of one axis, u = −K (x, v), by the Riccati equation."""
    # x' = x + Δt (v + Δt u), v' = v + Δt u.
    a = np.array([[1.0, STEP], [0.0, 1.0]])
    b = np.array([[STEP**2], [STEP]])
    q, r = np.diag(WEIGHTS[:2]), np.diag(WEIGHTS[2:])
    p = solve_discrete_are(a, b, q, r)
    return np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)[0]


@torch.no_grad()
def play(system: DoubleIntegrator, act, seed: int = 0) -> float:
    """Mean return of actions (N, 2) by features (N, 4) over an episode."""
    state, total = system.initial(seed), torch.zeros(system.num_envs)
    for _ in range(system.task.horizon):
        action = act(system.task.features(state)).clamp(-1.0, 1.0)
        after = system.transition(state, action)
        total += system.reward(state, action, after)
        state = after
    return float(total.mean())


def lqr(features: Tensor) -> Tensor:
    """The best linear law, in units of the largest force; it saturates at nothing beyond that."""
    k = torch.as_tensor(gains(), dtype=features.dtype)
    return -(k[0] * features[:, :2] + k[1] * features[:, 2:]) / LIMIT


class TwoMasses:
    """Two masses on a plane, joined by a spring, on top of a hill that they roll off if left alone.

    Forces are disturbed and starts differ, so that whoever repeats a demonstration's actions drifts
    away from it, and the hill makes that worse: a policy must learn to correct itself, of which a
    demonstration without noise shows nothing.

    Args:
        num_envs: N.
        force_noise: deviation of the disturbance of every force [N].
        start_noise: deviation of every number of the start [m, m/s].
        dtype: of its tensors.
    """

    device = "cpu"
    horizon = 64
    push, stiffness, length, hill = 20.0, 20.0, 1.0, 2.0
    """Largest force [N], of the spring [N/m] and [m], and of the hill [N/m]; masses of 1 kg."""

    def __init__(
        self,
        num_envs: int = 32,
        force_noise: float = 0.3,
        start_noise: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.num_envs, self.dtype = num_envs, dtype
        self.force_noise, self.start_noise = force_noise, start_noise
        self.task = SimpleNamespace(
            horizon=self.horizon,
            num_actions=4,
            num_features=8,
            features=lambda state: torch.cat([state.x.flatten(1), state.v.flatten(1)], dim=1),
            observation_space=spaces.Box(-np.inf, np.inf, (8,), np.float32),
            action_space=spaces.Box(-1.0, 1.0, (4,), np.float32),
        )

    def initial(self, seed: int = 0, start: object = None) -> State:
        """Side by side and at rest but for the noise; environment i is drawn from seed + i."""
        draws = [
            np.random.default_rng(seed + i).normal(size=(2, 2, 2)) for i in range(self.num_envs)
        ]
        noise = self.start_noise * torch.as_tensor(np.stack(draws)).to(self.dtype)
        rest = torch.tensor([[0.0, 0.0], [self.length, 0.0]], dtype=self.dtype)
        n, flat = self.num_envs, noise.new_zeros(self.num_envs, 2, 2, 2)
        time = torch.zeros(n, dtype=torch.int64)
        return State(
            rest + noise[:, 0], noise[:, 1], flat, flat, time=time, fault=time.to(torch.int32)
        )

    def transition(self, state: State, action: Tensor) -> State:
        """One step, disturbed by draws from torch's global generator."""
        force = self.push * action.clamp(-1.0, 1.0).reshape(-1, 2, 2)
        force = force + self.force_noise * torch.randn_like(force)
        apart = state.x[:, 1] - state.x[:, 0]
        far = apart.norm(dim=1, keepdim=True)
        pull = self.stiffness * (far - self.length) * apart / far
        force = force + self.hill * state.x + torch.stack([pull, -pull], dim=1)
        v = state.v + STEP * force
        return state.replace(x=state.x + STEP * v, v=v, time=state.time + 1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the squared force."""
        return -action.square().sum(dim=1)

    def terminal(self, state: State) -> Tensor:
        """Never."""
        return torch.zeros(self.num_envs, dtype=torch.bool)

    def success(self, state: State) -> Tensor:
        """Never."""
        return self.terminal(state)


def driver(state: State, t: int) -> Tensor:
    """Actions (N, 4) that drive both masses of `TwoMasses` around a lying eight, by PD control."""
    rate, gain, damping = 2 * np.pi / (TwoMasses.horizon * STEP), 30.0, 8.0
    time, reach = torch.tensor((t + 1) * STEP), torch.tensor([2.0, 1.0])
    rates = torch.tensor([rate, 2 * rate])
    place = reach * torch.sin(rates * time)
    speed, bend = (
        reach * rates * torch.cos(rates * time),
        -reach * rates**2 * torch.sin(rates * time),
    )
    aim = torch.stack([place, place + torch.tensor([TwoMasses.length, 0.0])])
    force = gain * (aim - state.x) + damping * (speed - state.v) + bend - TwoMasses.hill * state.x
    return (force / TwoMasses.push).clamp(-1.0, 1.0).flatten(1)


def demonstrated() -> Demonstration:
    """One round of `driver`, without any noise."""
    return demonstrate(TwoMasses(1, 0.0, 0.0), driver)


@torch.no_grad()
def position_error(act, demonstration: Demonstration, seed: int = 10**6, num_envs: int = 256):
    """Root mean square distance of a coordinate from the demonstration at the same step."""
    system = TwoMasses(num_envs)
    state, target = system.initial(seed), torch.as_tensor(demonstration.states["x"])
    torch.manual_seed(seed)
    squares = []
    for t in range(system.horizon):
        state = system.transition(state, act(system.task.features(state)))
        squares.append((state.x - target[t + 1]).square().mean())
    return float(torch.stack(squares).mean().sqrt())
