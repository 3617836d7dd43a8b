"""What must be equal of an output folder: its files, without the fields that a repetition changes."""

import json
from pathlib import Path
from typing import Any

import h5py

from seem.locks import LOCK


def contents(folder: Path, volatile: frozenset[str] = frozenset()) -> dict[str, Any]:
    """All files of a folder by name, without the fields that a repetition changes.

    A lock file that could not be removed counts for nothing: it locks nothing once its process has ended.

    Args:
        folder: The output folder.
        volatile: Names of fields of JSON objects and of attributes of HDF5 files, at any depth.

    Returns:
        Bytes, values of JSON files, or arrays and attributes of HDF5 files.
    """
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir() and not path.name.endswith(LOCK)):
        name, content = path.relative_to(folder).as_posix(), path.read_bytes()
        if path.suffix == ".json":
            found[name] = _without(json.loads(content), volatile)
        elif path.suffix == ".jsonl":
            found[name] = [_without(json.loads(line), volatile) for line in content.splitlines()]
        elif path.suffix == ".hdf5":
            found[name] = _arrays(path, volatile) or content
        else:
            found[name] = content
    return found


def _arrays(path: Path, volatile: frozenset[str]) -> tuple[dict[str, bytes], dict[str, str]] | None:
    try:
        with h5py.File(path) as file:
            arrays = {key: node[()].tobytes() for key, node in file.items()}
            return arrays, {key: str(value) for key, value in file.attrs.items() if key not in volatile}
    except OSError:  # a test's stand-in for one
        return None


def _without(value: Any, volatile: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, volatile) for key, item in value.items() if key not in volatile}
    return [_without(item, volatile) for item in value] if isinstance(value, list) else value


def differs(found: Any, expected: Any) -> str:
    """The names of files that differ; "" when none does."""
    if isinstance(found, dict) and isinstance(expected, dict):
        names = found.keys() | expected.keys()
        return ", ".join(sorted(n for n in names if n not in found or n not in expected or found[n] != expected[n]))
    return "" if found == expected else "the files"
