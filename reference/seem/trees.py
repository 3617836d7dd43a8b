"""Arguments and outputs of a module: tensors in tuples, lists and dictionaries, rows first."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from seem.errors import InputError

Tree = Any
"""Tensors in tuples, lists and dictionaries."""
Outputs = Callable[[Any], Any] | int | None
"""Picks the critics' values from what a module returns: a function, the index of the one critic, or nothing."""


def map_tree(change: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """The tree with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {key: map_tree(change, item) for key, item in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tree(change, item) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_tree(change, item) for item in tree)
    return tree


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        return []
    return [tensor for item in tree for tensor in leaves(item)]


def output_parts(made: Any, outputs: Outputs) -> list[Tensor]:
    """The tensors in what a module returned, after ``outputs`` where that is a function; None stands for none.

    Raises:
        InputError: When it holds something else, or nothing.
    """
    if callable(outputs):
        made = outputs(made)
    if isinstance(made, Tensor):
        return [made]
    if isinstance(made, (tuple, list)):
        parts = [part for item in made if item is not None for part in output_parts(item, None)]
        if parts:
            return parts
        raise InputError("the critic returns nothing: pass outputs=lambda made: ... to pick the values")
    raise InputError(f"the critic returns a {type(made).__name__}: pass outputs=lambda made: ... to pick the values")


def row_axis(part: Tensor, rows: int) -> int:
    """Where the rows stand in one tensor of values: 0 in (M,) and (M, 1), 1 in (N, M) and (N, M, 1).

    Raises:
        InputError: On any other shape, as that of a head with several outputs per row.
    """
    flat = part[..., 0] if part.ndim > 1 and part.shape[-1] == 1 else part
    if flat.shape == (rows,) or (flat.ndim == 0 and rows == 1):
        return 0
    several = flat.ndim == 2 and flat.shape[1] == rows and flat.shape[0] != rows
    if several or (rows == 1 and flat.ndim == 1 and part.shape[0] == part.numel()):
        return 1
    raise InputError(
        f"a critic has one output per row, this one gives shape {tuple(part.shape)} for {rows} rows: "
        "pass a one-output network, or outputs= to pick the critics' values"
    )
