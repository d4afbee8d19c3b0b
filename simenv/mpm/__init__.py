"""Differentiable MLS-MPM: scenes, bodies, materials, and a batched simulator with gradients."""

from simenv.mpm.contact import Wall
from simenv.mpm.materials import FixedCorotated, Material, Muscle, NeoHookean
from simenv.mpm.scene import Body, Scene
from simenv.mpm.shapes import Box, Capsule, Shape, Sphere
from simenv.mpm.simulator import Simulator
from simenv.mpm.state import Control, State, describe_fault

__all__ = [
    "Body",
    "Box",
    "Capsule",
    "Control",
    "FixedCorotated",
    "Material",
    "Muscle",
    "NeoHookean",
    "Scene",
    "Shape",
    "Simulator",
    "Sphere",
    "State",
    "Wall",
    "describe_fault",
]
