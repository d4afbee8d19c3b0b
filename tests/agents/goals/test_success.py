"""The success predictor on a made-up agent."""

import torch

from agents.goals.success import SuccessPredictor


def test_learns_a_half_plane():
    """Goals right of the start are reached, the others not."""
    generator = torch.Generator().manual_seed(0)
    predictor = SuccessPredictor(2, hidden=(32,), learning_rate=1e-2, seed=1)
    for _ in range(300):
        initial, desired = 2 * torch.rand(2, 64, 2, generator=generator) - 1
        predictor.fit(initial, desired, (desired[:, 0] > initial[:, 0]).float())
    initial, desired = 2 * torch.rand(2, 1000, 2, generator=generator) - 1
    margin = desired[:, 0] - initial[:, 0]
    clear = margin.abs() > 0.1
    right = (predictor(initial, desired) > 0.5) == (margin > 0)
    # 300 steps leave a boundary known to about a tenth; a predictor that ignores the start is
    # right in two thirds of the cases.
    assert float(right[clear].float().mean()) > 0.97


def test_state_round_trip_goes_on_identically():
    """Weights and moments: the next steps are the same to the last bit."""
    generator = torch.Generator().manual_seed(0)
    batches = [
        (*(2 * torch.rand(2, 8, 2, generator=generator) - 1), torch.ones(8)) for _ in range(6)
    ]
    one, other = (SuccessPredictor(2, hidden=(8,), seed=seed) for seed in (0, 1))
    for batch in batches[:3]:
        one.fit(*batch)
    other.set_state(one.get_state())
    assert [one.fit(*b) for b in batches[3:]] == [other.fit(*b) for b in batches[3:]]


def test_seed_leaves_the_global_generator_alone():
    """Initial weights come from the seed, and the agent's draws do not change."""
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, same = SuccessPredictor(2, seed=5), SuccessPredictor(2, seed=5)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.network[0].weight, same.network[0].weight)
