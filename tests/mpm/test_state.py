"""State: copies, selections, fault codes in words."""

from __future__ import annotations

import pytest
import torch

from simenv.mpm import describe_fault
from simenv.mpm.transfer import INVERTED, LEFT_GRID, NOT_A_NUMBER
from tests.mpm import scenes


@pytest.fixture
def state():
    """Four stirred environments."""
    torch.manual_seed(0)
    return scenes.stirred(scenes.block().build(4).initial_state())


def test_clone_shares_no_memory(state):
    """Writing into a clone leaves the original."""
    copy = state.clone()
    for _name, tensor in copy.items():
        tensor.add_(1)
    kept = {name: tensor for name, tensor in copy.items() if tensor.numel()}
    assert not any(torch.equal(tensor, getattr(state, name)) for name, tensor in kept.items())


def test_detach_cuts_the_graph(state):
    """A detached state needs no gradient; the original still does."""
    state.requires_grad_()
    cut = state.detach()
    assert state.x.requires_grad
    assert not any(t.requires_grad for _name, t in cut.items())


def test_selection(state):
    """Slices, index tensors and masks pick environments in every tensor."""
    by_slice = state[1:3]
    assert by_slice.num_envs == 2
    by_index = state[torch.tensor([1, 2])]
    by_mask = state[torch.tensor([False, True, True, False])]
    assert scenes.same(by_slice, by_index)
    assert scenes.same(by_slice, by_mask)
    assert by_slice.time.shape == by_slice.fault.shape == (2,)


def test_where_picks_environments(state):
    """Environments in the mask come from one state, all others from the other, in every tensor."""
    other = state.replace(x=state.x + 1, time=state.time + 7, fault=state.fault + 1)
    mask = torch.tensor([True, False, False, True])
    picked = state.where(mask, other)
    for env in range(4):
        source = state if mask[env] else other
        for name, tensor in picked.items():
            assert torch.equal(tensor[env], getattr(source, name)[env])


def test_where_passes_gradients(state):
    """Each environment's gradient goes to the state that it came from."""
    one, two = state.clone().requires_grad_(), state.clone().requires_grad_()
    mask = torch.tensor([True, False, False, True])
    one.where(mask, two).x.sum().backward()
    reached = one.x.grad.abs().sum(dim=(1, 2)) > 0
    assert torch.equal(reached, mask)
    assert torch.equal(two.x.grad.abs().sum(dim=(1, 2)) > 0, ~mask)


def test_failed_reads_one_bit(state):
    """Only a non-finite state counts as failed; a clamped particle does not."""
    fault = torch.tensor([0, NOT_A_NUMBER, LEFT_GRID, NOT_A_NUMBER | INVERTED], dtype=torch.int32)
    assert state.replace(fault=fault).failed.tolist() == [False, True, False, True]


def test_faults_in_words():
    """Every bit has its words, and no bit is "none"."""
    assert describe_fault(0) == "none"
    words = [describe_fault(bit) for bit in (NOT_A_NUMBER, LEFT_GRID, INVERTED)]
    assert len(set(words)) == 3
    assert describe_fault(NOT_A_NUMBER | LEFT_GRID | INVERTED) == "; ".join(words)
