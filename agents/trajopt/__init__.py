"""Trajectory optimisation: control found by gradients through the simulator."""

from agents.schemes import Schemes
from agents.trajopt.adam import Result, check_options, optimise
from agents.trajopt.objective import LossWindow, check_schemes
from agents.trajopt.policies import POLICIES, Feedback, Gait, OpenLoop, make_policy
from agents.trajopt.rollout import Rollout, rollout

__all__ = [
    "POLICIES",
    "Feedback",
    "Gait",
    "LossWindow",
    "OpenLoop",
    "Result",
    "Rollout",
    "Schemes",
    "check_options",
    "check_schemes",
    "make_policy",
    "optimise",
    "rollout",
]
