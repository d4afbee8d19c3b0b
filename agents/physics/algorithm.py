"""FirstOrder: what agents have in common that learn by gradients through the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from gymnasium import spaces
from torch import Tensor
from torch.optim import Optimizer

from agents.environments import as_vec_env
from agents.learner import Learner
from agents.networks import RunningNorm
from agents.physics.adjoints import Watch
from agents.physics.networks import SmoothActor
from agents.physics.windows import Drawn, Stage
from agents.spaces import Spaces, space_from
from agents.train_options import check_range, require_widths
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError, require_count


def _require_slope(functional: Any) -> None:
    sparse = getattr(functional, "reward_type", None) == "sparse"
    if sparse and getattr(functional, "variant", None) == "goal":
        raise ConfigurationError(
            f"the goal variant of {type(functional.task).__name__} rewards goals that are reached; "
            "take the id without '-Goal', whose observations hold the goal and whose reward has a "
            "slope"
        )


class FirstOrder(Learner):
    """Base of the agents that move a policy along gradients of rollouts.

    An algorithm overrides `setup`, which makes its networks and optimisers (`actor` and
    `actor_optimizer` among them), `steps_per_update` and `iterate`.

    Args:
        env: an id, or a `Functional`, whose `num_envs` then counts.
        eval_env: to evaluate in: an id, a Gymnasium environment or a `VecEnv`.
        num_envs: N, environments stepped together.
        learning_rate: step size of the policy, which falls linearly to `final_learning_rate`.
        final_learning_rate: see there; None: it stays.
        net_arch: widths of the policy's hidden layers.
        normalize: normalise observations by their running mean and variance, which stand still
            within a window.
        clip_adjoint: bound on the norm of an environment's adjoint state, at every step, of its own
            sum over a window (ILD: of its own loss); 0: none.
        clip_action: bound on that of its adjoint action; 0: none.
        max_grad_norm: bound on the norm of a network's gradient.
        seed: of everything random; None: another one each time.
        device: cpu, cuda:0 or auto.
        tensorboard_log: folder for TensorBoard; None: none.
        task_options: options of the task, where `env` or `eval_env` is an id.

    Attributes:
        num_timesteps: environment steps done so far.
        stage: the environments in the middle of their episodes; None where there are none.

    Raises:
        UnknownTaskError: no such id.
        ConfigurationError: an option outside its bounds, or a reward without a slope.
        DeviceError: no such device on this machine.
    """

    actor: SmoothActor
    actor_optimizer: Optimizer
    unsaved: ClassVar[tuple[str, ...]] = ("env", "eval_env", "device", "tensorboard_log")

    def __init__(
        self,
        env: Any,
        eval_env: Any = None,
        *,
        num_envs: int = 64,
        learning_rate: float = 2e-3,
        final_learning_rate: float | None = 1e-5,
        net_arch: Sequence[int] = (128, 64, 32),
        normalize: bool = True,
        clip_adjoint: float = 0.0,
        clip_action: float = 0.0,
        max_grad_norm: float = 1.0,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        tensorboard_log: str | None = None,
        task_options: Mapping[str, Any] | None = None,
    ) -> None:
        require_count("num_envs", num_envs)
        check_range("learning_rate", learning_rate, above=0.0)
        if final_learning_rate is not None:
            check_range("final_learning_rate", final_learning_rate, above=0.0)
        for name, value in (("clip_adjoint", clip_adjoint), ("clip_action", clip_action)):
            check_range(name, value, at_least=0.0)
        check_range("max_grad_norm", max_grad_norm, above=0.0)
        require_widths("net_arch", net_arch)
        self.learning_rate, self.final_learning_rate = learning_rate, final_learning_rate
        self.net_arch, self.max_grad_norm = tuple(net_arch), max_grad_norm
        self.clip_adjoint, self.clip_action = clip_adjoint, clip_action
        self.begin(seed, device, tensorboard_log)
        given = dict(task_options or {})
        if eval_env is not None:
            eval_env = as_vec_env(eval_env, device=str(self.device), **given)
        self.env = eval_env
        self._connect(env, num_envs, seed, given)
        features = self.num_features
        self.norm = RunningNorm(features).to(self.device) if normalize else None
        self.setup()

    def _connect(
        self, env: Any, num_envs: int, seed: int | None, options: Mapping[str, Any]
    ) -> None:
        """Take spaces and start states of an environment, or of `Spaces` its spaces alone."""
        self.stage: Stage | None = None
        if isinstance(env, Spaces):
            self.observation_space = cast(spaces.Box, env.observation_space)
            self.action_space = cast(spaces.Box, env.action_space)
            return
        if isinstance(env, str):
            env = Functional(env, num_envs=num_envs, device=str(self.device), **options)
        _require_slope(env)
        self.functional = env
        self.observation_space = env.task.observation_space
        self.action_space = env.task.action_space
        # A seed of its own: evaluation and other agents start elsewhere.
        start = int(torch.randint(2**30, (), generator=self._generator)) if seed is None else seed
        self.stage = self.make_stage(env, start)
        self.stride = self.steps_per_update * env.num_envs

    # ------------------------------------------------------------------ hooks

    def setup(self) -> None:
        """Make networks and optimisers, as attributes; widths are `num_features`, `num_actions`."""
        raise NotImplementedError

    @property
    def steps_per_update(self) -> int:
        """Steps that every environment takes for an update."""
        raise NotImplementedError

    def make_stage(self, functional: Any, seed: int) -> Stage:
        """The environments, whose start states follow from a seed."""
        return Stage(functional, seed)

    def draw(self, observations: Tensor) -> Drawn:
        """Actions through which gradients flow, and minus their log densities."""
        actions, log_probs = self.actor.sample(self.encode(observations))
        return Drawn(actions, -log_probs[:, 0])

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """The action of the mean, or a draw."""
        return self.actor(observations) if deterministic else self.actor.sample(observations)[0]

    # ------------------------------------------------------------------ learning

    @property
    def num_features(self) -> int:
        """O, width of the observations."""
        return int(spaces.flatdim(self.observation_space))

    @property
    def num_actions(self) -> int:
        """A."""
        return int(spaces.flatdim(self.action_space))

    def encode(self, observations: Tensor) -> Tensor:
        """Observations (…, O), normalised if asked."""
        return observations if self.norm is None else self.norm(observations)

    def schedule(self, progress: float) -> None:
        """The step size, linear in the progress."""
        self.fade(self.actor_optimizer, self.learning_rate, progress)

    def fade(self, optimizer: Optimizer, rate: float, progress: float) -> None:
        """Set a step size between `rate` and `final_learning_rate`, if there is one."""
        if self.final_learning_rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = (1 - progress) * rate + progress * self.final_learning_rate

    def watch(self, parts: int) -> Watch:
        """Bounds on the adjoints of each part's own worth, below a mean over so many parts."""
        return Watch(self.clip_adjoint / parts, self.clip_action / parts)

    def climb(self, name: str, gain: Tensor, watch: Watch) -> Tensor:
        """One step of the policy up a gain, unless its gradient is not finite; the gain."""
        return -self.descend(self.actor_optimizer, name, -gain, self.max_grad_norm, watch)

    def require_stage(self) -> Stage:
        """The environments.

        Raises:
            ConfigurationError: the agent was loaded without.
        """
        if self.stage is None:
            raise ConfigurationError("this agent was loaded without an environment: load(…, env=…)")
        return self.stage

    # ------------------------------------------------------------------ state

    @classmethod
    def _remade(
        cls: Any, about: Mapping[str, Any], env: Any, device: str, arguments: dict[str, Any]
    ) -> Any:
        if env is None:
            env = Spaces(space_from(about["observation"]), space_from(about["action"]))
        return cls(env, device=device, **arguments)

    def get_state(self) -> dict[str, Any]:
        """With the environments in the middle of their episodes."""
        return {**super().get_state(), "environment": self.require_stage().get_state()}

    def set_state(self, state: Mapping[str, Any], path: Any = "state") -> None:
        """Go on from what `get_state` gave; random generators come last."""
        self.require_stage().set_state(state["environment"])
        super().set_state(state, path)
