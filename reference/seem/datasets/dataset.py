"""A loaded data set with its honest label."""

import os
from dataclasses import dataclass
from pathlib import Path

import h5py

from seem.datasets.d4rl import read_rows
from seem.datasets.hashes import check_sums, sha256_in
from seem.datasets.hdf5 import LARGEST_FILE, WHAT, hdf5_in
from seem.datasets.registry import name_of
from seem.errors import InputError
from seem.paths import open_file
from seem.transitions import Transitions

EMBEDDED = Path(__file__).parent / "embedded"
WINDOWS = "D4RL v0 windows"
WINDOWS_FOLDER = "d4rl-v0-windows"


@dataclass(frozen=True)
class Dataset:
    """Transitions together with what they are and where they come from; the label goes into every run record.

    Attributes:
        name: The data set's D4RL name, or the file's name without its suffix.
        label: ``D4RL <name>`` where the hash is the pinned one, ``D4RL v0 windows`` and
            ``embedded (made by this project)`` by the folder that holds the file, ``surrogate``, or
            ``unverified file <file name>``.
        path: The file that was read.
        sha256: The file's SHA-256, 64 hexadecimal digits.
        transitions: What it holds, float32 on the CPU.
        notes: What was accepted with a doubt, a few words each.
    """

    name: str
    label: str
    path: Path
    sha256: str
    transitions: Transitions
    notes: tuple[str, ...] = ()


def load(path: Path, name: str | None = None) -> Dataset:
    """Read one file and label it: by its hash first, and then by the folder that it came from.

    Hash and rows are read from one open file, and what the file says of itself is believed only where it warns.

    Args:
        path: A D4RL HDF5 file.
        name: The data set's name; None takes the registry's, or the file's.

    Returns:
        The data set. Rows of a file with a pinned hash are not checked for continuity: they are D4RL's own.

    Raises:
        InputError: When `seem.datasets.read_d4rl` refuses the file, it changes meanwhile, or a ``SHA256SUMS`` beside
            it or one folder above lists another hash.
    """
    with open_file(path, WHAT, LARGEST_FILE) as raw:
        before = os.fstat(raw.fileno())
        with hdf5_in(raw, path) as file:
            surrogate = _is_surrogate(file)
        digest = sha256_in(raw)
        check_sums(path, digest)
        verified = name_of(digest)
        transitions, notes = read_rows(raw, path, check_continuity=verified is None)
        after = os.fstat(raw.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError(f"{path} changed while it was read: pass it once nobody writes it")
    label = f"D4RL {verified}" if verified else _unpinned_label(path, surrogate)
    return Dataset(verified or name or _plain_name(path, label), label, path, digest, transitions, notes)


def _is_surrogate(file: h5py.File) -> bool:
    """Whether a file says that it stands in for another; the one thing it is believed about itself."""
    warning = file.attrs.get("WARNING", "")
    return isinstance(warning, str) and "SURROGATE" in warning


def _unpinned_label(path: Path, surrogate: bool) -> str:
    """By the place that a file came from: what it says of itself anybody can write into it."""
    folder = path.absolute().parent
    if surrogate or folder.name == "surrogate":
        return "surrogate"
    if folder.resolve() == EMBEDDED.resolve():
        return "embedded (made by this project)"
    return WINDOWS if folder.name == WINDOWS_FOLDER else f"unverified file {path.name}"


def _plain_name(path: Path, label: str) -> str:
    return path.stem.partition("_")[0] if label == WINDOWS else path.stem
