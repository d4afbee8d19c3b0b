"""Identification: parameters found from a trajectory, by gradients and by sampling."""

from agents.identification.methods import METHODS, Result, identify
from agents.identification.problem import Problem, starting_values
from agents.identification.search import Search

__all__ = ["METHODS", "Problem", "Result", "Search", "identify", "starting_values"]
