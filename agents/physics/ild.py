"""ILD: imitation of a demonstration by matching states through the simulator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from agents.demonstrations import Demonstration, as_demonstration, require_continued
from agents.environments import make_vec
from agents.physics.algorithm import FirstOrder
from agents.physics.episodes import Episode, Episodes
from agents.physics.matching import DISTANCES, Matching, deviations
from agents.physics.networks import SmoothActor
from agents.train_options import check_range
from simenv.envs.start import Start
from simenv.errors import ConfigurationError, DatasetError, require_count, require_one_of

FLAT = (
    "every episode is so far from the demonstration that the tanh of its loss is 1 and has no "
    "slope; leave it out (squash=False), or clone the demonstration first (warmup)"
)
NONE_KEPT = (
    "keep_best compares whole episodes, and in every update one ended early: the last policy stays"
)


class ILD(FirstOrder):
    """Imitation learning via differentiable physics (Chen et al., CVPR 2023, arXiv:2206.04873).

    An update plays whole episodes with the present policy and moves it down the gradient of how far
    their states are from those of one demonstration. There is no discriminator and no reward.

    Args:
        env: see `FirstOrder`.
        eval_env: see there.
        demonstration: the one to imitate, or its file.
        match: what is matched of a state (`agents.physics.matching`): "statistics" of its bodies,
            the task's "features", or some "particles".
        loss: "chamfer": every state to the nearest of the demonstration, and back; "pointwise": to
            the one of the same step.
        kappa: κ, weight of the way from the rollout to the demonstration.
        reverse_discount: distances t steps before the end count reverse_discountᵗ.
        state_weight: of the states' distance in the loss.
        action_weight: of that of the actions.
        entropy_weight: of the negative entropy of the policy.
        squash: the loss is the tanh of the weighted sum, as in the paper, so that rollouts that are
            far off do not outweigh the others; those beyond 9 teach nothing at all.
        truncation: steps through which gradients flow; 0: all.
        clip_adjoint: bound on the norm of the adjoint state of an environment's own loss, at every
            step; 0: none.
        clip_action: the same of the adjoint action.
        warmup: steps of behavioural cloning before the first update.
        keep_best: when training ends, go back to the policy whose episodes had the lowest loss.
        initial_std: deviation of the policy at first, before tanh; the same in all states.
        normalize: standardise observations by the demonstration's.
        options: everything else that `FirstOrder` takes.

    Attributes:
        best_loss: (), lowest loss of an update's episodes.

    Raises:
        DatasetError: a demonstration that is missing, damaged, of another task or other spaces.
        ConfigurationError: an option outside its bounds.

    Example:
        >>> model = ILD("simenv/SoftWalker2D-v0", demonstration="run/demonstration.npz", seed=0)
        >>> model.learn(200 * model.stride).save("imitator")
    """

    unsaved: ClassVar[tuple[str, ...]] = (*FirstOrder.unsaved, "demonstration")

    def __init__(
        self,
        env: Any,
        eval_env: Any = None,
        *,
        demonstration: Demonstration | str | Path | None = None,
        match: Literal["statistics", "features", "particles"] = "statistics",
        loss: Literal["chamfer", "pointwise"] = "chamfer",
        kappa: float = 1.0,
        reverse_discount: float = 1.0,
        state_weight: float = 1.0,
        action_weight: float = 0.0,
        entropy_weight: float = 0.0,
        squash: bool = False,
        truncation: int = 10,
        clip_adjoint: float = 1.0,
        clip_action: float = 1.0,
        warmup: int = 1_000,
        keep_best: bool = True,
        initial_std: float = 0.1,
        num_envs: int = 16,
        learning_rate: float = 1e-3,
        net_arch: Sequence[int] = (512, 256),
        max_grad_norm: float = 0.3,
        **options: Any,
    ) -> None:
        require_one_of("loss", loss, DISTANCES)
        require_count("truncation", truncation, 0)
        require_count("warmup", warmup, 0)
        check_range("kappa", kappa, at_least=0.0)
        check_range("reverse_discount", reverse_discount, above=0.0, at_most=1.0)
        check_range("initial_std", initial_std, above=0.0)
        for name, value in (("state", state_weight), ("action", action_weight)):
            check_range(f"{name}_weight", value, at_least=0.0)
        check_range("entropy_weight", entropy_weight)
        self.match, self.loss, self.kappa = match, loss, kappa
        self.reverse_discount = reverse_discount
        self.state_weight, self.action_weight = state_weight, action_weight
        self.entropy_weight, self.squash, self.truncation = entropy_weight, squash, truncation
        self.warmup, self.keep_best = warmup, keep_best
        self.initial_std = initial_std
        self.demonstration = as_demonstration(demonstration)
        if self.demonstration is not None and isinstance(env, str):
            self.demonstration.require_task(env)
        chosen = {} if self.demonstration is None else self.demonstration.start_options()
        if chosen and isinstance(eval_env, str):
            # It is judged by the goal that it was shown.
            given = dict(options.get("task_options") or {})
            device = str(options.get("device", "cpu"))
            eval_env = make_vec(eval_env, device=device, reset_options=chosen, **given)
        super().__init__(
            env,
            eval_env,
            num_envs=num_envs,
            learning_rate=learning_rate,
            net_arch=net_arch,
            clip_adjoint=clip_adjoint,
            clip_action=clip_action,
            max_grad_norm=max_grad_norm,
            **options,
        )

    # ------------------------------------------------------------------ set-up

    def setup(self) -> None:
        """Policy, its best so far, and what it is to match."""
        sizes, std = (self.num_features, self.num_actions), self.initial_std
        actor = SmoothActor(*sizes, self.net_arch, activation=nn.SiLU, initial_std=std)
        self.actor = actor.to(self.device)
        self.actor_optimizer = torch.optim.Adam(actor.parameters(), self.learning_rate)
        self.best_actor = deepcopy(self.actor).requires_grad_(False)
        self.best_loss = torch.full((), torch.inf, device=self.device)
        self._warm, self._settled = False, False
        if self.demonstration is not None:
            self._study(self.demonstration)

    def _study(self, demonstration: Demonstration) -> None:
        """Take the demonstration's statistics, actions, and what is matched of its states."""
        demonstration.require_spaces(self.observation_space, self.action_space)
        seen = torch.as_tensor(demonstration.features, device=self.device)
        self._seen, self._acted = seen[:-1], torch.as_tensor(demonstration.actions).to(seen)
        if self.norm is not None:
            self.norm.update(seen)
            self.norm.var.copy_(deviations(seen).square())
        if self.stage is not None:
            like, task = self.stage.state.x, self.functional.task
            self._matching = Matching(self.match, task, demonstration, like)

    def require_demonstration(self) -> Demonstration:
        """What is imitated.

        Raises:
            ConfigurationError: the agent was made or loaded without.
        """
        if self.demonstration is None:
            raise ConfigurationError("there is nothing to imitate: pass demonstration=…")
        return self.demonstration

    @property
    def steps_per_update(self) -> int:
        """T, steps of the demonstration."""
        return len(self.require_demonstration())

    def make_stage(self, functional: Any, seed: int) -> Episodes:
        """The environments, which pursue the demonstration's goal.

        Raises:
            DatasetError: it has another number of goals than the task.
        """
        shown = len(self.require_demonstration().goal)
        wanted = getattr(functional.task, "num_goals", 0)
        if shown != wanted:
            raise DatasetError(f"the demonstration has a goal of {shown} numbers, not of {wanted}")
        return Episodes(functional, seed, self._start())

    def _start(self) -> Start | None:
        options = self.require_demonstration().start_options()
        return Start(**options) if options else None

    # ------------------------------------------------------------------ learning

    def learn(self, *args: Any, **options: Any) -> Any:
        """As `Learner.learn`, after the warm-up."""
        if not self._warm:
            self.warm_up()
        return super().learn(*args, **options)

    def warm_up(self) -> None:
        """Behavioural cloning of the demonstration: Σ (π(s) − a)², all of its steps at once."""
        self.require_demonstration()
        optimizer = torch.optim.Adam(self.actor.parameters(), self.learning_rate)
        seen = self.encode(self._seen)
        for _ in range(self.warmup):
            loss = (self.actor(seen) - self._acted).square().sum(dim=1).mean()
            self.descend(optimizer, "warmup_loss", loss)
        self._warm = True

    def iterate(self) -> dict[str, Tensor]:
        """One step of the policy down the loss of whole episodes."""
        stage = self.require_stage()
        self.require_demonstration()
        self._settled = False
        # The loss is a mean over environments; the bounds are on the adjoints of each one's own.
        watch = self.watch(self.functional.num_envs)
        assert isinstance(stage, Episodes)
        episode = stage.play(
            self.draw, self._matching, self.steps_per_update, self.truncation, watch
        )
        found = self.distances(episode)
        loss = self.weigh(found, episode).mean()
        # Steps that do not count are at no distance: who breaks off early is not the best.
        if bool(episode.counted.all()):
            self._keep(loss.detach())
        if self.squash and loss >= 1.0:
            warnings.warn(FLAT, RuntimeWarning, stacklevel=2)
        name = "imitation_loss"
        loss = self.descend(self.actor_optimizer, name, loss, self.max_grad_norm, watch)
        rewards = torch.where(episode.counted, episode.rewards, 0.0)
        more = {"train_return": rewards.sum(dim=0), "entropy": episode.entropy()}
        return {name: loss, **found, **more}

    def distances(self, episode: Episode) -> dict[str, Tensor]:
        """How far states, and actions where they count, are from the demonstration's, (N,) each."""
        apart, given = DISTANCES[self.loss], (self.kappa, self.reverse_discount)
        counted = episode.counted
        found = {"state_distance": apart(episode.matched, self._matching.target, counted, *given)}
        if self.action_weight:
            found["action_distance"] = apart(episode.actions, self._acted, counted, *given)
        return found

    def weigh(self, distances: Mapping[str, Tensor], episode: Episode) -> Tensor:
        """Loss (N,) of each environment's episode."""
        total = self.state_weight * distances["state_distance"]
        if self.action_weight:
            total = total + self.action_weight * distances["action_distance"]
        if self.entropy_weight:
            total = total - self.entropy_weight * episode.entropy()
        return torch.tanh(total) if self.squash else total

    def _keep(self, loss: Tensor) -> None:
        """Remember the policy if its episodes had the lowest loss so far."""
        if self.keep_best and loss < self.best_loss:
            self.best_loss.copy_(loss)
            self.best_actor.load_state_dict(self.actor.state_dict())

    def finish(self) -> None:
        """Act from here on as the best policy did; going on, training takes up the last one."""
        found = bool(torch.isfinite(self.best_loss))
        if self.keep_best and not found:
            warnings.warn(NONE_KEPT, RuntimeWarning, stacklevel=2)
        self._settled = self.keep_best and found

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """The action of the mean, or a draw; of the best policy once training has ended."""
        actor = self.best_actor if self._settled else self.actor
        return actor(observations) if deterministic else actor.sample(observations)[0]

    # ------------------------------------------------------------------ state

    def get_extra_state(self) -> dict[str, Any]:
        """With the digest of the demonstration, and how far training has come."""
        given = self.demonstration
        return {
            **super().get_extra_state(),
            "demonstration": None if given is None else given.digest(),
            "warm": self._warm,
            "settled": self._settled,
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave.

        Raises:
            CheckpointError: it learnt from another demonstration.
        """
        require_continued(state["demonstration"], self.demonstration)
        super().set_extra_state(state)
        self._warm, self._settled = state["warm"], state["settled"]
