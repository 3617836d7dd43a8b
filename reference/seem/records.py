"""Run records: written so that a kill at any moment loses nothing, hashed, and read back checked.

A run's folder holds ``config.json``, ``readings.jsonl``, ``forecasts.jsonl``, a ``checkpoint.safetensors``
while it runs, and at its end ``trace.safetensors`` and ``outcome.json`` with the SHA-256 of the others.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seem.errors import InputError

NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""How numbers that JSON lacks are written: as strings. They are results, not errors."""

RECORD_FORMAT = 1
"""Part of every run's key. Raised whenever what a finished run means changes: what is trained, read or written under
one configuration; then finished runs are made again. A release alone leaves it."""

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

    def restore(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {k: NON_FINITE.get(v, v) if isinstance(v, str) else v for k, v in pairs}

    return json.loads(text, object_pairs_hook=restore)


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
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): free some space or choose another folder") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


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


def remove_partial(folder: Path) -> None:
    """Delete what a kill in the middle of `write_atomically` left in a folder."""
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def append_line(path: Path, value: Any) -> None:
    """Append one object to a JSON Lines file, on the disk when this returns.

    Args:
        path: The file; created when missing.
        value: What `canonical_json` takes.

    Raises:
        InputError: When the file cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(canonical_json(value).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): free some space or choose another folder") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; a last line torn by a kill is left out, a missing file is empty.

    Args:
        path: The file.

    Returns:
        One dict a complete line.

    Raises:
        InputError: When a complete line is not JSON.
    """
    if not path.exists():
        return []
    try:
        *lines, _torn = path.read_text().split("\n")
        return [parse_json(line) for line in lines]
    except ValueError as error:  # not JSON, or not even UTF-8
        raise InputError(f"{path} is damaged ({error}): delete its run folder and run again") from error


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Replace a JSON Lines file atomically."""
    write_atomically(path, "".join(canonical_json(value) + "\n" for value in values))


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any] | None = None) -> None:
    """Write tensors as safetensors, atomically.

    Args:
        path: Where.
        tensors: Any dtypes and shapes; saved from the CPU.
        metadata: A JSON object stored in the file's header.

    Raises:
        InputError: When the file cannot be written.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(stored, {"metadata": canonical_json(metadata or {})}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, on the CPU, and metadata of a file of `write_tensors`.

    Raises:
        InputError: When the file is missing, truncated or not safetensors.
    """
    try:
        content = path.read_bytes()
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        return tensors, parse_json(header["__metadata__"]["metadata"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"cannot read {path} ({error}): delete its run folder and run again") from error


def write_outcome(folder: Path, outcome: dict[str, Any], files: Iterable[str]) -> None:
    """Finish a record: the outcome, with the SHA-256 of the files it rests on and of itself.

    Args:
        folder: The run's folder.
        outcome: A JSON object.
        files: Names of files in the folder.
    """
    hashes = {name: digest((folder / name).read_bytes()) for name in sorted(files)}
    content = {**outcome, "sha256": hashes}
    sealed = {**content, "seal": digest(canonical_json(content))}
    write_atomically(folder / "outcome.json", canonical_json(sealed) + "\n")


def read_outcome(folder: Path) -> dict[str, Any] | None:
    """The outcome of a finished run, its files checked against their hashes; None when there is none yet.

    Raises:
        InputError: When a file was changed or lost after the run.
    """
    path = folder / "outcome.json"
    if not path.exists():
        return None
    try:
        outcome = parse_json(path.read_text())
        seal = outcome.pop("seal")
        expected = outcome["sha256"].items()
        changed = [n for n, sha in expected if not (folder / n).is_file() or digest((folder / n).read_bytes()) != sha]
        changed += [path.name] if digest(canonical_json(outcome)) != seal else []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): delete its run folder and run again") from error
    if changed:
        raise InputError(f"{', '.join(changed)} in {folder} changed after the run: delete the folder and run again")
    return outcome


@dataclass(frozen=True)
class RunRecord:
    """A finished run, read back with its hashes checked.

    Attributes:
        outcome: What came out, and what was run on what.
        readings: Lines of readings.jsonl, in order.
        forecasts: Lines of forecasts.jsonl, in order.
        trace: Columns of the trace by name, each float64 of shape (steps,).
    """

    outcome: dict[str, Any]
    readings: list[dict[str, Any]]
    forecasts: list[dict[str, Any]]
    trace: dict[str, Tensor]

    def largest(self, name: str) -> tuple[list[int], list[float]]:
        """A field of the readings, the largest over the critics, with the steps it was read at.

        Args:
            name: A field of `seem.spectrum.Reading`.

        Returns:
            Steps and values; readings of an overflowed kernel are left out.
        """
        live = [(line["step"], [critic[name] for critic in line["critics"] if critic]) for line in self.readings]
        return [step for step, values in live if values], [max(values) for _, values in live if values]


def read_run(folder: Path) -> RunRecord:
    """Read a finished run.

    Args:
        folder: The run's folder.

    Returns:
        The record.

    Raises:
        InputError: When the run is not finished or its files were changed.
    """
    outcome = read_outcome(folder)
    if outcome is None:
        raise InputError(f"{folder} holds no finished run: repeat the command that makes it, which resumes it")
    tensors, metadata = read_tensors(folder / "trace.safetensors")
    trace = dict(zip(metadata["columns"], tensors["trace"].T, strict=True))
    lines = {name: read_lines(folder / f"{name}.jsonl") for name in ("readings", "forecasts")}
    return RunRecord(outcome, lines["readings"], lines["forecasts"], trace)
