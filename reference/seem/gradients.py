r"""Per-row gradients of any critics' copies, and the Gram blocks that they make, the slow ways.

`jacobian` takes the gradients of many rows at once through ``torch.func``; where a critic has operations that
``torch.func.vmap`` does not know (recurrent nets, checkpointing), `rows_by_loop` takes them row by row. Both are of
copies (`seem.subject`), so that nothing is put in the place of the originals' parameters.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import torch
from torch import Tensor

from seem.subject import Subject
from seem.trees import Tree, leaves, map_tree

CHUNK_NUMBERS = 2**26
"""Numbers of per-row gradients that are held at a time, half a gigabyte in float64."""

Rows = dict[str, Tensor]
"""Gradients by parameter: of N critics and M rows, each of shape (N, M, numbers of the parameter)."""


@contextmanager
def swapped(subject: Subject, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """The copies compute with other tensors in the place of their parameters.

    An attribute of the instance hides the registered parameter, at every place where a shared module or a tied tensor
    is reachable; nothing is taken out of a module's registry.
    """
    new = {id(subject.parameters[name]): tensor for name, tensor in tensors.items()}
    hidden: list[tuple[dict[str, object], str]] = []
    lists: list[tuple[dict[str, object], list[Tensor]]] = []
    try:
        for whole in subject.modules:
            for module in whole.modules():
                for name, parameter in module._parameters.items():
                    if id(parameter) in new and name not in module.__dict__:
                        module.__dict__[name] = new[id(parameter)]
                        hidden.append((module.__dict__, name))
                flat = module.__dict__.get("_flat_weights")  # recurrent nets read their weights from this list
                if isinstance(flat, list) and any(id(weight) in new for weight in flat):
                    lists.append((module.__dict__, flat))
                    module.__dict__["_flat_weights"] = [new.get(id(weight), weight) for weight in flat]
        yield
    finally:
        for attributes, name in hidden:
            attributes.pop(name, None)
        for attributes, flat in lists:
            attributes["_flat_weights"] = flat


def row_numbers(subject: Subject, names: Sequence[str], critics: int) -> int:
    """Numbers in one row's gradients of all critics."""
    return max(1, critics * sum(subject.parameters[name].numel() for name in names))


def jacobian(subject: Subject, arguments: tuple[Tree, ...], names: Sequence[str]) -> Rows:
    """Per-row gradients through ``torch.func``.

    Args:
        subject: The critics.
        arguments: Of M rows.
        names: Parameters.

    Returns:
        See `Rows`; of a parameter that a critic does not use, zeros.
    """

    def value(tensors: Rows, row: tuple[Tree, ...]) -> Tensor:
        with swapped(subject, tensors):
            return subject.values(map_tree(lambda tensor: tensor[None], row))[:, 0]

    tensors = {name: subject.parameters[name].detach() for name in names}
    count = len(leaves(arguments)[0])
    jacobians = torch.func.vmap(torch.func.jacrev(value), in_dims=(None, 0))(tensors, arguments)
    return {name: rows.reshape(count, rows.shape[1], -1).transpose(0, 1) for name, rows in jacobians.items()}


def backward(subject: Subject, value: Tensor) -> list[Tensor | None]:
    """Derivatives of one number by every parameter, None where it does not depend on one.

    By a backward pass, not ``torch.autograd.grad``, which re-entrant checkpointing refuses; a graph serves one
    pass only.
    """
    parameters = list(subject.parameters.values())
    for parameter in parameters:
        parameter.grad = None
    if value.requires_grad:
        value.backward()
    found = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return found


def rows_by_loop(subject: Subject, arguments: tuple[Tree, ...], names: Sequence[str], critics: int) -> Rows:
    """Per-row gradients by one evaluation and backward pass per row and critic; see `jacobian`."""
    count = len(leaves(arguments)[0])
    chosen = {name: index for index, name in enumerate(subject.parameters) if name in set(names)}
    rows = {
        name: subject.parameters[name].new_zeros(critics, count, subject.parameters[name].numel()) for name in names
    }
    for row in range(count):
        single = map_tree(lambda tensor, row=row: tensor[row : row + 1], arguments)
        for critic in range(critics):
            found = backward(subject, subject.values(single)[critic, 0])
            for name, index in chosen.items():
                gradient = found[index]
                if gradient is not None:
                    rows[name][critic, row] = gradient.flatten()
    return rows


def gradient_rows(subject: Subject, arguments: tuple[Tree, ...], names: Sequence[str], critics: int) -> Rows:
    """Per-row gradients, through ``torch.func`` where it knows the critic's operations, else row by row."""
    with suppress(RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError, IndexError):
        return jacobian(subject, arguments, names)
    return rows_by_loop(subject, arguments, names, critics)


def chunks(
    subject: Subject, arguments: tuple[Tree, ...], names: Sequence[str], critics: int, size: int | None = None
) -> Iterator[Rows]:
    """`gradient_rows` of so many rows at a time, or of as many as `CHUNK_NUMBERS` allow."""
    size = size or max(1, CHUNK_NUMBERS // row_numbers(subject, names, critics))
    for start in range(0, len(leaves(arguments)[0]), size):
        part = map_tree(lambda tensor, start=start: tensor[start : start + size], arguments)
        yield gradient_rows(subject, part, names, critics)


def products(rows: Rows, columns: Rows) -> Tensor:
    """Dot products of two sets of gradients, shape (N, N, rows, columns)."""
    return torch.stack([torch.einsum("iap,jbp->ijab", rows[name], columns[name]) for name in rows]).sum(0)
