"""NeoRL-2's files as transitions: NumPy's archives, of which no pickle and no more than they hold is read."""

import math
import os
import zipfile
import zlib
from io import FileIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped

from seem.datasets.hdf5 import COPIES, LARGEST_RATIO
from seem.datasets.tables import check_shape, check_tables, listed, table
from seem.errors import InputError
from seem.transitions import Transitions

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of an archive, and of one that holds nothing."""
NAMES = {
    "obs": "observations",
    "action": "actions",
    "reward": "rewards",
    "next_obs": "next_observations",
    "done": "terminals",
}
"""What the layout calls the parts of a transition, all of which it needs."""
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_neorl2(raw: FileIO, path: Path) -> tuple[Transitions, tuple[str, ...]]:
    """Read an open archive; every row is a transition, since its successor is stored.

    ``done`` is a true terminal. A time-out in ``truncated`` ends an episode and is no terminal.

    Args:
        raw: The open file.
        path: Its path, for messages.

    Returns:
        The transitions, float32 on the CPU, and what was accepted with a doubt.

    Raises:
        InputError: When it is no archive, is damaged, encrypted or compressed otherwise than by deflate, lacks an
            array, holds Python objects or arrays that declare more than they hold, or a value that no transition has.

    Source: NeoRL-2 (Gao et al. 2025), its published files (printed).
    """
    try:
        with zipfile.ZipFile(raw) as archive:
            arrays = _arrays(archive, path)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} holds more than fits into this machine's memory: pass a smaller file") from error
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path} is not a readable npz archive (truncated, damaged or of another format): "
            "download it again or pass another file"
        ) from error
    notes = check_tables(arrays, path)
    parts = {name: torch.from_numpy(values.astype(np.float32)) for name, values in arrays.items()}
    return Transitions(**{name: parts[name] for name in NAMES.values()}), notes


def _arrays(archive: zipfile.ZipFile, path: Path) -> dict[str, Shaped[np.ndarray, "N ..."]]:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    missing = [name for name in NAMES if name not in members]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: pass an archive in NeoRL-2's layout, which has {listed([*NAMES])}"
        )
    wanted = {name: key for name, key in (NAMES | {"truncated": "timeouts"}).items() if name in members}
    declared = sum(members[name].file_size for name in wanted)
    if COPIES * declared > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError
    arrays = {key: table(key, _array(archive, members[name], key, name, path)) for name, key in wanted.items()}
    rows = len(arrays["observations"])
    for name, key in wanted.items():
        if len(arrays[key]) != rows:
            raise InputError(
                f"{path} holds {len(arrays[key])} rows of {name} and {rows} of obs: "
                "pass a file whose arrays have one length"
            )
    if arrays["next_observations"].shape != arrays["observations"].shape:
        raise InputError(f"{path} holds obs and next_obs of two shapes: pass a file in which they agree")
    if not rows:
        raise InputError(f"{path} holds no transition: pass a file with at least one row")
    return arrays


def _array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str, name: str, path: Path
) -> Shaped[np.ndarray, "N ..."]:
    """One array, whose header is believed only where it agrees with what the archive holds."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{path} holds {name} encrypted or in another compression: save it by numpy.savez_compressed")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise InputError(f"{path} holds {name} in npy version {version}: save it by numpy.savez_compressed")
        shape, by_column, dtype = HEADERS[version](file)
        if dtype.hasobject:
            raise InputError(f"{path} holds {name} as Python objects, which are not read: save arrays of numbers")
        check_shape(key, name, shape, dtype, path)
        claimed = math.prod(shape) * dtype.itemsize
        if file.tell() + claimed != info.file_size or info.file_size > LARGEST_RATIO * max(info.compress_size, 1):
            raise InputError(
                f"{path} declares {claimed:,} bytes of {name} but holds {info.file_size:,} in {info.compress_size:,}: "
                "download it again or pass another file"
            )
        content = file.read(claimed)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")
