"""Minari's HDF5 files as transitions: a group an episode, with one observation more than it has steps."""

import os
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import torch

from seem.datasets.hdf5 import check_storage, find, hdf5_in
from seem.datasets.tables import check_shape, check_tables, listed, table
from seem.errors import InputError
from seem.transitions import Transitions

PREFIX = "episode_"
NAMES = {
    "observations": "observations",
    "actions": "actions",
    "rewards": "rewards",
    "terminations": "terminals",
    "truncations": "timeouts",
}
"""What the layout calls the parts of an episode, all of which it has."""


def is_minari(file: h5py.File) -> bool:
    """Whether an HDF5 file holds episodes as groups, and no table of all observations."""
    return "observations" not in file and any(name.startswith(PREFIX) for name in _names(file))


def _names(file: h5py.File) -> list[str]:
    return [str(name) for name in file]


def read_minari(raw: FileIO, path: Path) -> tuple[Transitions, tuple[str, ...]]:
    """Read an open file; every step is a transition, also the last of an episode, whose successor is stored.

    Args:
        raw: The open file.
        path: Its path, for messages.

    Returns:
        The transitions, float32 on the CPU, episodes by number, and what was accepted with a doubt.

    Raises:
        InputError: When the file cannot be read, an episode lacks an array or holds one of another shape or dtype,
            keeps it in another file or declares more than it holds, or a value that no transition has.

    Source: Minari's documentation of its HDF5 storage (recalled).
    """
    with hdf5_in(raw, path) as file:
        named = [name for name in _names(file) if name.startswith(PREFIX) and name.removeprefix(PREFIX).isdecimal()]
        episodes = [_episode(file, name, path) for name in sorted(named, key=lambda n: int(n.removeprefix(PREFIX)))]
        check_storage((node for nodes in episodes for node in nodes.values()), os.fstat(raw.fileno()).st_size, path)
        read = [{NAMES[name]: table(NAMES[name], node[()]) for name, node in nodes.items()} for nodes in episodes]
    whole = [episode for episode in read if len(episode["rewards"])]
    if not whole:
        raise InputError(f"{path} holds no step of an episode: pass a file with at least one")
    widths = {(episode["observations"].shape[1], episode["actions"].shape[1]) for episode in whole}
    if len(widths) > 1:
        raise InputError(f"{path} holds episodes of different numbers of components: pass the file of one environment")
    arrays = {key: np.concatenate([episode[key] for episode in whole]) for key in NAMES.values()}
    arrays["observations"] = np.concatenate([episode["observations"][:-1] for episode in whole])
    arrays["next_observations"] = np.concatenate([episode["observations"][1:] for episode in whole])
    notes = check_tables(arrays, path)
    del arrays["timeouts"]  # an end that is no terminal, whose successor is stored like any other
    return Transitions(**{name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}), notes


def _episode(file: h5py.File, name: str, path: Path) -> dict[str, h5py.Dataset]:
    """The arrays of one episode, of agreeing lengths, none of them read."""
    group = find(file, name, path)
    if not isinstance(group, h5py.Group):
        raise InputError(f"{path} holds {name} as no group: pass a file in Minari's layout")
    found = {part: find(file, f"{name}/{part}", path) for part in NAMES}
    missing = [part for part in NAMES if found[part] is None]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)} in {name}: pass a file in Minari's layout, which has {listed([*NAMES])}"
        )
    nodes = {}
    for part, node in found.items():
        if not isinstance(node, h5py.Dataset):
            raise InputError(
                f"{path} holds {name}/{part} in several parts (a dictionary or tuple space): "
                "pass a file whose spaces are flat boxes"
            )
        check_shape(NAMES[part], f"{name}/{part}", node.shape or (), node.dtype, path)
        nodes[part] = node
    steps = nodes["rewards"].shape[0]
    for part, node in nodes.items():
        wanted = steps + (part == "observations")
        if node.shape[0] != wanted:
            raise InputError(
                f"{path} holds {node.shape[0]} rows of {name}/{part} for {steps} steps: "
                "pass a file with one observation more than steps, and one of everything else a step"
            )
    return nodes
