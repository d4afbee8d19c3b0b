"""Trajectory optimisation: control found by gradients through the simulator, or by trial in it."""

from agents.schemes import Schemes
from agents.trajopt.gradient import DESCENTS, check_options, optimise
from agents.trajopt.keeper import Result
from agents.trajopt.objective import LossWindow, check_schemes
from agents.trajopt.policies import POLICIES, Feedback, Gait, OpenLoop, Plan, make_policy
from agents.trajopt.receding import Receding
from agents.trajopt.rollout import Rollout, rollout
from agents.trajopt.sampling import sample
from agents.trajopt.trials import Trials

__all__ = [
    "DESCENTS",
    "POLICIES",
    "Feedback",
    "Gait",
    "LossWindow",
    "OpenLoop",
    "Plan",
    "Receding",
    "Result",
    "Rollout",
    "Schemes",
    "Trials",
    "check_options",
    "check_schemes",
    "make_policy",
    "optimise",
    "rollout",
    "sample",
]
