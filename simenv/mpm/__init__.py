"""Differentiable MLS-MPM: scenes, bodies, materials, and a batched simulator with gradients.

Shapes (`Box`, `Sphere`, `Mesh`, … and their combinations) fill with material or stand as solid
tools; the module `tools` has common ones.
"""

from simenv.mpm.body import Body
from simenv.mpm.materials import FixedCorotated, Material, Muscle, NeoHookean
from simenv.mpm.neural import NeuralLaw
from simenv.mpm.rigid import Rigid
from simenv.mpm.scene import Scene
from simenv.mpm.shapes import (
    Box,
    Capsule,
    Cylinder,
    Difference,
    HalfSpace,
    Mesh,
    Placed,
    Shape,
    Sphere,
    Union,
)
from simenv.mpm.simulator import Simulator
from simenv.mpm.state import Control, State, describe_fault
from simenv.mpm.walls import Wall

__all__ = [
    "Body",
    "Box",
    "Capsule",
    "Control",
    "Cylinder",
    "Difference",
    "FixedCorotated",
    "HalfSpace",
    "Material",
    "Mesh",
    "Muscle",
    "NeoHookean",
    "NeuralLaw",
    "Placed",
    "Rigid",
    "Scene",
    "Shape",
    "Simulator",
    "Sphere",
    "State",
    "Union",
    "Wall",
    "describe_fault",
]
