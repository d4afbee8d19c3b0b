"""One-class support vector machine: torch against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.svm import OneClassSVM as Reference

from agents.goals.validity import OneClassSVM
from simenv.errors import ConfigurationError


def ring(seed=0, count=300):
    """Points (count, 2) on a ring of radius 0.5."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, count), rng.normal(0.5, 0.05, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def test_decision_equals_scikit_learn():
    """The decision function in torch is scikit-learn's, inside and out."""
    points = ring()
    svm = OneClassSVM(nu=0.1, gamma=10.0)
    svm.fit(points)
    reference = Reference(kernel="rbf", nu=0.1, gamma=10.0).fit(points)
    queries = np.random.default_rng(1).uniform(-1, 1, (200, 2))
    found = svm.decision(torch.from_numpy(queries)).numpy()
    # cdist forms distances from a product; its rounding is that of numbers of order one.
    np.testing.assert_allclose(found, reference.decision_function(queries), atol=1e-9)


def test_validity_is_half_on_the_boundary_and_falls_outside():
    """p_valid is above a half exactly where the decision is above 0, and pulls back from afar."""
    svm = OneClassSVM(nu=0.1, gamma=10.0)
    svm.fit(ring())
    queries = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    inside = svm.decision(queries) > 0
    assert 0 < int(inside.sum()) < len(queries)
    assert torch.equal(svm.log_validity(queries) > np.log(0.5), inside)
    far = torch.tensor([[5.0, 0.0]], dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(svm.log_validity(far).sum(), far)[0][0]
    # About −2γ (5 − 0.5), where the decision function itself has none left (exp(−200)).
    assert -100.0 < float(gradient[0]) < -80.0


def test_state_round_trip():
    """Three arrays are all it needs."""
    svm, other = OneClassSVM(), OneClassSVM()
    assert not svm.ready
    svm.fit(ring())
    other.set_state(svm.get_state())
    queries = torch.from_numpy(ring(1, 20))
    assert other.ready
    assert torch.equal(svm.decision(queries), other.decision(queries))


@pytest.mark.parametrize("options", [{"nu": 0.0}, {"nu": 1.5}, {"gamma": 0.0}])
def test_bounds(options):
    """Options outside their bounds are named."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        OneClassSVM(**options)
