"""The faces of a task: `Functional`, `Env`, `VectorEnv` and the Stable-Baselines3 adapter."""

from simenv.envs.env import Env
from simenv.envs.functional import Functional
from simenv.envs.task import Task
from simenv.envs.vector import VectorEnv

__all__ = ["Env", "Functional", "Task", "VectorEnv"]
