r"""Gram blocks of the empirical neural tangent kernel, :math:`G(Z, X) = \Phi(Z)\Phi(X)^\top`.

:math:`\Phi(X)` stacks the per-sample gradients :math:`\nabla_\theta f_\theta(x_i)`. For a perceptron no row
of length P (the number of parameters) is ever formed: one forward and one backward pass give its
`seem.features`. Any other module goes through ``torch.func``.

Source: the kernel is the paper's, section 3 (recalled numbering).
"""

from collections.abc import Iterator
from functools import partial
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm

from seem.errors import InputError
from seem.factors import check_one_output, check_rows_are_apart
from seem.features import KernelFeatures, why_no_closed_form
from seem.networks import MLP

Inputs = Tensor | tuple[Tensor, ...]
"""Rows of a module with one argument, or a tuple of them for a module with several."""
Parameters = dict[str, Tensor]


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


def gram_blocks(network: nn.Module, x: Inputs, x_next: Inputs) -> tuple[Float[Tensor, "M M"], Float[Tensor, "M M"]]:
    r"""The two blocks that the TD iteration needs, :math:`G(X, X)` and :math:`G(X^*, X)`.

    Args:
        network: A critic: an `MLP` takes the closed form, any other module ``torch.func``.
        x: Inputs X, shape (M, inputs); for modules of several arguments, a tuple of tensors.
        x_next: Inputs X*, of the same shape.

    Returns:
        G(X, X), symmetric and positive semi-definite, and G(X*, X) with rows X*; each (M, M), of the
        network's dtype.

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
    if isinstance(x, tuple) or isinstance(x_next, tuple) or not is_perceptron(network):
        return gram_by_jacobians(network, x, x), gram_by_jacobians(network, x_next, x)
    features, following = KernelFeatures.of(network, x), KernelFeatures.of(network, x_next)
    return features.block(features), following.block(features)


def check_reading_is_possible(network: nn.Module) -> None:
    """Refuse a module that ``torch.func`` cannot differentiate row by row, or that moves when it is read.

    Raises:
        InputError: On BatchNorm or a spectral norm in training mode.
    """
    check_rows_are_apart(network)
    if any(isinstance(m, _SpectralNorm) and m.training for m in network.modules()):
        raise InputError("the spectral norm in training mode moves when it is read: call network.eval() first")


def parameters_and_buffers(network: nn.Module) -> tuple[Parameters, Parameters]:
    """What ``torch.func.functional_call`` wants: trainable parameters, detached, and buffers, by name."""
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    return parameters, dict(network.named_buffers())


def per_sample_gradients(network: nn.Module, x: Inputs, chunk: int) -> Iterator[list[Tensor]]:
    """The rows of Φ(X) of any module through ``torch.func``, a chunk at a time.

    Args:
        network: A module that passes `check_reading_is_possible`.
        x: Inputs, shape (N, inputs), or a tuple of tensors for several arguments.
        chunk: Rows whose gradients (chunk × P numbers) are held at a time.

    Yields:
        The chunk's gradients by parameter, each of shape (rows, numbers of the parameter).

    Raises:
        InputError: When the network has several outputs.
    """
    parameters, buffers = parameters_and_buffers(network)

    def value(parameters: Parameters, row: tuple[Tensor, ...]) -> Tensor:
        output = torch.func.functional_call(network, (parameters, buffers), tuple(part[None] for part in row))
        check_one_output(output)
        return output.reshape(())

    gradient = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0))
    parts = x if isinstance(x, tuple) else (x,)
    for batch in zip(*(part.split(chunk) for part in parts), strict=True):
        yield [g.flatten(1) for g in gradient(parameters, batch).values()]


def products(rows: list[Tensor], columns: list[Tensor]) -> Float[Tensor, "rows columns"]:
    """The dot products of gradients by parameter, as `per_sample_gradients` yields them."""
    return torch.stack([a @ b.T for a, b in zip(rows, columns, strict=True)]).sum(0)


def gram_by_jacobians(network: nn.Module, z: Inputs, x: Inputs, chunk: int = 256) -> Float[Tensor, "rows columns"]:
    """A Gram block of any module, by per-sample gradients through ``torch.func``.

    Args:
        network: A module whose rows do not depend on each other, with one output per row.
        z: Inputs of the rows, shape (rows, inputs), or a tuple of tensors for several arguments.
        x: Inputs of the columns, likewise.
        chunk: Rows whose gradients (chunk × P numbers) are held at a time.

    Returns:
        G(Z, X), shape (rows, columns), of the network's dtype.

    Raises:
        InputError: When the network has several outputs, couples the rows of a batch (BatchNorm in training
            mode), or moves when it is read (spectral norm in training mode).
    """
    check_reading_is_possible(network)
    gradients = partial(per_sample_gradients, network, chunk=chunk)
    return torch.cat([torch.cat([products(rows, columns) for columns in gradients(x)], 1) for rows in gradients(z)])
