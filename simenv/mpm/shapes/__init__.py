"""Geometry: from shapes to particles, signed distances, and what a rigid body needs of them.

A shape samples itself on a regular lattice or by an evenly spread sequence. Its particles share its
volume, so that a body's mass is ρ V to rounding, whatever the sampling.
"""

from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.compound import Difference, Union
from simenv.mpm.shapes.curved import Capsule, Cylinder, Sphere
from simenv.mpm.shapes.flat import Box, HalfSpace
from simenv.mpm.shapes.mesh import Mesh
from simenv.mpm.shapes.placed import Placed

__all__ = [
    "Array",
    "Box",
    "Capsule",
    "Cylinder",
    "Difference",
    "HalfSpace",
    "MassProperties",
    "Mesh",
    "Placed",
    "Shape",
    "Sphere",
    "Union",
]
