"""A loaded data set with its honest label."""

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import h5py

from seem.datasets.d4rl import read_rows
from seem.datasets.hashes import check_sums, sha256_in
from seem.datasets.hdf5 import LARGEST_FILE, WHAT, hdf5_in
from seem.datasets.minari import is_minari, read_minari
from seem.datasets.neorl2 import SIGNATURES, read_neorl2
from seem.datasets.registry import identify
from seem.errors import InputError
from seem.paths import open_file
from seem.transitions import Transitions

EMBEDDED = Path(__file__).parent / "embedded"
WINDOWS = "D4RL v0 windows"


@dataclass(frozen=True)
class Dataset:
    """Transitions together with what they are and where they come from; the label goes into every run record.

    Attributes:
        name: The name that goes with the file's hash, or the file's name without its suffix.
        label: What the file's hash says: ``D4RL <name>``, ``D4RL v0 windows``, ``NeoRL-2 <name>, training file``,
            ``embedded (made by this project)`` or ``surrogate``. ``surrogate`` too where the file or its folder says
            so; else ``unverified file <file name>``.
        path: The file that was read.
        sha256: The file's SHA-256, 64 hexadecimal digits.
        transitions: What it holds, float32 on the CPU.
        notes: What was accepted with a doubt, a few words each.
        layout: ``D4RL``, ``Minari`` or ``NeoRL-2``: how the file holds them.
    """

    name: str
    label: str
    path: Path
    sha256: str
    transitions: Transitions
    notes: tuple[str, ...] = ()
    layout: str = "D4RL"


def load(path: Path, name: str | None = None) -> Dataset:
    """Read one file of any task and of any known layout, and label it by its hash.

    Hash and rows are read from one open file. What a file, its name or its folder says is believed only where it warns.

    Args:
        path: A D4RL or Minari HDF5 file, or an npz file of NeoRL-2.
        name: The data set's name where the hash is unknown; None takes the file's.

    Returns:
        The data set. Rows of a D4RL file with a pinned hash are not checked for continuity: they are D4RL's own.

    Raises:
        InputError: When the reader of its layout refuses the file, it changes meanwhile, or a ``SHA256SUMS`` beside
            it or one folder above lists another hash.
    """
    with open_file(path, WHAT, LARGEST_FILE) as raw:
        before = os.fstat(raw.fileno())
        layout, surrogate = _look_into(raw, path)
        digest = sha256_in(raw)
        check_sums(path, digest)
        known = identify(digest)
        transitions, notes = _read(raw, path, layout, check_continuity=known is None)
        after = os.fstat(raw.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError(f"{path} changed while it was read: pass it once nobody writes it")
    if known is None:
        surrogate = surrogate or path.absolute().parent.name == "surrogate"
        known = name or path.stem, "surrogate" if surrogate else f"unverified file {path.name}"
    return Dataset(*known, path, digest, transitions, notes, layout)


def _look_into(raw: FileIO, path: Path) -> tuple[str, bool]:
    """The layout of an open file, and whether it says that it stands in for another."""
    raw.seek(0)
    if raw.read(4) in SIGNATURES:
        return "NeoRL-2", False
    with hdf5_in(raw, path) as file:
        return "Minari" if is_minari(file) else "D4RL", _is_surrogate(file)


def _read(raw: FileIO, path: Path, layout: str, *, check_continuity: bool) -> tuple[Transitions, tuple[str, ...]]:
    if layout == "NeoRL-2":
        return read_neorl2(raw, path)
    if layout == "Minari":
        return read_minari(raw, path)
    return read_rows(raw, path, check_continuity=check_continuity)


def _is_surrogate(file: h5py.File) -> bool:
    """Whether a file says that it stands in for another; the one thing it is believed about itself."""
    warning = file.attrs.get("WARNING", "")
    return isinstance(warning, str) and "SURROGATE" in warning
