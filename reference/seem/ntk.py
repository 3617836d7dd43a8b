r"""Gram blocks of the empirical neural tangent kernel, :math:`G(Z, X) = \Phi(Z)\Phi(X)^\top`.

:math:`\Phi(X)` stacks the per-sample gradients :math:`\nabla_\theta f_\theta(x_i)`. For a perceptron no row
of length P (the number of parameters) is ever formed: one forward and one backward pass give its
`seem.features`. Any other module is read from a private copy (`seem.subject`), layer by layer where it can be
(`seem.kernel`).

Source: the kernel is the paper's, section 3 (recalled numbering).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seem.errors import InputError
from seem.factors import check_one_output
from seem.features import KernelFeatures, why_no_closed_form
from seem.gradients import chunks, products
from seem.isolation import untouched
from seem.kernel import Blocks, kernel_blocks
from seem.networks import MLP
from seem.row_checks import evaluated, readable
from seem.subject import Subject
from seem.trees import Outputs, Tree, leaves

Inputs = Tensor | tuple[Tensor, ...]
"""Rows of a module with one argument, or a tuple of them for a module with several."""


def evaluate(network: nn.Module, x: Inputs) -> Float[Tensor, " N"]:
    """The outputs of a module with one output per row.

    Args:
        network: A module of one argument, or of as many as ``x`` has parts.
        x: Inputs, N rows.

    Returns:
        One value per row, shape (N,).

    Raises:
        InputError: When the module has several outputs.
    """
    values = network(*x) if isinstance(x, tuple) else network(x)
    check_one_output(values)
    return values.reshape(-1)


def is_perceptron(network: nn.Module) -> TypeGuard[MLP]:
    """Whether a module is one of `seem.networks`, whose kernel has a closed form."""
    # A subclass with a forward of its own is another function than its layers, and so are replaced layers.
    return isinstance(network, MLP) and type(network).forward is MLP.forward and why_no_closed_form(network) is None


def has_closed_form(network: nn.Module) -> TypeGuard[MLP]:
    """Whether `seem.features` hold for a module: a perceptron all of whose parameters are trained."""
    return is_perceptron(network) and all(p.requires_grad and p.dtype.itemsize > 2 for p in network.parameters())


def gram_blocks(network: nn.Module, x: Tree, x_next: Tree) -> tuple[Float[Tensor, "M M"], Float[Tensor, "M M"]]:
    r"""The two blocks that the TD iteration needs, :math:`G(X, X)` and :math:`G(X^*, X)`.

    Args:
        network: A critic: an `MLP` takes the closed form, of any other module a copy is read.
        x: Inputs X, shape (M, inputs); for modules of several arguments, a tuple of tensors.
        x_next: Inputs X*, of the same shape.

    Returns:
        G(X, X), symmetric and positive semi-definite, and G(X*, X) with rows X*; each (M, M), of the
        network's dtype, or of float64 where the network has half precision.

    Raises:
        InputError: When the network has several outputs, or couples the rows of a batch.

    Example:
        A linear critic with a bias has the kernel z·x + 1:

        >>> import torch
        >>> from seem.networks import Critic, MLPConfig
        >>> critic = Critic(1, 1, MLPConfig(depth=1), generator=torch.Generator().manual_seed(0))
        >>> x, x_next = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 0.0]])
        >>> [block.item() for block in gram_blocks(critic, x, x_next)]
        [6.0, 4.0]
    """
    if isinstance(x, Tensor) and isinstance(x_next, Tensor) and has_closed_form(network):
        with untouched():
            features, following = KernelFeatures.of(network, x), KernelFeatures.of(network, x_next)
            return features.block(features), following.block(features)
    kernel = read_kernel(network, x, x_next)
    if len(kernel.values) > 1:
        raise InputError(f"a critic has one output per row, this one gives {len(kernel.values)}: read it by seem.read")
    return kernel.blocks.gram[0, 0], kernel.blocks.gram_next[0, 0]


@dataclass(frozen=True)
class Kernel:
    """Somebody's critics, evaluated and differentiated on M rows, from copies.

    Attributes:
        subject: The copies.
        x: X, as the copies take it.
        x_next: X*, likewise.
        values: Q(X) of every critic, shape (N, M).
        values_next: Q(X*), shape (N, M).
        blocks: Their Gram blocks.
    """

    subject: Subject
    x: tuple[Tree, ...]
    x_next: tuple[Tree, ...]
    values: Float[Tensor, "N M"]
    values_next: Float[Tensor, "N M"]
    blocks: Blocks

    @property
    def heads(self) -> int:
        """Critics that the modules hold, those too that ``outputs`` leaves out."""
        return self.subject.heads


def read_kernel(
    critics: nn.Module | Sequence[nn.Module],
    x: Tree,
    x_next: Tree,
    *,
    dtype: torch.dtype | None = None,
    outputs: Outputs = None,
    trained: set[int] | None = None,
) -> Kernel:
    """Evaluate and differentiate critics without touching them.

    Args:
        critics: One module or several, which may share parts.
        x: X, M rows: a tensor, or a tuple of what the critics take as arguments.
        x_next: X*, likewise.
        dtype: Of the copies; None keeps the critics' own.
        outputs: Picks the critics' values from what a module returns: a function, an index, or None.
        trained: Ids of the parameters that count; None counts all that require gradients.

    Raises:
        InputError: When the critics cannot be read, fail on the rows, or couple them.
    """
    with untouched():
        subject, here, values = readable(critics, x, dtype=dtype, outputs=outputs, trained=trained)
        there = subject.arguments(x_next)
        rows, others = len(leaves(here)[0]), len(leaves(there)[0])
        if rows != others:
            raise InputError(f"X has {rows} rows and X* {others}: pass one successor per row")
        with torch.no_grad():
            values_next = evaluated(subject, there)
        blocks = _closed_form(subject, here, there) or kernel_blocks(subject, here, there, len(values))
        return Kernel(subject, here, there, values, values_next, blocks)


def _closed_form(subject: Subject, x: tuple[Tree, ...], x_next: tuple[Tree, ...]) -> Blocks | None:
    """The blocks of perceptrons that share nothing, or None."""
    modules = subject.modules
    apart = len(subject.parameters) == sum(len(list(module.parameters())) for module in modules)
    if not apart or len(x) != 1 or not isinstance(x[0], Tensor) or not all(map(has_closed_form, modules)):
        return None
    gram = x[0].new_zeros(len(modules), len(modules), len(x[0]), len(x[0]))
    gram_next = torch.zeros_like(gram)
    for index, module in enumerate(modules):
        assert is_perceptron(module)
        features, following = KernelFeatures.of(module, x[0]), KernelFeatures.of(module, x_next[0])
        gram[index, index], gram_next[index, index] = features.block(features), following.block(features)
    return Blocks(gram, gram_next, "closed form")


def gram_by_jacobians(network: nn.Module, z: Tree, x: Tree, chunk: int = 256) -> Float[Tensor, "rows columns"]:
    """A Gram block of any module, by per-sample gradients through ``torch.func``.

    Args:
        network: A module whose rows do not depend on each other, with one output per row.
        z: Inputs of the rows, shape (rows, inputs), or a tuple of tensors for several arguments.
        x: Inputs of the columns, likewise.
        chunk: Rows whose gradients (chunk × P numbers) are held at a time.

    Returns:
        G(Z, X), shape (rows, columns), of the network's dtype.

    Raises:
        InputError: When the network has several outputs, or couples the rows of a batch.
    """
    with untouched():
        subject, rows, values = readable(network, z, dtype=None)
        gradients = partial(chunks, subject, names=list(subject.parameters), critics=len(values), size=chunk)
        columns = subject.arguments(x)
        strips = [torch.cat([products(a, b)[0, 0] for b in gradients(columns)], 1) for a in gradients(rows)]
        return torch.cat(strips)
