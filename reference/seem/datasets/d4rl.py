"""D4RL's HDF5 files as transitions, with the semantics of D4RL's own ``qlearning_dataset``."""

import os
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped

from seem.datasets.hdf5 import LARGEST_FILE, WHAT, check_storage, find, hdf5_in, open_hdf5
from seem.datasets.tables import check_shape, check_tables, listed, table
from seem.errors import InputError
from seem.paths import open_file
from seem.transitions import Transitions

__all__ = ["open_hdf5", "read_d4rl", "read_rows"]

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")

UNMARKED_SHARE = 0.01
"""Largest share of rows whose stored successor may differ: D4RL's replay files leave some episode ends unmarked."""


def read_d4rl(path: Path, *, max_episode_steps: int = 1000, check_continuity: bool = True) -> Transitions:
    """Read a D4RL HDF5 file as D4RL's ``qlearning_dataset`` does; the file is only ever opened for reading.

    Row i becomes (s_i, a_i, r_i, s_{i+1}, d_i) for i = 0 … N-2; rows with a time-out are dropped, and so is the last
    row. True terminals are kept. Their s' is the first state of the next episode, which is harmless: the terminal
    mask (1 - d) removes every value of it. A stored ``next_observations`` is ignored, as D4RL ignores it, and only
    serves the continuity check. Groups such as ``infos`` and ``metadata`` are ignored. A file without ``timeouts``
    gets them by D4RL's step counter, which restarts at 0 after a time-out and (sic) at 1 after a terminal.

    The continuity check refuses a file whose rows are not in the order of its episodes. With ``next_observations``,
    at most 1 % of the rows inside episodes may differ from row i+1. In any case no episode may be longer than
    ``max_episode_steps`` + 1 rows (AntMaze stores one more than the limit), save for one of up to twice that where
    two recordings were joined, as in the medium-expert files.

    Args:
        path: The file.
        max_episode_steps: The environment's step limit, at least 2.
        check_continuity: Whether to check the order of the rows; not needed where the file's hash is known.

    Returns:
        The transitions, float32 on the CPU.

    Raises:
        InputError: When the file cannot be read, lacks a key, holds an array of another shape or dtype, a value that
            is not finite, a flag that is not 0 or 1, discrete actions or one outside [-1, 1], keeps its data in
            another file or declares more than it holds, fails the continuity check, or holds no usable transition.

    Source: ``d4rl.qlearning_dataset`` with ``terminate_on_end=False``, D4RL 1.1 (printed).
    """
    with open_file(path, WHAT, LARGEST_FILE) as raw:
        return read_rows(raw, path, max_episode_steps, check_continuity=check_continuity)[0]


def read_rows(
    raw: FileIO, path: Path, max_episode_steps: int = 1000, *, check_continuity: bool = True
) -> tuple[Transitions, tuple[str, ...]]:
    """Read an open file as `read_d4rl` does, and say what was accepted with a doubt.

    Args:
        raw: The open file.
        path: Its path, for messages.
        max_episode_steps: As in `read_d4rl`.
        check_continuity: As in `read_d4rl`.

    Returns:
        The transitions, and notes of a few words each.

    Raises:
        InputError: As in `read_d4rl`.
    """
    if max_episode_steps < 2:
        raise InputError(f"max_episode_steps is {max_episode_steps}: pass the environment's step limit, at least 2")
    with hdf5_in(raw, path) as file:
        arrays = _read_arrays(file, path, os.fstat(raw.fileno()).st_size)
    notes = check_tables(arrays, path)
    terminals = arrays["terminals"] != 0
    timeouts = arrays["timeouts"] != 0 if "timeouts" in arrays else _count_timeouts(terminals, max_episode_steps)
    rows = np.flatnonzero(~timeouts[:-1])
    if not rows.size:
        raise InputError(
            f"{path} holds no usable transition (rows: {len(timeouts)}, time-outs: {timeouts.sum()}): "
            "pass a file with at least two consecutive rows of one episode"
        )
    if check_continuity:
        if "next_observations" in arrays:
            notes += _check_successors(arrays, terminals | timeouts, path)
        _check_lengths(terminals | timeouts, max_episode_steps + 1, path)
    read = Transitions(
        observations=torch.from_numpy(arrays["observations"][rows]),
        actions=torch.from_numpy(arrays["actions"][rows]),
        rewards=torch.from_numpy(arrays["rewards"][rows]),
        next_observations=torch.from_numpy(arrays["observations"][rows + 1]),
        terminals=torch.from_numpy(terminals[rows].astype(np.float32)),
    )
    return read, notes


def _read_arrays(file: h5py.File, path: Path, size: int) -> dict[str, Shaped[np.ndarray, "N ..."]]:
    found = {key: find(file, key, path) for key in (*REQUIRED, *OPTIONAL)}
    missing = [key for key in REQUIRED if found[key] is None]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: pass a file in D4RL's layout, which has {listed(REQUIRED)}"
        )
    nodes = {key: _checked(node, key, path) for key, node in found.items() if node is not None}
    # Before anything is read: a damaged header may claim any number of rows.
    rows = nodes["observations"].shape[0]
    for key, node in nodes.items():
        if node.shape[0] != rows:
            raise InputError(
                f"{path} holds {node.shape[0]} rows of {key} and {rows} of observations: "
                "pass a file whose arrays have one length"
            )
    if "next_observations" in nodes and nodes["next_observations"].shape != nodes["observations"].shape:
        raise InputError(
            f"{path} holds next_observations of shape {nodes['next_observations'].shape} and observations of shape "
            f"{nodes['observations'].shape}: pass a file in which the two shapes agree"
        )
    check_storage(nodes.values(), size, path)
    return {key: table(key, node[()]) for key, node in nodes.items()}


def _checked(node: h5py.Dataset | h5py.Group | h5py.Datatype, key: str, path: Path) -> h5py.Dataset:
    if not isinstance(node, h5py.Dataset):
        raise InputError(f"{path} holds {key} as a {type(node).__name__.lower()}: pass a file in which it is an array")
    check_shape(key, key, node.shape or (), node.dtype, path)
    return node


def _count_timeouts(terminals: Bool[np.ndarray, " N"], max_episode_steps: int) -> Bool[np.ndarray, " N"]:
    timeouts = np.zeros_like(terminals)
    step = 0
    for row, terminal in enumerate(terminals.tolist()):
        timeouts[row] = step == max_episode_steps - 1
        step = 0 if timeouts[row] else 1 if terminal else step + 1
    return timeouts


def _check_successors(
    arrays: dict[str, Shaped[np.ndarray, "N ..."]], ends: Bool[np.ndarray, " N"], path: Path
) -> tuple[str, ...]:
    inside = np.flatnonzero(~ends[:-1])
    following: Float32[np.ndarray, "rows observation"] = arrays["observations"][inside + 1]
    differs = (arrays["next_observations"][inside] != following).any(1)
    if differs.sum() > UNMARKED_SHARE * len(inside):
        raise InputError(
            f"{path} holds {differs.sum()} rows inside episodes (the first is row {inside[differs][0]}) whose "
            "next_observations differ from the next row: pass a file whose rows are in order and whose terminals and "
            "timeouts mark every end of an episode"
        )
    if not differs.any():
        return ()
    return (
        f"{differs.sum():,} of {len(inside):,} rows inside episodes (the first is row {inside[differs][0]}) are "
        "followed by a row that is not their next_observations, and are kept as D4RL keeps them",
    )


def _check_lengths(ends: Bool[np.ndarray, " N"], limit: int, path: Path) -> None:
    last = np.flatnonzero(np.append(ends[:-1], True))
    lengths = np.diff(last, prepend=-1)
    too_long = np.flatnonzero(lengths > limit)
    joined = len(too_long) == 1 < len(lengths) and lengths.max() <= 2 * limit
    if len(too_long) and not joined:
        row = int(last[too_long[0]] - lengths[too_long[0]] + 1)
        raise InputError(
            f"{path} holds an episode of {lengths[too_long[0]]} rows from row {row} without a terminal or time-out: "
            f"pass a file whose terminals and timeouts mark the end of every episode (at most {limit} rows)"
        )
