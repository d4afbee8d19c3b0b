"""Policies of the actor-critics: Stable-Baselines3's, with switches for newer networks."""

from __future__ import annotations

from stable_baselines3.sac.policies import MultiInputPolicy, SACPolicy

__all__ = ["ActorCriticPolicy", "MultiInputPolicy"]


class ActorCriticPolicy(SACPolicy):
    """Actor, critics and target critics."""
