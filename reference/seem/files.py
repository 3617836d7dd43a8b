"""What every file that this package writes rests on: one text for one value, digests, and whole files or none."""

import glob
import hashlib
import json
import math
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from seem.errors import InputError

NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""How numbers that JSON lacks are written: as strings. They are results, not errors."""

TEMPORARY = ".partial"
"""Suffix of files that are not complete yet."""


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, dataclasses as objects, inf and nan as strings.

    Args:
        value: Anything made of dataclasses, dicts, lists, tuples, strings, numbers, booleans and None.

    Returns:
        Strict JSON.
    """
    return json.dumps(_jsonable(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _jsonable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def parse_json(text: str) -> Any:
    """The inverse of `canonical_json` for objects: the strings "inf", "-inf" and "nan" become numbers again.

    Args:
        text: JSON whose objects were written by `canonical_json`.

    Returns:
        Dicts, lists, strings, numbers, booleans and None.
    """
    return json.loads(text, object_pairs_hook=_restored)


def _restored(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {k: NON_FINITE.get(v, v) if isinstance(v, str) else v for k, v in pairs}


def digest(content: bytes | str) -> str:
    """SHA-256 of bytes, or of a text's UTF-8, in hexadecimal."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file that is either wholly there or not at all: temporary name, fsync, rename.

    Args:
        path: Where; its folder must exist.
        content: Bytes, or a text written as UTF-8.

    Raises:
        InputError: When the folder cannot be written to.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    except OSError as error:
        raise InputError(f"cannot write into {path.parent} ({error.strerror}): choose another output folder") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        with suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(
                f"cannot write {path} ({error.strerror}): free some space or choose another folder"
            ) from error
        raise


def read_bytes(path: Path) -> bytes:
    """A whole file of this package.

    Raises:
        InputError: When it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror}): make it readable and repeat the same command"
        ) from error


def remove(path: Path) -> None:
    """Delete a file, if it is there.

    Raises:
        InputError: When that is not permitted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot delete {path} ({error.strerror}): make its folder writable and repeat the same command"
        ) from error


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises:
        InputError: When that is not permitted or a file stands in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot create the folder {path} ({error.strerror}): choose another output folder") from error
    return path


def remove_partial(folder: Path, name: str = "*") -> None:
    """Delete what a kill in the middle of `write_atomically` left in a folder.

    Args:
        folder: The folder.
        name: Only of the file of this name.
    """
    named = name if name == "*" else f"{glob.escape(name)}.*"
    for path in folder.glob(f".{named}{TEMPORARY}"):
        remove(path)
