"""The row-by-row oracle for critics of libraries, in float64, whatever dtype the library casts to."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from seem.ntk import Kernel, read_kernel
from seem.trees import Outputs, Tree, leaves, map_tree

TOLERANCE = 1e-12
"""Two orders of summation of some thousand float64 products."""
Values = Callable[[nn.ModuleList, Tree], Sequence[Tensor]]
"""Every critic's value, as the library gives it, from copies of the modules and the arguments of one row."""


@contextmanager
def in_float64() -> Iterator[None]:
    """Casts to float32 become casts to float64, and new tensors are float64."""
    as_tensor, default = torch.as_tensor, torch.get_default_dtype()

    def wide(data, dtype=None, device=None):
        return as_tensor(data, dtype=torch.float64 if dtype == torch.float32 else dtype, device=device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        patch.setattr(torch, "as_tensor", wide)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def gradient_rows(modules: nn.ModuleList, values: Values, x: Tree) -> Tensor:
    """Gradients of all critics by all parameters, shape (N, M, P), one backward pass each."""
    parameters = [p for p in modules.parameters() if p.requires_grad]
    gradients: list[list[Tensor]] = []
    for row in range(len(leaves(x)[0])):
        single = map_tree(lambda part, at=row: part[at : at + 1], x)
        single = map_tree(lambda part: part.double() if part.is_floating_point() else part, single)
        made = values(modules, single)
        gradients = gradients or [[] for _ in made]
        for own, value in zip(gradients, made, strict=True):
            found = torch.autograd.grad(value.sum(), parameters, retain_graph=True, allow_unused=True)
            pairs = zip(found, parameters, strict=True)
            own.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs]))
    return torch.stack([torch.stack(own) for own in gradients])


def check_kernel(
    critics: Sequence[nn.Module], x: Tree, x_next: Tree, values: Values, outputs: Outputs = None
) -> Kernel:
    """The kernel that the package reads equals the one of autograd row by row.

    Args:
        critics: What a user passes.
        x: X, float32 as the library has it.
        x_next: X*.
        values: The library's own call.
        outputs: As for `seem.read`.

    Returns:
        What was read.
    """
    copies = copy.deepcopy(nn.ModuleList(critics)).double()
    with in_float64():
        here, there = (gradient_rows(copies, values, inputs) for inputs in (x, x_next))
    found = read_kernel(list(critics), x, x_next, dtype=torch.float64, outputs=outputs)
    for block, rows in ((found.blocks.gram, here), (found.blocks.gram_next, there)):
        expected = torch.einsum("iap,jbp->ijab", rows, here)
        error = (block - expected).norm() / expected.norm()
        assert error <= TOLERANCE, f"off by {error:.3g} ({found.blocks.way})"
    assert found.subject.dtype == torch.float64
    return found


def state_of(*parts: nn.Module | torch.optim.Optimizer) -> list[Tensor]:
    """All bits of a training: modules, gradients, optimisers, and torch's generator."""
    found = [torch.get_rng_state()]
    for part in parts:
        if isinstance(part, nn.Module):
            found += [tensor.detach().clone() for tensor in part.state_dict().values() if isinstance(tensor, Tensor)]
            found += [p.grad.clone() for p in part.parameters() if p.grad is not None]
            found += [torch.tensor(module.training) for module in part.modules()]
        else:
            kept = part.state_dict()["state"].values()
            found += [value.clone() for group in kept for value in group.values() if isinstance(value, Tensor)]
    return found


def same_bits(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether two trainings ended in the same state."""
    return len(first) == len(second) > 1 and all(map(torch.equal, first, second))
