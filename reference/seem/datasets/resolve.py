"""From what a user asks for to the data set that answers it."""

import os
import re
from dataclasses import replace
from pathlib import Path

from seem.datasets.dataset import EMBEDDED, WINDOWS, Dataset, load
from seem.datasets.download import cache_dir, download
from seem.datasets.hashes import recorded_hash
from seem.datasets.registry import ENTRIES, Entry, lookup
from seem.errors import InputError
from seem.paths import user_path

DIMENSIONS = {"halfcheetah": (17, 6), "hopper": (11, 3), "walker2d": (17, 6)}
"""Numbers of state and action components of every environment (Gym MuJoCo, printed in D4RL)."""
UNPINNED = "unpinned: only known to be what was first downloaded here, since this project has no hash of it"


SUFFIXES = (".hdf5", ".h5", ".npz")
"""Endings by which a path is told from a name."""


def resolve(env: str | None, dataset: str | Path | None = None, data_dir: str | Path | None = None) -> Dataset:
    """Find, or download, and read a data set: of an environment, or of any task where it is named.

    Without ``data_dir`` the places are the folder ``SEEM_D4RL_DIR``, where that variable is set, and the cache. With
    it, that folder is the only place, and nothing is downloaded. A folder stands for itself and the folders in it.
    Without ``dataset``, the first of these that is there: D4RL's ``<env>-medium-v2``, the windows of
    ``<env>-medium-v0``, and (without ``data_dir``) the set that comes with this package.

    Args:
        env: ``hopper``, ``walker2d`` or ``halfcheetah``, whose numbers of components the data must have; or None,
            where ``dataset`` is named.
        dataset: A D4RL name such as ``hopper-medium-v2``, the name of v0 windows such as ``hopper-medium-v0``, the
            path of a file that `seem.datasets.load` reads, or None.
        data_dir: The only folder to look in, or None.

    Returns:
        The data set; `describe` says in one line what it is.

    Raises:
        InputError: When the environment, name or folder is unknown, no file fits or more than one does, a hash is
            not the expected one, the file is of another environment, or reading or downloading it fails.
    """
    if env is None and dataset is None:
        raise InputError("no data are named: pass an environment (--env hopper), or a file or name with --dataset")
    if env is not None and env not in DIMENSIONS:
        raise InputError(
            f"there is no environment {env!r}: pass one of {', '.join(DIMENSIONS)}, or the path of a file of any task"
        )
    if env is None and dataset is not None and not is_path(dataset):
        env = next((known for known in DIMENSIONS if str(dataset).startswith(f"{known}-")), None)
    folders = _folders(data_dir)
    if dataset is None:
        assert env is not None
        found = _default(env, folders, exclusive=data_dir is not None)
    elif is_path(dataset):
        found = load(user_path(dataset))
    elif re.fullmatch(rf"(?:{'|'.join(DIMENSIONS)})-.+-v0", str(dataset)):
        found = _windows(str(dataset), folders)
    else:
        found = _registered(env, lookup(str(dataset)), folders, exclusive=data_dir is not None)
    if env is not None:
        _check_environment(env, found)
    return found


def is_path(dataset: str | Path) -> bool:
    """Whether a data set is asked for by its path, and not by its name."""
    return isinstance(dataset, Path) or dataset.endswith(SUFFIXES) or os.sep in dataset


def environment_of(dataset: Dataset) -> str | None:
    """The environment that a data set's name and numbers of components say, or None."""
    env = dataset.name.split("-")[0]
    sizes = (dataset.transitions.observation_dim, dataset.transitions.action_dim)
    return env if DIMENSIONS.get(env) == sizes else None


def describe(env: str | None, dataset: Dataset) -> str:
    """Say in one line which data set is used, and how to get the full one where it is not a full one.

    Args:
        env: The environment, or None.
        dataset: What `resolve` returned for it.

    Returns:
        One line without a line end.
    """
    rows = dataset.transitions
    line = f"{dataset.label}: {dataset.name}, {len(rows):,} transitions, SHA-256 {dataset.sha256[:12]}…"
    line += f"; states of {rows.observation_dim} and actions of {rows.action_dim} components"
    line += "".join(f"; {note}" for note in dataset.notes)
    full = ENTRIES.get(dataset.name.removesuffix("-v0") + "-v2", ENTRIES.get(f"{env}-medium-v2"))
    if dataset.name in ENTRIES or full is None:
        return line
    size = f", {full.bytes / 1e6:.0f} MB" if full.bytes else ""
    return f"{line}; the full D4RL set: --dataset {full.name} (downloads once{size})"


def _folders(data_dir: str | Path | None) -> list[Path]:
    own = os.environ.get("SEEM_D4RL_DIR")
    named = data_dir if data_dir is not None else own
    if not named:
        return [cache_dir()]
    folder = user_path(named)
    if not folder.is_dir():
        source = "--data-dir" if data_dir is not None else "SEEM_D4RL_DIR"
        raise InputError(f"{folder} (from {source}) is not a folder: name the folder that holds the .hdf5 files")
    return [folder] if data_dir is not None else [folder, cache_dir()]


def _find(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern)) or sorted(folder.glob(f"*/{pattern}"))
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise InputError(f"{folder} holds several files that fit ({names}): pass the path of one with --dataset")
    return found[0] if found else None


def _default(env: str, folders: list[Path], *, exclusive: bool) -> Dataset:
    entry = ENTRIES[f"{env}-medium-v2"]
    for folder in folders:
        if path := _find(folder, entry.filename):
            return _load_entry(entry, path)
    for folder in folders:
        if path := _find(folder, f"{env}-medium-v0_*.hdf5"):
            return load(path)
    if exclusive:
        raise InputError(
            f"{folders[0]} holds neither {entry.filename} nor {env}-medium-v0_*.hdf5: "
            "name another folder with --data-dir, or leave it out"
        )
    embedded = EMBEDDED / f"{env}-medium.hdf5"
    if embedded.exists():
        return load(embedded)
    raise InputError(
        f"no data set of {env} is on this machine: pass --dataset {entry.name} to download it, "
        "or --data-dir with a folder that holds one"
    )


def _windows(name: str, folders: list[Path]) -> Dataset:
    for folder in folders:
        if path := _find(folder, f"{name}_*.hdf5"):
            return load(path)
    raise InputError(
        f"no {name}_*.hdf5 ({WINDOWS}) is in {' or '.join(map(str, folders))}: "
        "name the folder that holds it with --data-dir or SEEM_D4RL_DIR"
    )


def _registered(env: str | None, entry: Entry, folders: list[Path], *, exclusive: bool) -> Dataset:
    for folder in folders:
        if path := _find(folder, entry.filename):
            return _load_entry(entry, path)
    if exclusive:
        raise InputError(
            f"{folders[0]} does not hold {entry.filename}: put it there, or leave out --data-dir to download it"
        )
    if env is not None and not entry.name.startswith(f"{env}-"):
        raise InputError(f"{entry.name} is no data set of {env}: pass one of {env}, or another environment")
    return _load_entry(entry, download(entry, cache_dir()).path)


def _load_entry(entry: Entry, path: Path) -> Dataset:
    found = load(path, entry.name)
    expected = entry.sha256 or recorded_hash(path)
    if expected not in (None, found.sha256):
        raise InputError(
            f"{path} has SHA-256 {found.sha256[:12]}… instead of {expected[:12]}…: delete it and download it again, "
            "or rename it and pass its path with --dataset to use it unverified"
        )
    return found if entry.sha256 else replace(found, notes=(*found.notes, UNPINNED))


def _check_environment(env: str, dataset: Dataset) -> None:
    found = (dataset.transitions.observation_dim, dataset.transitions.action_dim)
    other = next((name for name in DIMENSIONS if name != env and dataset.name.startswith(f"{name}-")), None)
    if found != DIMENSIONS[env] or other:
        raise InputError(
            f"{dataset.path} ({dataset.name}) holds states and actions of {found[0]} and {found[1]} components"
            f"{f' of {other}' if other else ''}, but {env} has {DIMENSIONS[env][0]} and {DIMENSIONS[env][1]}: "
            f"pass a data set of {env}, or another environment, or a file alone"
        )
