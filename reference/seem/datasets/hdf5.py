"""HDF5 files of other people: opened without waiting, believed in nothing, and never left for another file.

A file's hash covers its data only where the data are in the file. So external links, external raw storage and
virtual data sets are refused, and so are arrays that declare more than the file can hold.
"""

import fcntl
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import h5py

from seem.errors import InputError
from seem.paths import open_file

WHAT = "D4RL HDF5 file"
LARGEST_FILE = 1 << 36
"""64 GiB: forty times D4RL's largest file."""
LARGEST_RATIO = 1032
"""Most bytes that one stored byte stands for: deflate cannot do better, and flags that are all zero do get there."""
COPIES = 3
"""How often rows lie in memory while they are read: as stored, in float32, and as transitions."""
FILTERS = (1, 2, 3, 4, 5, 6, 32000)
"""gzip, shuffle, fletcher32, szip, nbit, scale-offset and LZF; any other is code from a plug-in's folder."""
MOST_LINKS = 16


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, and turn every way in which that can fail into one sentence.

    Args:
        path: The file.

    Yields:
        The open file.

    Raises:
        InputError: When the path is missing, no regular file, not permitted, locked, not HDF5, truncated or
            damaged, or too large for the memory.
    """
    with open_file(path, WHAT, LARGEST_FILE) as raw, hdf5_in(raw, path) as file:
        yield file


@contextmanager
def hdf5_in(raw: FileIO, path: Path) -> Iterator[h5py.File]:
    """The HDF5 file in an open file; `open_hdf5` for one whose bytes are needed too.

    Args:
        raw: The open file.
        path: Its name, for messages.

    Yields:
        The open HDF5 file.

    Raises:
        InputError: See `open_hdf5`.
    """
    _lock(raw, path)
    try:
        with h5py.File(raw, "r") as file:
            yield file
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path} may not be read by this user: change its permissions or pass another file") from error
    except MemoryError as error:
        raise _too_large(path) from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # what h5py raises on damaged files
        if "already open for" in str(error):
            raise InputError(
                f"{path} was left open by a process that wrote it and ended: "
                "repair it with h5clear -s, or pass another file"
            ) from error
        raise InputError(
            f"{path} is not a readable HDF5 file (truncated, damaged or of another format): "
            "download it again or pass another file"
        ) from error


def _lock(raw: FileIO, path: Path) -> None:
    """Take HDF5's own lock, which a file object of Python's does not; it goes when the file is closed."""
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() in ("FALSE", "0"):
        return
    try:
        fcntl.flock(raw, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{path} is locked by a process that writes it: pass it once that has closed it, "
            "or set HDF5_USE_FILE_LOCKING=FALSE where none does"
        ) from error
    except OSError:  # a file system without locks
        return


def find(file: h5py.File, name: str, path: Path) -> h5py.Dataset | h5py.Group | h5py.Datatype | None:
    """What a name stands for, by links inside the file only.

    Args:
        file: The open file.
        name: The name, from the root.
        path: The file's path, for messages.

    Returns:
        The object, or None where there is no such name.

    Raises:
        InputError: When a link leads out of the file or in a circle.
    """
    return _follow(file, file, name, path, MOST_LINKS)


def _follow(file: h5py.File, start: h5py.Group, name: str, path: Path, left: int):
    node: h5py.Group | h5py.Dataset | h5py.Datatype = file if name.startswith("/") else start
    for part in (part for part in name.split("/") if part not in ("", ".")):
        if not isinstance(node, h5py.Group):
            return None
        link = node.get(part, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise InputError(f"{path} holds {name} as a link to another file: pass a file that holds its own data")
        if isinstance(link, h5py.SoftLink):
            if not left:
                raise InputError(f"{path} holds {name} as links in a circle: pass a file that holds its own data")
            found = _follow(file, node, link.path, path, left - 1)
            if found is None:
                return None
            node = found
        else:
            node = node[part]
    return node


def check_storage(nodes: Iterable[h5py.Dataset], size: int, path: Path) -> None:
    """Refuse arrays whose data are elsewhere, or that declare more than their file can hold, before reading any.

    Args:
        nodes: Arrays of numbers.
        size: Bytes of the file.
        path: The file, for messages.

    Raises:
        InputError: Naming the array.
    """
    stored = declared = 0
    for node in nodes:
        name = (node.name or "").strip("/")
        _check_place(node, name, path)
        kept, claimed = node.id.get_storage_size(), math.prod(node.shape) * node.dtype.itemsize
        stored, declared = stored + kept, declared + claimed
        if stored > size or not _is_stored(node, kept, claimed):
            raise InputError(
                f"{path} declares {claimed:,} bytes of {name} but holds {min(kept, size):,}: "
                "download it again or pass another file"
            )
    if COPIES * declared > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise _too_large(path)


def _check_place(node: h5py.Dataset, name: str, path: Path) -> None:
    if node.is_virtual or node.external:
        raise InputError(f"{path} keeps {name} in another file: pass a file that holds its own data")
    plist = node.id.get_create_plist()
    if any(plist.get_filter(index)[0] not in FILTERS for index in range(plist.get_nfilters())):
        raise InputError(f"{path} holds {name} in a compression of a plug-in: pass a file that is compressed with gzip")


def _is_stored(node: h5py.Dataset, kept: int, claimed: int) -> bool:
    if not claimed:
        return True
    if node.chunks is None:
        return kept == claimed
    chunk = math.prod(node.chunks) * node.dtype.itemsize
    wanted = math.prod(-(-length // part) for length, part in zip(node.shape, node.chunks, strict=True))
    # The bound on the bytes comes first: where it holds, the chunks are few enough to be counted.
    return wanted * chunk <= LARGEST_RATIO * kept and node.id.get_num_chunks() == wanted


def _too_large(path: Path) -> InputError:
    return InputError(
        f"{path} claims to hold more than fits into this machine's memory: "
        "download it again if it is damaged, or pass a smaller file"
    )
