"""Trajectory optimisation: control found by gradients through the simulator."""

from agents.trajopt.adam import Result, check_options, optimise
from agents.trajopt.policies import POLICIES, Feedback, Gait, OpenLoop, make_policy
from agents.trajopt.rollout import Rollout, rollout

__all__ = [
    "POLICIES",
    "Feedback",
    "Gait",
    "OpenLoop",
    "Result",
    "Rollout",
    "check_options",
    "make_policy",
    "optimise",
    "rollout",
]
