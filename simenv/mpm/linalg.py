"""Polar decomposition with its exact adjoint, in two and three dimensions.

The generated adjoint of an SVD is wrong at repeated singular values, which is where every
simulation starts (F = I). Here neither the value nor the adjoint goes through an SVD.
"""

from functools import lru_cache
from typing import Any

import warp as wp

from simenv.mpm.types import Types

SINGULAR = 1.0e-6
"""Determinants below this, relative to the cube of the norm, count as zero."""


@lru_cache(maxsize=None)
def polar_rotation(types: Types) -> Any:
    """Warp function `R = polar(F)` with F = R S, R orthogonal, S symmetric positive.

    The adjoint solves for the rotation rate: dR = R [w]ₓ with (tr S · I − S) w = axial(Rᵀ dF),
    so for an adjoint G of R, F̄ = R [(tr S · I − S)⁻¹ axial(Rᵀ G)]ₓ. The matrix tr S · I − S has
    eigenvalues σ_i + σ_j: it is regular wherever R is unique, repeated singular values included
    (equal to the divided-difference form of Papadopoulo & Lourakis, ECCV 2000).
    """
    return _polar_2d(types) if types.dim == 2 else _polar_3d(types)


def _polar_2d(types: Types) -> Any:
    T, mat, module = types.scalar, types.mat, f"simenv_mpm_linalg_{types.tag}"

    @wp.func(module=module)
    def polar(F: mat):
        # R is the rotation nearest to F: its angle is that of the (conformal) part of F.
        c = F[0, 0] + F[1, 1]
        s = F[1, 0] - F[0, 1]
        r = wp.sqrt(c * c + s * s)
        if r <= T(1.0e-12):
            # Every rotation is equally near: no turn is as good as any.
            return wp.identity(2, dtype=T)
        return mat(c / r, -s / r, s / r, c / r)

    @wp.func_grad(polar)
    def adj_polar(F: mat, G: mat):
        R = polar(F)
        trace = wp.max(wp.ddot(R, F), T(1.0e-12))
        B = wp.transpose(R) * G
        w = (B[1, 0] - B[0, 1]) / trace
        wp.adjoint[F] += R * mat(T(0.0), -w, w, T(0.0))

    return polar


def _polar_3d(types: Types) -> Any:
    T, mat, vec, module = types.scalar, types.mat, types.vec, f"simenv_mpm_linalg_{types.tag}"
    # Quadratic convergence: a step below √ε squares to below ε.
    tolerance = 1.0e-9 if types.dtype == "float64" else 1.0e-4

    @wp.func(module=module)
    def cofactor(F: mat):
        a = vec(F[0, 0], F[1, 0], F[2, 0])
        b = vec(F[0, 1], F[1, 1], F[2, 1])
        c = vec(F[0, 2], F[1, 2], F[2, 2])
        return wp.matrix_from_cols(wp.cross(b, c), wp.cross(c, a), wp.cross(a, b))

    @wp.func(module=module)
    def turned(F: mat):
        # Nearest proper rotation of an inverted matrix, by turning towards it again and again
        # (Müller et al., Motion in Games 2016, eq. 5).
        R = wp.identity(3, dtype=T)
        for _step in range(200):
            turn = vec()
            along = T(1.0e-9)
            for a in range(3):
                r = vec(R[0, a], R[1, a], R[2, a])
                f = vec(F[0, a], F[1, a], F[2, a])
                turn = turn + wp.cross(r, f)
                along = along + wp.dot(r, f)
            turn = turn / (wp.abs(along) + T(1.0e-9))
            angle = wp.length(turn)
            if angle < T(tolerance):
                break
            R = wp.quat_to_matrix(wp.quat_from_axis_angle(turn / angle, angle)) * R
        return R

    @wp.func(module=module)
    def polar(F: mat):
        if wp.determinant(F) < T(0.0):
            return turned(F)
        # Newton's iteration X <- (g X + X^-T / g) / 2, scaled by g = sqrt(|X^-1| / |X|)
        # (Higham, SIAM J. Sci. Stat. Comput. 7, 1986).
        R = F
        size = wp.sqrt(wp.ddot(F, F))
        if wp.abs(wp.determinant(F)) <= T(SINGULAR) * size * size * size:
            # No rotation is nearest: take the one of a matrix nearby that has one.
            R = F + wp.identity(3, dtype=T) * (T(1.0e-2) * size + T(1.0e-2))
        for _step in range(30):
            K = cofactor(R)
            J = wp.ddot(R, K) / T(3.0)
            J = wp.where(wp.abs(J) > T(1.0e-20), J, T(1.0e-20))
            inverse_transpose = K / J
            g = wp.sqrt(wp.sqrt(wp.ddot(inverse_transpose, inverse_transpose) / wp.ddot(R, R)))
            X = R * (g * T(0.5)) + inverse_transpose * (T(0.5) / g)
            step = X - R
            R = X
            if wp.ddot(step, step) < T(tolerance * tolerance):
                break
        return R

    @wp.func_grad(polar)
    def adj_polar(F: mat, G: mat):
        R = polar(F)
        S = wp.transpose(R) * F
        B = wp.transpose(R) * G
        axial = vec(B[2, 1] - B[1, 2], B[0, 2] - B[2, 0], B[1, 0] - B[0, 1])
        M = wp.identity(3, dtype=T) * wp.trace(S) - S
        K = cofactor(M)
        # Bounded below where two singular values vanish together and R is not unique.
        size = wp.trace(M) / T(2.0) + T(1.0e-6)
        J = wp.max(wp.ddot(M, K) / T(3.0), T(SINGULAR) * size * size * size)
        # M is symmetric, hence M^-1 = cofactor(M) / det M.
        wp.adjoint[F] += R * wp.skew(K * axial / J)

    return polar
