"""The faces of a task: `Functional`, `Env`, `VectorEnv` and the Stable-Baselines3 adapter."""

from simenv.envs.env import Env, GoalEnv
from simenv.envs.functional import Functional
from simenv.envs.start import Start
from simenv.envs.task import Task
from simenv.envs.vector import VectorEnv
from simenv.envs.wrappers import SafetyTuple

__all__ = ["Env", "Functional", "GoalEnv", "SafetyTuple", "Start", "Task", "VectorEnv"]
