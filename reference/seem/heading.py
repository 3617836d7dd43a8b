"""Where a critic's step leads: the cosine between its semi-gradient and its own parameters."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.dynamics import column
from seem.gradients import backward
from seem.isolation import untouched
from seem.kernel import NO_BLOCKS
from seem.ntk import Kernel
from seem.row_checks import readable
from seem.subject import Subject
from seem.trees import Tree


def alignment(critic: nn.Module, x: Tree, td_error: Tensor) -> float:
    """Cosine between the negative semi-gradient -Φ(X)ᵀu and the parameters θ; 0 when either vanishes.

    Args:
        critic: A module with one output per row.
        x: X, shape (M, inputs), or a tuple of tensors.
        td_error: u, shape (M,).

    Returns:
        A number in [-1, 1]; 1 on the self-similar ray of the SGD law.
    """
    with untouched():
        subject, here, values = readable(critic, x, dtype=None)
    error = column(td_error, values.shape[1], "td_error")[None]
    return heading(Kernel(subject, here, here, values, values, NO_BLOCKS), error)[0][0]


def heading(kernel: Kernel, error: Float[Tensor, "N M"]) -> tuple[list[float], list[float]]:
    """Every critic's cosine between -Φᵀu and its parameters θ, and ‖θ‖.

    A critic's own parameters are those that its value depends on; of a stack over several critics, its slice.

    Args:
        kernel: The critics.
        error: u of each, float64 on the CPU.

    Returns:
        The cosines, 0 where either vanishes, and the norms.
    """
    cosines: list[float] = []
    norms: list[float] = []
    subject, parameters = kernel.subject, list(kernel.subject.parameters.values())
    # float32's norm overflows long before the kernel does
    directions = error / error.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    with untouched():
        for module in subject.modules:
            count = len(subject.values_of(module, kernel.x))
            for index in range(count):
                direction = directions[len(norms)].to(kernel.values)
                gradients = backward(subject, subject.values_of(module, kernel.x)[index] @ direction)
                if subject.heads > 1:
                    gradients = _of_one_head(subject, module, kernel.x, index, gradients)
                pairs = [(p.detach(), g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
                pairs = _own_slices(pairs, subject.heads)
                norm = _norm([p for p, _ in pairs])
                sizes = _norm([g for _, g in pairs]) * norm
                product = -sum((g * p).sum().item() for p, g in pairs)
                cosines.append(product / sizes if sizes > 0 else 0.0)
                norms.append(norm)
    return cosines, norms


def _of_one_head(
    subject: Subject, module: nn.Module, x: tuple[Tree, ...], index: int, gradients: list[Tensor | None]
) -> list[Tensor | None]:
    """Leave out what only other heads of the same module use, whose gradients are zeros."""
    value = subject.values_of(module, x)[index]
    weights = torch.randn(len(value), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(value)
    own = backward(subject, value @ weights)
    return [g if o is not None and o.any() else None for o, g in zip(own, gradients, strict=True)]


def _own_slices(pairs: list[tuple[Tensor, Tensor]], heads: int) -> list[tuple[Tensor, Tensor]]:
    """Of stacks over several critics, as of vectorised ensembles, the slices that move one critic's value.

    A leading dimension is such a stack where the gradients of all tensors of three or more dimensions with it, at least
    two, lie in one and the same slice; or where it counts the critics that the module returns.
    """
    slices: dict[int, set[int]] = {}
    weights: dict[int, int] = {}
    for parameter, gradient in pairs:
        if parameter.ndim > 2 or (parameter.ndim == 2 and len(parameter) == heads > 1):
            used = gradient.flatten(1).any(1).nonzero().flatten().tolist()
            slices.setdefault(len(parameter), set()).update(used)
            weights[len(parameter)] = weights.get(len(parameter), 0) + 1
    own = {
        length: used.copy().pop()
        for length, used in slices.items()
        if length > 1 and len(used) == 1 and (weights[length] > 1 or length == heads)
    }

    def part(parameter: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        index = own.get(len(parameter)) if parameter.ndim else None
        if index is None or gradient.count_nonzero() > gradient[index].count_nonzero():
            return parameter, gradient
        return parameter[index], gradient[index]

    return [part(parameter, gradient) for parameter, gradient in pairs]


def _norm(tensors: list[Tensor] | tuple[Tensor, ...]) -> float:
    if not tensors:
        return 0.0
    return torch.stack([tensor.detach().norm() for tensor in tensors]).norm().item()
