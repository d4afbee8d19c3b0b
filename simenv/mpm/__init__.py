"""Differentiable MLS-MPM: scenes, bodies, materials, and a batched simulator with gradients.

Shapes (`Box`, `Sphere`, `Mesh`, … and their combinations) fill with material or stand as solid
tools; the module `tools` has common ones.
"""

from simenv.mpm.body import Body
from simenv.mpm.materials import (
    Bingham,
    Bound,
    DruckerPrager,
    FixedCorotated,
    Fluid,
    Hencky,
    HerschelBulkley,
    LinearElastic,
    Material,
    Muscle,
    NeoHookean,
    Snow,
    SpectralLaw,
    TensorLaw,
    VonMises,
)
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
from simenv.mpm.torch_law import TorchLaw
from simenv.mpm.walls import Wall

__all__ = [
    "Bingham",
    "Body",
    "Bound",
    "Box",
    "Capsule",
    "Control",
    "Cylinder",
    "Difference",
    "DruckerPrager",
    "FixedCorotated",
    "Fluid",
    "HalfSpace",
    "Hencky",
    "HerschelBulkley",
    "LinearElastic",
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
    "Snow",
    "SpectralLaw",
    "Sphere",
    "State",
    "TensorLaw",
    "TorchLaw",
    "Union",
    "VonMises",
    "Wall",
    "describe_fault",
]
