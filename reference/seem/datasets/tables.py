"""What every layout of transitions holds: tables of numbers and columns of flags, checked before they are believed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from seem.errors import InputError

MATRICES = ("observations", "actions", "next_observations")
FLAGS = ("terminals", "timeouts")
ACTION_TOLERANCE = 1e-6
"""Actions may leave [-1, 1] by this much: eight float32 roundings of 1, as a scaled tanh leaves behind."""


def check_shape(key: str, name: str, shape: tuple[int, ...], dtype: np.dtype, path: Path) -> None:
    """Refuse an array whose dtype or shape is not that of its part, before it is read.

    Args:
        key: The part: observations, actions, rewards, next_observations, terminals or timeouts.
        name: What the file calls it.
        shape: Its shape.
        dtype: Its dtype.
        path: The file, for messages.

    Raises:
        InputError: Naming the array.
    """
    if dtype.kind not in ("biuf" if key in FLAGS else "iuf"):
        wanted = "booleans or the numbers 0 and 1" if key in FLAGS else "real numbers"
        raise InputError(f"{path} holds {name} of dtype {dtype}: pass a file in which they are {wanted}")
    if key == "actions" and dtype.kind != "f":
        raise InputError(f"{path} holds discrete actions (dtype {dtype}): pass a file of continuous actions")
    matrix = key in MATRICES
    if not (len(shape) == 2 and (shape[1] >= 1 if matrix else shape[1] == 1)) and not (len(shape) == 1 and not matrix):
        wanted = "(rows, components)" if matrix else "(rows,)"
        raise InputError(f"{path} holds {name} of shape {shape}: pass a file in which the shape is {wanted}")


def table(key: str, stored: Shaped[np.ndarray, "N ..."]) -> Shaped[np.ndarray, "N ..."]:
    """An array as the rest of the package has it: float32, columns of shape (N,), flags as they are.

    Args:
        key: The part, as in `check_shape`.
        stored: The array.
    """
    values = stored if key in MATRICES else stored.reshape(-1)
    if key in FLAGS:
        return values
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which the next check names
        return values.astype(np.float32)


def check_tables(arrays: Mapping[str, Shaped[np.ndarray, "N ..."]], path: Path) -> tuple[str, ...]:
    """Refuse tables with a value that no transition has.

    Args:
        arrays: By part, as `table` gives them.
        path: The file, for messages.

    Returns:
        What was accepted with a doubt, a few words each.

    Raises:
        InputError: Naming array and row.
    """
    for key, array in arrays.items():
        bad = ~np.isin(array, (0, 1)) if key in FLAGS else ~np.isfinite(array)
        if bad.any():
            row = int(np.flatnonzero(bad.reshape(len(array), -1).any(1))[0])
            what = "a flag other than 0 and 1" if key in FLAGS else "a value that is not finite in float32"
            raise InputError(f"{path} holds {what} in {key}, first in row {row}: repair the file or pass another one")
    actions = arrays["actions"]
    outside = np.abs(actions).max(1, initial=0) > 1 + ACTION_TOLERANCE
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{path} holds an action outside [-1, 1], first in row {row} "
            f"(largest component {np.abs(actions[row]).max():g}): scale the actions to the box [-1, 1]"
        )
    discrete = np.unique(actions).tolist() == [0, 1]
    return ("every action is 0 or 1, and is read as a number of [-1, 1]",) if discrete else ()


def listed(keys: Sequence[str]) -> str:
    """Names in a sentence."""
    return f"{', '.join(keys[:-1])} and {keys[-1]}"
