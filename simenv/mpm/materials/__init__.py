"""Constitutive laws, each one small class: parameters, equation, wave speed.

A law says what stress its particles bear. Laws are written as Warp functions of the deformation
gradient (`TensorLaw`) or of its principal strains (`SpectralLaw`); the adjoints, those of the
parameters included, follow from these, so a new law derives nothing by hand (docs/materials.md).
"""

from simenv.mpm.materials.base import (
    DENSITY,
    STABLE_COURANT,
    STABLE_DIFFUSION,
    Bound,
    LinearElastic,
    Material,
    Response,
    lame,
)
from simenv.mpm.materials.elastic import FixedCorotated, Hencky, NeoHookean
from simenv.mpm.materials.fluids import Bingham, Fluid, HerschelBulkley
from simenv.mpm.materials.muscle import Muscle
from simenv.mpm.materials.plastic import DruckerPrager, Snow, VonMises
from simenv.mpm.materials.spectral import SpectralLaw
from simenv.mpm.materials.tensor import TensorLaw

__all__ = [
    "DENSITY",
    "STABLE_COURANT",
    "STABLE_DIFFUSION",
    "Bingham",
    "Bound",
    "DruckerPrager",
    "FixedCorotated",
    "Fluid",
    "Hencky",
    "HerschelBulkley",
    "LinearElastic",
    "Material",
    "Muscle",
    "NeoHookean",
    "Response",
    "Snow",
    "SpectralLaw",
    "TensorLaw",
    "VonMises",
    "lame",
]
