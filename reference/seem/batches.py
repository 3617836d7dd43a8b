"""A batch of transitions as anybody holds it: a mapping, a named tuple, an object, or (s, a, r, s', d)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.dynamics import check_entries, check_successors, check_terminals, column
from seem.errors import InputError
from seem.trees import Tree, leaves, map_tree

NAMES = {
    "observations": ("observations", "observation", "states", "state", "obs", "s"),
    "actions": ("actions", "action", "act", "a"),
    "rewards": ("rewards", "reward", "r"),
    "next_observations": (
        "next_observations",
        "next_observation",
        "next_states",
        "next_state",
        "next_obs",
        "s_next",
        "s'",
    ),
    "terminals": ("terminals", "terminal", "terminated", "terminations", "dones", "done", "d"),
    "next_actions": ("next_actions", "next_action", "a_next", "a'"),
    "discounts": ("discounts", "discount"),
    "targets": ("targets", "td_targets", "td_target"),
    "x": ("x",),
    "x_next": ("x_next",),
    "td_error": ("td_error", "td_errors"),
}
"""What libraries call the parts of a batch."""
ORDER = ("observations", "actions", "rewards", "next_observations", "terminals")


@dataclass(frozen=True)
class Batch:
    """M transitions.

    Attributes:
        observations: s, rows first; None in the raw form. Tensors of any dtype, or a dictionary of them.
        actions: a, likewise.
        next_observations: s', likewise.
        next_actions: π(s') where they were given.
        x: X outright, what the critics take as arguments.
        x_next: X* outright.
        rewards: r, shape (M,), float64; None where they were not given.
        terminals: d, shape (M,), float64; zeros where they were not given.
        discounts: γ by row, shape (M,), float64; None leaves the training's.
        targets: Targets outright, shape (M,), float64.
        td_error: u outright, shape (M,) or (N, M), float64.
        rows: M.
    """

    observations: Tree
    actions: Tree
    next_observations: Tree
    next_actions: Tree
    x: Tree
    x_next: Tree
    rewards: Float[Tensor, " M"] | None
    terminals: Float[Tensor, " M"]
    discounts: Float[Tensor, " M"] | None
    targets: Float[Tensor, " M"] | None
    td_error: Float[Tensor, "*N M"] | None
    rows: int


def tensors(tree: Tree, name: str) -> Tree:
    """Arrays, lists and numbers of a tree as detached tensors, rows first.

    Raises:
        InputError: When a part is no array of numbers.
    """
    if tree is None or isinstance(tree, Tensor):
        return tree if tree is None else tree.detach()
    if isinstance(tree, Mapping):
        return {key: tensors(item, f"{name}[{key!r}]") for key, item in tree.items()}
    if isinstance(tree, tuple):
        return tuple(tensors(item, f"{name}[{index}]") for index, item in enumerate(tree))
    try:
        return torch.from_numpy(np.array(tree))  # a copy: read-only arrays cannot be shared
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is a {type(tree).__name__}, not an array of numbers: pass a tensor") from error


def batch_of(given: Any, next_actions: Any = None) -> Batch:
    """Take a batch apart.

    Args:
        given: A mapping, named tuple or object with the names of `NAMES`, or a tuple (s, a, r, s', d).
        next_actions: π(s'), where the batch does not hold them.

    Raises:
        InputError: When a part is missing, has another number of rows, or is not finite.
    """
    found = named(given)
    if next_actions is not None:
        found["next_actions"] = next_actions
    trees = {name: tensors(value, name) for name, value in found.items()}
    raw = trees.get("x") is not None
    needed = ("x", "x_next") if raw else ("observations", "actions", "next_observations")
    missing = [name for name in needed if trees.get(name) is None]
    if missing:
        raise InputError(f"the batch has no {missing[0]}: pass {', '.join(needed)}, as a mapping with these names")
    parts = leaves(trees[needed[0]])
    rows = len(parts[0]) if parts and parts[0].ndim else 0
    if rows == 0:
        raise InputError("the batch has no rows: pass at least one transition")
    for name in ("observations", "actions", "next_observations", "next_actions", "x", "x_next"):
        for part in leaves(trees.get(name)):
            if part.ndim == 0 or len(part) != rows:
                raise InputError(f"{name} has shape {tuple(part.shape)}, but there are {rows} rows")
            (check_successors if name in ("next_actions", "x_next") else check_entries)(part, name)
    columns = {name: _column(trees.get(name), rows, name) for name in ("rewards", "terminals", "discounts", "targets")}
    if columns["terminals"] is not None:
        check_terminals(columns["terminals"])
    return Batch(
        **{
            name: trees.get(name)
            for name in ("observations", "actions", "next_observations", "next_actions", "x", "x_next")
        },
        rewards=columns["rewards"],
        terminals=torch.zeros(rows, dtype=torch.float64) if columns["terminals"] is None else columns["terminals"],
        discounts=columns["discounts"],
        targets=columns["targets"],
        td_error=_error(trees.get("td_error"), rows),
        rows=rows,
    )


def thinned(given: Any, most: int, next_actions: Any = None) -> dict[str, Any]:
    """A batch as a mapping with the names of `Batch`, of at most some rows, evenly spaced.

    Args:
        given: See `batch_of`; it is checked there.
        most: Rows at most.
        next_actions: π(s'), where the batch does not hold them.

    Returns:
        Parts as they were given, or their chosen rows; all of them where parts differ in their rows.
    """
    found = named(given)
    if next_actions is not None:
        found["next_actions"] = next_actions
    parts = [part for name in ("observations", "x") for part in _arrays(found.get(name))]
    rows = len(parts[0]) if parts and np.ndim(parts[0]) else 0
    every = [part for name, tree in found.items() if name != "td_error" for part in _arrays(tree)]
    if rows <= most or not all(np.ndim(part) and len(part) == rows for part in every):
        return found
    chosen = np.linspace(0, rows - 1, most).round().astype(np.int64)
    error = found.pop("td_error", None)
    made = {name: _chosen(tree, chosen) for name, tree in found.items()}
    if error is not None:
        values = tensors(error, "td_error")
        made["td_error"] = values[chosen] if len(values) == rows else values[:, chosen]
    return made


def _arrays(tree: Any) -> list[Any]:
    """The arrays in what a user passes, lists of numbers among them."""
    if tree is None:
        return []
    if isinstance(tree, Mapping):
        return [part for item in tree.values() for part in _arrays(item)]
    if isinstance(tree, tuple):
        return [part for item in tree for part in _arrays(item)]
    return [tree]


def _chosen(tree: Any, rows: np.ndarray) -> Any:
    if isinstance(tree, Mapping):
        return {key: _chosen(item, rows) for key, item in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_chosen(item, rows) for item in tree)
    if isinstance(tree, Tensor):
        return tree.detach()[torch.from_numpy(rows).to(tree.device)]
    return np.asarray(tree)[rows]


def named(given: Any) -> dict[str, Any]:
    """The parts of a batch by the names of `Batch`, as they were given.

    Args:
        given: See `batch_of`.

    Raises:
        InputError: On a tuple of another length than (s, a, r, s', d).
    """
    if isinstance(given, (tuple, list)) and not hasattr(given, "_fields"):
        if not 4 <= len(given) <= len(ORDER):
            raise InputError(
                f"a batch of {len(given)} parts is not (s, a, r, s', terminals): pass a mapping with names"
            )
        return dict(zip(ORDER, given, strict=False))

    def look(name: str) -> Any:
        if hasattr(given, "keys"):  # a TensorDict is no mapping
            return given[name] if name in given.keys() else None  # type: ignore[index] # noqa: SIM118
        value = getattr(given, name, None)
        return None if callable(value) else value

    found = {}
    for own, names in NAMES.items():
        value = next((value for value in map(look, names) if value is not None), None)
        if value is not None:
            found[own] = value
    return found


def _column(values: Tensor | None, rows: int, name: str) -> Float[Tensor, " M"] | None:
    if values is None:
        return None
    check_entries(values, name)
    return column(values, rows, name)


def _error(values: Tensor | None, rows: int) -> Float[Tensor, "*N M"] | None:
    """One error per row, or one per critic and row; an overflow in it is a result, told later."""
    if values is None:
        return None
    flat = values[..., 0] if values.ndim > 1 and values.shape[-1] == 1 and values.shape != (1, rows) else values
    if flat.ndim not in (1, 2) or flat.shape[-1] != rows:
        raise InputError(
            f"td_error has shape {tuple(values.shape)}, but there are {rows} rows: pass one number per row"
        )
    return flat.to("cpu", torch.float64)


def critic_arguments(observations: Tree, actions: Tree, together: bool) -> Tree:
    """What a critic takes of (s, a): both side by side in one tensor, or one after the other.

    Raises:
        InputError: When one tensor is wanted of parts that do not fit side by side.
    """
    if not together:
        return observations, actions
    parts = [
        map_tree(lambda tensor: tensor.reshape(len(tensor), 1) if tensor.ndim == 1 else tensor, part)
        for part in (observations, actions)
    ]
    if not all(isinstance(part, Tensor) and part.ndim == 2 for part in parts):
        raise InputError(
            "the critic takes one argument, but states and actions are no two tables of numbers: pass a critic of "
            "(s, a), or x and x_next outright"
        )
    common = torch.promote_types(parts[0].dtype, parts[1].dtype)
    return torch.cat([part.to(common) for part in parts], 1)
