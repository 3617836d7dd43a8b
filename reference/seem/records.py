"""Run records: written so that a kill at any moment loses nothing, hashed, and read back checked.

A run's folder holds ``config.json``, ``readings.jsonl``, ``forecasts.jsonl``, a ``checkpoint.safetensors``
while it runs, and at its end ``trace.safetensors`` and ``outcome.json`` with the SHA-256 of the others.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from seem.errors import InputError
from seem.files import (
    canonical_json,
    digest,
    make_folder,
    parse_json,
    read_bytes,
    remove_partial,
    write_atomically,
)

__all__ = [
    "RunRecord",
    "append_line",
    "canonical_json",
    "check_steps",
    "digest",
    "make_folder",
    "parse_json",
    "read_lines",
    "read_outcome",
    "read_run",
    "read_tensors",
    "remove_partial",
    "write_atomically",
    "write_lines",
    "write_outcome",
    "write_tensors",
]

TAIL_BYTES = 1 << 16
"""How much of a file's end is read first to find its last line."""
RECORD_FORMAT = 1
"""Part of every run's key. Raised whenever what a finished run means changes: what is trained, read or written under
one configuration; then finished runs are made again. A release alone leaves it."""


def append_line(path: Path, value: Any) -> None:
    """Append one object to a JSON Lines file, on the disk when this returns.

    Args:
        path: The file; created when missing.
        value: What `canonical_json` takes; where it has a step, that is later than the last line's.

    Raises:
        InputError: When the file cannot be written, ends in the middle of a line, or already has this step.
    """
    text = canonical_json(value)
    try:
        with path.open("a+b") as file:
            _check_rise(path, _last_line(file), text)
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}): free some space or choose another folder") from error


def _last_line(file: BinaryIO) -> bytes:
    """What follows the last line end but one; it ends itself in a line end unless it is torn."""
    end, size, tail = file.seek(0, os.SEEK_END), TAIL_BYTES, b""
    while True:
        start = max(0, end - size)
        file.seek(start)
        tail = file.read(end - start)
        before = tail[:-1].rfind(b"\n")
        if before >= 0 or start == 0:
            return tail[before + 1 :]
        size *= 4


def _check_rise(path: Path, last: bytes, text: str) -> None:
    if not last:
        return
    try:
        before, after = _step_of(last.decode()), _step_of(text)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): delete its run folder and run again") from error
    if not last.endswith(b"\n"):
        raise InputError(f"{path} ends in the middle of a line: delete its run folder and run again")
    if before is not None and after is not None and not after > before:
        raise InputError(
            f"{path} already reaches step {before} and cannot go on with step {after}: "
            "let one process at a time write its run folder, delete it and run again"
        )


def _step_of(line: str) -> int | float | None:
    value = parse_json(line)
    step = value.get("step") if isinstance(value, dict) else None
    return step if isinstance(step, int | float) else None


def check_steps(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Refuse lines whose steps do not rise, as two processes that write one file leave them.

    Args:
        path: The file they are from.
        lines: Its objects.

    Raises:
        InputError: Naming the first step that is not later than the one before.
    """
    for before, line in pairwise(lines):
        if "step" in line and "step" in before and not line["step"] > before["step"]:
            raise InputError(
                f"{path} goes from step {before['step']} to {line['step']}: delete its run folder and run again"
            )


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
        *lines, _torn = read_bytes(path).decode().split("\n")
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
    content = read_bytes(path)
    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        return tensors, parse_json(header["__metadata__"]["metadata"])
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"cannot read {path} ({error}): delete its run folder and run again") from error


def write_outcome(folder: Path, outcome: dict[str, Any], files: Iterable[str]) -> None:
    """Finish a record: the outcome, with the SHA-256 of the files it rests on and of itself.

    Args:
        folder: The run's folder.
        outcome: A JSON object.
        files: Names of files in the folder.
    """
    hashes = {name: digest(read_bytes(folder / name)) for name in sorted(files)}
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
        text = read_bytes(path).decode()
        sealed = parse_json(text)
        outcome = {name: value for name, value in sealed.items() if name != "seal"}
        expected = outcome["sha256"].items()
        changed = [n for n, sha in expected if not (folder / n).is_file() or digest(read_bytes(folder / n)) != sha]
        # The seal is of the canonical text, so any other spelling of the same values is a change too.
        canonical = text == canonical_json(sealed) + "\n" and digest(canonical_json(outcome)) == sealed["seal"]
        changed += [] if canonical else [path.name]
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
            name: A field of `seem.spectrum.CriticReading`.

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
    for name, found in lines.items():
        check_steps(folder / f"{name}.jsonl", found)
    return RunRecord(outcome, lines["readings"], lines["forecasts"], trace)
