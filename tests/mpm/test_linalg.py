"""Polar decomposition: value against an SVD, adjoint against central differences."""

from functools import cache

import numpy as np
import pytest
import warp as wp

from simenv.mpm.linalg import polar_rotation
from simenv.mpm.types import warp_types


@cache
def _kernel(dim: int, dtype: str):
    """Kernel (F, G) -> polar(F) and the adjoint of F for an adjoint G of the rotation."""
    types = warp_types(dim, dtype)
    mat, polar = types.mat, polar_rotation(types)
    module = f"simenv_tests_linalg_{types.tag}"

    @wp.func(module=module)
    def contraction(F: mat, G: mat):
        return wp.ddot(polar(F), G)

    @wp.kernel(module=module, enable_backward=True)
    def evaluate(
        F: wp.array(dtype=mat),
        G: wp.array(dtype=mat),
        R: wp.array(dtype=mat),
        F_bar: wp.array(dtype=mat),
    ):
        i = wp.tid()
        f_bar, _g_bar = wp.grad(contraction)(F[i], G[i])
        R[i] = polar(F[i])
        F_bar[i] = f_bar

    return evaluate


def _evaluate(F: np.ndarray, G: np.ndarray, dtype: str = "float64"):
    dim, n = F.shape[-1], len(F)
    mat = warp_types(dim, dtype).mat
    inputs = [wp.array(a.astype(dtype), dtype=mat, device="cpu") for a in (F, G)]
    outputs = [wp.zeros(n, dtype=mat, device="cpu") for _ in range(2)]
    wp.launch(_kernel(dim, dtype), dim=n, inputs=inputs, outputs=outputs, device="cpu")
    return tuple(a.numpy().astype(float) for a in outputs)


def _reference(F: np.ndarray) -> np.ndarray:
    """The rotation nearest to each F, by singular value decomposition."""
    u, _, vt = np.linalg.svd(F)
    return u @ vt


def _cases(dim: int) -> np.ndarray:
    """Where an adjoint through an SVD goes wrong, and some random matrices with det F > 0."""
    rng = np.random.default_rng(0)
    identity = np.eye(dim)
    two_equal = np.diag([1.2, 1.2, 0.9][:dim])
    nearly = identity + 1e-6 * rng.standard_normal((dim, dim))
    turned = _reference(rng.standard_normal((dim, dim)))
    turned *= np.sign(np.linalg.det(turned)) if dim == 3 else 1.0
    strong = np.diag([3.0, 0.2, 1.0][:dim])
    random = identity + 0.4 * rng.uniform(-1.0, 1.0, (20, dim, dim))
    random = random[np.linalg.det(random) > 0.05]
    special = [identity, 0.5 * identity, 2.0 * identity, two_equal, nearly, strong]
    if np.linalg.det(turned) > 0:
        special += [turned, turned @ two_equal @ turned.T]
    return np.stack([*special, *random])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
@pytest.mark.parametrize("dim", [2, 3])
def test_rotation_equals_svd(dim, dtype, tolerance):
    """The rotation is U Vᵀ to rounding: some ten operations, each to 1e-16 or 6e-8."""
    F = _cases(dim)
    R, _ = _evaluate(F, F, dtype)
    np.testing.assert_allclose(R, _reference(F), rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("dim", [2, 3])
def test_adjoint_equals_central_difference(dim):
    """F̄ equals the central difference of G : R(F), repeated singular values included.

    With a step of 1e-5 the difference is good to 1e-10, four orders below the bound.
    """
    F = _cases(dim)
    G = np.random.default_rng(1).standard_normal(F.shape)
    _, F_bar = _evaluate(F, G)
    difference = np.zeros_like(F)
    for i, j in np.ndindex(dim, dim):
        step = np.zeros((dim, dim))
        step[i, j] = 1e-5
        change = _reference(F + step) - _reference(F - step)
        difference[:, i, j] = (change * G).sum(axis=(1, 2)) / 2e-5
    error = np.linalg.norm(F_bar - difference, axis=(1, 2))
    assert np.all(error <= 1e-6 * np.linalg.norm(difference, axis=(1, 2))), error


@pytest.mark.parametrize("dim", [2, 3])
def test_rotation_ignores_stretch(dim):
    """A symmetric change of F at F = I does not turn R, so a symmetric G pulls back to zero."""
    F = np.eye(dim)[None]
    G = np.random.default_rng(2).standard_normal((dim, dim))
    _, F_bar = _evaluate(F, (G + G.T)[None])
    np.testing.assert_allclose(F_bar, 0.0, atol=1e-14)


@pytest.mark.parametrize("dim", [2, 3])
def test_inverted_matrix_gets_a_proper_rotation(dim):
    """For det F < 0 the value is the rotation with det +1 that is nearest, U diag(1, …, −1) Vᵀ."""
    rng = np.random.default_rng(1)
    turn = _reference(rng.standard_normal((8, dim, dim)))
    sizes = np.array([1.5, 1.1, 0.6])[3 - dim :]
    F = turn @ np.diag(sizes) @ _reference(rng.standard_normal((8, dim, dim)))
    F = np.where((np.linalg.det(F) < 0)[:, None, None], F, F @ np.diag([1.0] * (dim - 1) + [-1.0]))
    u, _, vt = np.linalg.svd(F)
    flip = np.diag([1.0] * (dim - 1) + [-1.0])
    R, _ = _evaluate(F, F)
    # The iteration ends with a turn below 1e-9.
    np.testing.assert_allclose(R, u @ flip @ vt, atol=1e-8)


def test_reflection_in_the_plane_gets_a_rotation():
    """Where every rotation is equally near, the result is one all the same."""
    R, _ = _evaluate(np.diag([1.0, -1.0])[None], np.eye(2)[None])
    np.testing.assert_array_equal(R[0], np.eye(2))
