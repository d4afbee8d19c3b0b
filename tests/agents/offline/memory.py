"""How much memory tensors take while something runs."""

from __future__ import annotations

from typing import Any

from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TensorMemory(TorchDispatchMode):
    """Bytes of all tensors that operations inside make, as long as each of them lives.

    Attributes:
        peak: most of them at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[Any, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Look at an operation's results; views share their storage, which counts once."""
        given = {id(leaf) for leaf in tree_leaves((args, kwargs))}
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if hasattr(leaf, "untyped_storage") and id(leaf) not in given:
                storage = leaf.untyped_storage()
                self._alive[StorageWeakRef(storage)] = storage.nbytes()
        self._alive = {ref: size for ref, size in self._alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self._alive.values()))
        return found
